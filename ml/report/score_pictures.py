"""Draws how each task's probabilities are spread over positives and negatives; counting is the evaluation's."""

from __future__ import annotations

from matplotlib.axes import Axes

from ml.evaluation.evaluated_day import OUTCOMES, TASKS, Task
from ml.evaluation.judged_rows import JudgedRows
from ml.evaluation.measurement import NotMeasurable
from ml.evaluation.score_histogram import ScoreHistogram, score_histograms
from ml.report.picture import COLOURS, GREY, Picture, draw_picture, legend_above, say
from ml.report.share_axes import linear_shares, log_shares

_NEGATIVES: dict[Task, str] = {"ctr": "impressions not clicked", "cvr": "clicks not converted", "ctcvr": "all others"}


def draw_scores(rows: JudgedRows) -> list[Picture]:
    """A picture a task, of the calibrated probabilities."""
    return [
        draw_picture(
            f"scores_{task}",
            f"Scores by class, {task.upper()}",
            "Share of each class by predicted probability: the further the two lie apart, the better the model ranks.",
            lambda axes, task=task: scores(axes, score_histograms(rows, task), task=task),
            section="scores",
        )
        for task in TASKS
    ]


def scores(axes: Axes, histogram: ScoreHistogram | NotMeasurable, *, task: Task) -> None:
    """Both classes as steps over a logarithmic axis of probability."""
    if isinstance(histogram, NotMeasurable):
        say(axes, f"Not measurable:\n{histogram.reason}")
        return
    edges = histogram.edges
    axes.stairs(histogram.negatives, edges, fill=True, color=GREY, alpha=0.3, label=_NEGATIVES[task])
    axes.stairs(histogram.negatives, edges, color=GREY, linewidth=1)
    axes.stairs(histogram.positives, edges, fill=True, color=COLOURS[task], alpha=0.25)
    axes.stairs(histogram.positives, edges, color=COLOURS[task], linewidth=1.6, label=OUTCOMES[task])
    low, high = float(edges[0]), float(edges[-1])
    axes.set(xscale="log", xlim=(low, high), xlabel=f"predicted {task.upper()}", ylabel="share of the class")
    axes.set_ylim(bottom=0)
    log_shares(axes.xaxis, low=low, high=high)
    linear_shares(axes.yaxis)
    legend_above(axes, columns=2)
