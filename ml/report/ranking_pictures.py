"""Draws how well a model ranks: ROC of all tasks, precision and recall of each; the areas are the evaluation's."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from matplotlib.axes import Axes

from ml.evaluation.evaluated_day import TASKS, Task
from ml.evaluation.measurement import Measured, Measurement, NotMeasurable
from ml.report.picture import COLOURS, GREY, INK, Picture, draw_picture, legend_above, say
from ml.report.share_axes import linear_shares, log_shares, percent
from ml.report.task_curves import TaskCurves

_SECTION = "ranking"
#: Below this base rate a linear axis would press precision onto the ground.
_RARE = 0.1

DayCurves = Mapping[Task, TaskCurves]


def draw_ranking(challenger: DayCurves, champion: DayCurves | None) -> list[Picture]:
    """ROC of the three tasks in one picture, precision by recall in one a task; the champion's are dashed."""
    dashed = " Dashed: the champion." if champion else ""
    pictures = [
        draw_picture(
            "roc",
            "ROC",
            "Further above the diagonal ranks better; CTR and CTCVR on impressions, CVR on clicked ones." + dashed,
            lambda axes: roc(axes, challenger, champion),
            section=_SECTION,
        )
    ]
    pictures += [
        draw_picture(
            f"precision_recall_{task}",
            f"Precision and recall, {task.upper()}",
            "Precision among the highest scores that hold this share of all positives; dotted: a random order."
            + dashed,
            lambda axes, task=task: precision_recall(axes, challenger[task], champion[task] if champion else None),
            section=_SECTION,
        )
        for task in TASKS
    ]
    return pictures


def roc(axes: Axes, challenger: DayCurves, champion: DayCurves | None) -> None:
    """True by false positive rate; what cannot be measured stands in the legend, or alone where nothing can."""
    reasons = {task: curves.roc.reason for task, curves in challenger.items() if isinstance(curves.roc, NotMeasurable)}
    if len(reasons) == len(challenger):
        say(axes, "Not measurable:\n" + "\n".join(f"{task.upper()}: {why}" for task, why in reasons.items()))
        return
    axes.plot([0, 1], [0, 1], color=INK, linewidth=0.8, alpha=0.5)
    for task, curves in challenger.items():
        colour, theirs = COLOURS[task], champion[task] if champion else None
        if theirs is not None and not isinstance(theirs.roc, NotMeasurable):
            axes.plot(*theirs.roc, "--", color=colour, linewidth=1.2)
        label = _label(task.upper(), curves.metrics.auc, theirs.metrics.auc if theirs else None)
        points = ([], []) if isinstance(curves.roc, NotMeasurable) else curves.roc
        axes.plot(*points, color=colour, linewidth=1.8, label=label)
    axes.set(xlabel="false positive rate", ylabel="true positive rate", xlim=(0, 1), ylim=(0, 1))
    axes.legend(loc="lower right", title="AUC", title_fontsize=9, alignment="left")


def precision_recall(axes: Axes, challenger: TaskCurves, champion: TaskCurves | None) -> None:
    """Precision by recall over the base rate's line, on a logarithmic axis where positives are rare."""
    points, metrics = challenger.precision_recall, challenger.metrics
    if isinstance(points, NotMeasurable):
        say(axes, f"Not measurable:\n{points.reason}")
        return
    colour, rate = COLOURS[metrics.task], metrics.positives / metrics.rows
    shown = [points[1]]
    axes.plot(*points, color=colour, linewidth=1.8, label=_area("challenger", challenger), zorder=3)
    if champion is not None and not isinstance(champion.precision_recall, NotMeasurable):
        axes.plot(*champion.precision_recall, "--", color=GREY, linewidth=1.2, label=_area("champion", champion))
        shown.append(champion.precision_recall[1])
    axes.axhline(rate, color=INK, linewidth=1, linestyle=":", label=f"base rate {percent(rate)}")
    highest = float(np.max(np.concatenate(shown)))
    if rate < _RARE:
        low, high = rate / 1.5, min(1.0, highest * 1.1)
        axes.set(yscale="log", ylim=(low, high))
        log_shares(axes.yaxis, low=low, high=high)
    else:
        axes.set(ylim=(0, min(1.0, highest * 1.05)))
        linear_shares(axes.yaxis)
    linear_shares(axes.xaxis)
    axes.set(xlabel="recall", ylabel="precision", xlim=(0, 1))
    legend_above(axes)


def _area(role: str, curves: TaskCurves) -> str:
    return f"{role}, PR-AUC {_digits(curves.metrics.pr_auc)}"


def _label(name: str, ours: Measurement, theirs: Measurement | None) -> str:
    words = f"{name} {_digits(ours)}"
    return words if theirs is None else f"{words}, champion {_digits(theirs)}"


def _digits(answer: Measurement) -> str:
    return f"{answer.value:.3f}" if isinstance(answer, Measured) else "not measurable"
