"""Draws the report's pictures from judged rows and the training's curves; it reads no file."""

from __future__ import annotations

import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import FuncFormatter, MaxNLocator

from ml.evaluation.evaluated_day import TASKS, Task
from ml.evaluation.judged_rows import JudgedRows
from ml.evaluation.metrics import NotMeasurable, calibration_bins, roc_curve
from ml.report.picture import COLOURS, INK, Picture, draw_picture, say
from ml.report.training_curve import TrainingCurve


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


def _draw_roc(axes: Axes, rows: JudgedRows, champion: JudgedRows | None) -> None:
    axes.plot([0, 1], [0, 1], color=INK, linewidth=0.8, alpha=0.5)
    for task in TASKS:
        for judged, style in ((rows, "-"), (champion, "--")):
            if judged is None:
                continue
            chosen = judged.chosen(task)
            points = roc_curve(labels=judged.labels(task)[chosen], scores=judged.probabilities[task][chosen])
            if isinstance(points, NotMeasurable):
                label = f"{task.upper()}: not measurable"
                axes.plot([], [], color=COLOURS[task], label=label if judged is rows else None)
                continue
            label = task.upper() if judged is rows else None
            axes.plot(*points, style, color=COLOURS[task], linewidth=1.6, label=label)
    axes.set(xlabel="false positive rate", ylabel="true positive rate", xlim=(0, 1), ylim=(0, 1))
    axes.legend(loc="lower right")


def _draw_reliability(axes: Axes, rows: JudgedRows, champion: JudgedRows | None, task: Task) -> None:
    extent: list[float] = []
    for judged, colour, label in ((champion, "#8a8f98", "champion"), (rows, COLOURS[task], "challenger")):
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
        say(axes, "Not measurable:\nno row with a usable prediction")
        return
    top = max(max(extent) * 1.05, 1e-9)
    axes.plot([0, top], [0, top], color=INK, linewidth=0.8, alpha=0.5)
    axes.set(xlabel="predicted", ylabel="observed", xlim=(0, top), ylim=(0, top))
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_major_locator(MaxNLocator(5))
        axis.set_major_formatter(FuncFormatter(lambda share, _: f"{100 * share:.3g} %"))
    if champion is not None:
        axes.legend(loc="upper left")


def _draw_steps(axes: Axes, curve: TrainingCurve) -> None:
    if not curve.steps:
        say(axes, curve.note or "No loss by step was recorded.")
        return
    steps, losses = np.array(curve.steps).T
    axes.plot(steps, losses, color=COLOURS["ctr"], linewidth=1.2, marker="o" if len(steps) < 8 else None, markersize=3)
    axes.set(xlabel="step", ylabel="loss")
    axes.xaxis.set_major_locator(MaxNLocator(5, integer=True))


def _draw_epochs(axes: Axes, curve: TrainingCurve) -> None:
    names = [name for name in curve.epochs if "auc" in name] or list(curve.epochs)
    for name, colour in zip(names, [*COLOURS.values(), "#9a6fc0", "#8a8f98"], strict=False):
        epochs, values = np.array(curve.epochs[name]).T
        axes.plot(epochs, values, color=colour, marker="o", markersize=3.5, linewidth=1.4, label=name.replace("_", " "))
    axes.set(xlabel="epoch", ylabel="AUC" if "auc" in names[0] else "loss")
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.legend(loc="best")
