"""One picture in the report's style, as PNG for Dagster and as inline SVG for a page; what it shows is its caller's."""

from __future__ import annotations

import io
import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from html import escape
from textwrap import fill
from typing import Any

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure

from ml.evaluation.evaluated_day import Task

# Drawn in this ink, which becomes the page's own text colour, so that one SVG serves the light and the dark page.
INK = "#0a0b0c"
GREY = "#8a8f98"
COLOURS: dict[Task, str] = {"ctr": "#3b82c4", "cvr": "#d97a2b", "ctcvr": "#3f9e6e"}
# The first seven are told apart with red-green blindness too (ΔE above 20 in Machado et al.'s simulation, 2009), and
# all stand out from a white page as from a near-black one.
PALETTE = (*COLOURS.values(), "#7b2fed", "#cf0037", "#56aabf", "#006b73", GREY)
MARKERS = ("o", "s", "^", "D", "v", "P", "X", "*")
HEIGHT = 3.4
_WIDTH = 4.4  # inches: at a phone's width ten points are ten pixels
_DPI = 100
_LINE = 44
_SAID_HEIGHT = 1.2  # of words alone
_STYLE = {
    "svg.fonttype": "none",
    "svg.hashsalt": "postclick",
    "text.parse_math": False,
    "font.family": "sans-serif",
    "font.sans-serif": ["DejaVu Sans"],
    "font.size": 10,
    "text.color": INK,
    "axes.edgecolor": INK,
    "axes.labelcolor": INK,
    "axes.linewidth": 0.6,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "xtick.color": INK,
    "ytick.color": INK,
    "xtick.labelsize": 9,
    "ytick.labelsize": 9,
    "xtick.major.width": 0.6,
    "ytick.major.width": 0.6,
    "legend.frameon": False,
    "legend.fontsize": 9,
    "legend.labelspacing": 0.35,
    "legend.handlelength": 1.6,
    "legend.columnspacing": 1.2,
    "grid.color": GREY,
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


def draw_picture(
    name: str, title: str, caption: str, draw: Callable[[Axes], None], *, section: str = "", height: float = HEIGHT
) -> Picture:
    """One picture in the house's style; `draw` fills its axes. The same input gives the same bytes.

    height: in inches, of a width of 4.4.
    """
    return draw_panels(name, title, caption, lambda panels: draw(panels[0]), section=section, height=height)


def draw_panels(
    name: str,
    title: str,
    caption: str,
    draw: Callable[[Sequence[Axes]], None],
    *,
    rows: int = 1,
    columns: int = 1,
    section: str = "",
    height: float = HEIGHT,
) -> Picture:
    """One picture of several panels, which `draw` is given row by row."""
    style: dict[Any, Any] = _STYLE
    with mpl.rc_context(style):
        figure = Figure(figsize=(_WIDTH, height), dpi=_DPI, layout="constrained", facecolor="white")
        bitmap = FigureCanvasAgg(figure)
        panels = [figure.add_subplot(rows, columns, place + 1) for place in range(rows * columns)]
        for axes in panels:
            axes.grid(visible=True)
            axes.set_axisbelow(True)
            axes.patch.set_visible(False)
        draw(panels)
        if not any(axes.axison for axes in panels):
            figure.set_figheight(_SAID_HEIGHT)
        # Laid out once, and each file drawn once: `savefig` would lay out and draw for each of them twice.
        layout = figure.get_layout_engine()
        assert layout is not None
        layout.execute(figure)
        figure.set_layout_engine("none")
        png, svg = io.BytesIO(), io.StringIO()
        bitmap.print_png(png, metadata={"Software": None})
        figure.patch.set_visible(False)
        FigureCanvasSVG(figure).print_svg(svg, metadata={"Date": None})
    return Picture(
        name=name,
        title=title,
        caption=caption,
        png=png.getvalue(),
        svg=_inline(svg.getvalue(), name, title),
        section=section,
    )


def say(axes: Axes, text: str) -> None:
    """Words in place of a picture that cannot be drawn."""
    axes.set_axis_off()
    lines = "\n".join(fill(line, _LINE) for line in text.splitlines())
    axes.text(0.5, 0.5, lines, ha="center", va="center", transform=axes.transAxes)


def legend_above(axes: Axes, *, columns: int = 1) -> None:
    """The legend over the axes, where it hides no line."""
    axes.legend(loc="lower left", bbox_to_anchor=(0, 1), ncols=columns, borderaxespad=0.2)


def distinct_names(prefix: str, identifiers: Iterable[str]) -> dict[str, str]:
    """A picture's name for each identifier, fit for an element's id; two identifiers never share one."""
    names: dict[str, str] = {}
    for identifier in identifiers:
        name = f"{prefix}_{re.sub('[^a-z0-9]+', '_', identifier.lower()).strip('_')}".strip("_")
        taken, number = set(names.values()), 2
        unique = name
        while unique in taken:
            unique, number = f"{name}_{number}", number + 1
        names[identifier] = unique
    return names


def _inline(svg: str, name: str, title: str) -> str:
    """The <svg> element alone, which is all that HTML needs: no prologue, metadata, style sheet, font or address."""
    body = svg[svg.index("<svg") :]
    body = re.sub(r"<metadata>.*?</metadata>", "", body, flags=re.DOTALL)
    body = re.sub(r"<defs>\s*<style.*?</style>\s*</defs>", "", body, flags=re.DOTALL)
    body = re.sub(r'\s+xmlns(:xlink)?="[^"]*"', "", body).replace("xlink:href", "href")
    # One page holds several pictures, and ids within a page must differ.
    body = re.sub(r'(\bid="|href="#|url\(#)', rf"\g<1>{name}-", body)
    body = re.sub(r'(<svg[^>]*?) width="[^"]*"', r"\1", body, count=1)
    body = re.sub(r'(<svg[^>]*?) height="[^"]*"', r"\1", body, count=1)
    body = re.sub(r"font-family: [^;\"]*(; )?", "", body)
    body = re.sub(r'(?<= )(?:d|x|y|points|transform)="[^"]*"', _shortened, body)
    return body.replace("<svg", f'<svg role="img" aria-label="{escape(title)}"', 1).replace(INK, "currentColor")


def _shortened(attribute: re.Match[str]) -> str:
    """Coordinates to a hundredth of a point: a page holds thousands of them."""
    return re.sub(r"(\.\d\d)\d+|\s*\n", lambda found: found[1] or " ", attribute[0])
