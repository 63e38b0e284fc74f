"""Draws the report's pictures, each as PNG for Dagster and as inline SVG for the page; it reads no file."""

from __future__ import annotations

import io
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, MaxNLocator

from ml.evaluation.evaluated_day import TASKS, Task
from ml.evaluation.judged_rows import JudgedRows
from ml.evaluation.metrics import NotMeasurable, calibration_bins, roc_curve
from ml.evaluation.training_curve import TrainingCurve

# Drawn in this ink, which becomes the page's own text colour, so that one SVG serves the light and the dark page.
_INK = "#0a0b0c"
_COLOURS: dict[Task, str] = {"ctr": "#3b82c4", "cvr": "#d97a2b", "ctcvr": "#3f9e6e"}
_STYLE = {
    "svg.fonttype": "none",
    "svg.hashsalt": "postclick",
    "font.family": "sans-serif",
    "font.size": 10,
    "text.color": _INK,
    "axes.edgecolor": _INK,
    "axes.labelcolor": _INK,
    "axes.linewidth": 0.6,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "xtick.color": _INK,
    "ytick.color": _INK,
    "xtick.major.width": 0.6,
    "ytick.major.width": 0.6,
    "legend.frameon": False,
    "grid.color": "#8a8f98",
    "grid.alpha": 0.25,
    "grid.linewidth": 0.6,
}


@dataclass(frozen=True)
class Picture:
    """One picture: `svg` is inline markup without any address in it, `caption` says how to read it."""

    name: str
    title: str
    caption: str
    png: bytes
    svg: str


def draw_pictures(*, rows: JudgedRows, champion: JudgedRows | None, curve: TrainingCurve) -> list[Picture]:
    """ROC of all tasks, reliability of each, and the training's curves; what cannot be measured says so."""
    pictures = [
        draw_picture(
            "roc",
            "ROC",
            "Dashed: the champion." if champion else "Further above the diagonal is better.",
            lambda axes: _draw_roc(axes, rows, champion),
        )
    ]
    pictures += [
        draw_picture(
            f"reliability_{task}",
            f"Reliability, {task.upper()}",
            "Bins of equal mass; bars are 95 % of chance. On the diagonal predicted and observed agree.",
            lambda axes, task=task: _draw_reliability(axes, rows, champion, task),
        )
        for task in TASKS
    ]
    pictures.append(
        draw_picture("training", "Training", curve.note or "Loss by step.", lambda axes: _draw_steps(axes, curve))
    )
    if curve.epochs:
        pictures.append(
            draw_picture(
                "validation",
                "Validation by epoch",
                "On rows held out of the training days.",
                lambda axes: _draw_epochs(axes, curve),
            )
        )
    return pictures


def draw_picture(name: str, title: str, caption: str, draw: Callable[[Axes], None]) -> Picture:
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
        name=name, title=title, caption=caption, png=png.getvalue(), svg=_inline(svg.getvalue(), name, title)
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
    return body.replace("<svg", f'<svg role="img" aria-label="{title}"', 1).replace(_INK, "currentColor")


def _say(axes: Axes, text: str) -> None:
    axes.set_axis_off()
    axes.text(0.5, 0.5, text, ha="center", va="center", wrap=True, transform=axes.transAxes)


def _draw_roc(axes: Axes, rows: JudgedRows, champion: JudgedRows | None) -> None:
    axes.plot([0, 1], [0, 1], color=_INK, linewidth=0.8, alpha=0.5)
    for task in TASKS:
        for judged, style in ((rows, "-"), (champion, "--")):
            if judged is None:
                continue
            chosen = judged.chosen(task)
            points = roc_curve(labels=judged.labels(task)[chosen], scores=judged.probabilities[task][chosen])
            if isinstance(points, NotMeasurable):
                label = f"{task.upper()}: not measurable"
                axes.plot([], [], color=_COLOURS[task], label=label if judged is rows else None)
                continue
            label = task.upper() if judged is rows else None
            axes.plot(*points, style, color=_COLOURS[task], linewidth=1.6, label=label)
    axes.set(xlabel="false positive rate", ylabel="true positive rate", xlim=(0, 1), ylim=(0, 1))
    axes.legend(loc="lower right")


def _draw_reliability(axes: Axes, rows: JudgedRows, champion: JudgedRows | None, task: Task) -> None:
    extent: list[float] = []
    for judged, colour, label in ((champion, "#8a8f98", "champion"), (rows, _COLOURS[task], "challenger")):
        if judged is None:
            continue
        chosen = judged.chosen(task)
        bins = calibration_bins(labels=judged.labels(task)[chosen], probabilities=judged.probabilities[task][chosen])
        if not bins:
            continue
        predicted, observed = np.array([b.predicted for b in bins]), np.array([b.observed for b in bins])
        spread = 1.96 * np.sqrt(observed * (1 - observed) / np.array([b.rows for b in bins]))
        axes.errorbar(
            predicted, observed, yerr=spread, fmt="o", markersize=3.5, linewidth=0.9, color=colour, label=label
        )
        extent += [float(predicted.max()), float((observed + spread).max())]
    if not extent:
        _say(axes, "Not measurable:\nno row with a usable prediction")
        return
    top = max(max(extent) * 1.05, 1e-9)
    axes.plot([0, top], [0, top], color=_INK, linewidth=0.8, alpha=0.5)
    axes.set(xlabel="predicted", ylabel="observed", xlim=(0, top), ylim=(0, top))
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_major_locator(MaxNLocator(5))
        axis.set_major_formatter(FuncFormatter(lambda share, _: f"{100 * share:.3g} %"))
    if champion is not None:
        axes.legend(loc="upper left")


def _draw_steps(axes: Axes, curve: TrainingCurve) -> None:
    if not curve.steps:
        _say(axes, curve.note or "No loss by step was recorded.")
        return
    steps, losses = np.array(curve.steps).T
    axes.plot(steps, losses, color=_COLOURS["ctr"], linewidth=1.2, marker="o" if len(steps) < 8 else None, markersize=3)
    axes.set(xlabel="step", ylabel="loss")
    axes.xaxis.set_major_locator(MaxNLocator(5, integer=True))


def _draw_epochs(axes: Axes, curve: TrainingCurve) -> None:
    names = [name for name in curve.epochs if "auc" in name] or list(curve.epochs)
    for name, colour in zip(names, [*_COLOURS.values(), "#9a6fc0", "#8a8f98"], strict=False):
        epochs, values = np.array(curve.epochs[name]).T
        axes.plot(epochs, values, color=colour, marker="o", markersize=3.5, linewidth=1.4, label=name.replace("_", " "))
    axes.set(xlabel="epoch", ylabel="AUC" if "auc" in names[0] else "loss")
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.legend(loc="best")
