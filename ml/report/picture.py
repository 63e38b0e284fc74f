"""One picture in the report's style, as PNG for Dagster and as inline SVG for a page; what it shows is its caller's."""

from __future__ import annotations

import io
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from ml.evaluation.evaluated_day import Task

# Drawn in this ink, which becomes the page's own text colour, so that one SVG serves the light and the dark page.
INK = "#0a0b0c"
COLOURS: dict[Task, str] = {"ctr": "#3b82c4", "cvr": "#d97a2b", "ctcvr": "#3f9e6e"}
_STYLE = {
    "svg.fonttype": "none",
    "svg.hashsalt": "postclick",
    "font.family": "sans-serif",
    "font.size": 10,
    "text.color": INK,
    "axes.edgecolor": INK,
    "axes.labelcolor": INK,
    "axes.linewidth": 0.6,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "xtick.color": INK,
    "ytick.color": INK,
    "xtick.major.width": 0.6,
    "ytick.major.width": 0.6,
    "legend.frameon": False,
    "grid.color": "#8a8f98",
    "grid.alpha": 0.25,
    "grid.linewidth": 0.6,
}


@dataclass(frozen=True)
class Picture:
    """One picture: `svg` is inline markup without any address in it, `caption` says how to read it.

    `section` is the part of a page where it belongs.
    """

    name: str
    title: str
    caption: str
    png: bytes
    svg: str
    section: str = ""


def draw_picture(name: str, title: str, caption: str, draw: Callable[[Axes], None], *, section: str = "") -> Picture:
    """One picture in the house's style; `draw` fills its axes. The same input gives the same bytes."""
    style: dict[Any, Any] = _STYLE
    with mpl.rc_context(style):
        figure = Figure(figsize=(4.4, 3.4), layout="constrained")
        FigureCanvasAgg(figure)
        axes = figure.add_subplot()
        axes.grid(visible=True)
        axes.set_axisbelow(True)
        draw(axes)
        png, svg = io.BytesIO(), io.StringIO()
        figure.savefig(png, format="png", dpi=130, facecolor="white", metadata={"Software": None})
        figure.savefig(svg, format="svg", transparent=True, metadata={"Date": None})
    return Picture(
        name=name,
        title=title,
        caption=caption,
        png=png.getvalue(),
        svg=_inline(svg.getvalue(), name, title),
        section=section,
    )


def _inline(svg: str, name: str, title: str) -> str:
    """The <svg> element alone: no prologue, metadata, style sheet or namespace address; HTML needs none of them."""
    body = svg[svg.index("<svg") :]
    body = re.sub(r"<metadata>.*?</metadata>", "", body, flags=re.DOTALL)
    body = re.sub(r"<defs>\s*<style.*?</style>\s*</defs>", "", body, flags=re.DOTALL)
    body = re.sub(r'\s+xmlns(:xlink)?="[^"]*"', "", body).replace("xlink:href", "href")
    # One page holds several pictures, and ids within a page must differ.
    body = re.sub(r'(\bid="|href="#|url\(#)', rf"\g<1>{name}-", body)
    body = re.sub(r'(<svg[^>]*?) width="[^"]*"', r"\1", body, count=1)
    body = re.sub(r'(<svg[^>]*?) height="[^"]*"', r"\1", body, count=1)
    return body.replace("<svg", f'<svg role="img" aria-label="{title}"', 1).replace(INK, "currentColor")


def say(axes: Axes, text: str) -> None:
    """Words in place of a picture that cannot be drawn."""
    axes.set_axis_off()
    axes.text(0.5, 0.5, text, ha="center", va="center", wrap=True, transform=axes.transAxes)
