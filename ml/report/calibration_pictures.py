"""Draws how far predicted probabilities are the observed ones, before and after calibration; it measures nothing."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import FixedLocator, FuncFormatter, NullLocator

from ml.data.policy import GateSpec
from ml.evaluation.calibration_effect import SCORE, BucketBias, CalibrationEffect
from ml.evaluation.evaluated_day import TASKS, Task
from ml.evaluation.measurement import FloatArray, Measured, Measurement, NotMeasurable
from ml.evaluation.ranked_scores import CalibrationBin
from ml.report.picture import COLOURS, GREY, INK, Picture, distinct_names, draw_picture, legend_above, say
from ml.report.share_axes import chance_interval, linear_shares, log_shares
from ml.report.task_curves import TaskCurves
from ml.report.wording import words

_SECTION = "calibration"
#: Bins of equal mass of a skewed day crowd the origin of linear axes.
_SKEWED = 20.0
_WIDEST = 8.0
#: Ticks of an axis that reaches up to the first number.
_RATIOS = ((1.7, (0.67, 0.8, 1, 1.25, 1.5)), (3, (0.5, 0.67, 1, 1.5, 2)), (_WIDEST, (0.125, 0.25, 0.5, 1, 2, 4, 8)))


@dataclass(frozen=True)
class _Series:
    label: str
    bins: tuple[CalibrationBin, ...]
    colour: str
    marker: str
    hollow: bool = False

    @property
    def predicted(self) -> FloatArray:
        return np.array([part.predicted for part in self.bins])

    @property
    def observed(self) -> FloatArray:
        return np.array([part.observed for part in self.bins])


def draw_reliability(
    challenger: Mapping[Task, TaskCurves], champion: Mapping[Task, TaskCurves] | None
) -> list[Picture]:
    """Observed by predicted share in bins of equal mass, a picture a task."""
    return [
        draw_picture(
            f"reliability_{task}",
            f"Reliability, {task.upper()}",
            "On the diagonal predicted and observed agree; bins of equal mass, bars are 95 % of chance"
            + (", hollow: before calibration" if challenger[task].uncalibrated else "")
            + (", ▽: no positive in the bin." if _any_empty(challenger[task]) else "."),
            lambda axes, task=task: reliability(axes, challenger[task], champion[task] if champion else None),
            section=_SECTION,
        )
        for task in TASKS
    ]


def draw_biases(effects: Iterable[CalibrationEffect], *, gate: GateSpec) -> list[Picture]:
    """PCOC by bucket before and after calibration: by score, and by each value that rows were bucketed by."""
    pictures: list[Picture] = []
    for effect in effects:
        fields = list(dict.fromkeys(bucket.by for bucket in effect.buckets))
        names = distinct_names(f"bias_{effect.task}", fields)
        for by in fields:
            buckets = [bucket for bucket in effect.buckets if bucket.by == by]
            pictures.append(
                draw_picture(
                    names[by],
                    f"{effect.task.upper()} bias by {'score' if by == SCORE else words(by).lower()}",
                    "Predicted over observed: 1 is right, 2 twice too high. Shaded: the gate's bounds for the day.",
                    lambda axes, buckets=buckets, task=effect.task: biases(axes, buckets, task=task, gate=gate),
                    section=_SECTION,
                    height=1.2 + 0.24 * len(buckets),
                )
            )
    return pictures


def reliability(axes: Axes, challenger: TaskCurves, champion: TaskCurves | None) -> None:
    """Bins as points with their chance intervals; logarithmic where predictions span more than _SKEWED."""
    colour = COLOURS[challenger.metrics.task]
    series = [
        _Series("champion", champion.bins if champion else (), GREY, "s"),
        _Series("before calibration", challenger.uncalibrated, colour, "o", hollow=True),
        _Series("challenger", challenger.bins, colour, "o"),
    ]
    series = [one for one in series if one.bins]
    if not challenger.bins:
        why = challenger.metrics.ece
        say(axes, f"Not measurable:\n{why.reason if isinstance(why, NotMeasurable) else 'no bins'}")
        return
    values = np.concatenate([part for one in series for part in (one.predicted, one.observed)])
    positive = values[values > 0]
    uppers = [chance_interval(one.observed, [part.rows for part in one.bins])[1] for one in series]
    # A bin without a positive is shown by how high chance could have hidden its share.
    positive = np.concatenate(
        [positive, *(upper[one.observed == 0] for upper, one in zip(uppers, series, strict=True))]
    )
    high = min(1.0, float(np.concatenate([values, *uppers]).max()) * 1.1)
    predicted = np.concatenate([one.predicted[one.predicted > 0] for one in series])
    logarithmic = predicted.size > 0 and float(predicted.max()) > _SKEWED * float(predicted.min())
    low = float(positive.min()) / 1.6 if logarithmic else 0.0
    for one in series:
        _draw_bins(axes, one, low=low)
    axes.plot([low, high], [low, high], color=INK, linewidth=0.8, alpha=0.5)
    if logarithmic:
        axes.set(xscale="log", yscale="log")
    axes.set(xlabel="predicted", ylabel="observed", xlim=(low, high), ylim=(low, high))
    for axis in (axes.xaxis, axes.yaxis):
        log_shares(axis, low=low, high=high) if logarithmic else linear_shares(axis)
    legend_above(axes, columns=2)


def _any_empty(curves: TaskCurves) -> bool:
    return any(part.observed == 0 for part in (*curves.bins, *curves.uncalibrated))


def _draw_bins(axes: Axes, series: _Series, *, low: float) -> None:
    """Points at or below `low`, such as a bin without a positive on a logarithmic axis, lie on the edge, as a ▽."""
    predicted, observed = np.maximum(series.predicted, low), np.maximum(series.observed, low)
    below, above = chance_interval(series.observed, [part.rows for part in series.bins])
    below, above = np.maximum(below, low), np.maximum(above, low)
    face = "none" if series.hollow else series.colour
    axes.vlines(predicted, below, above, color=series.colour, linewidth=0.9, alpha=0.5 if series.hollow else 0.9)
    inside = series.observed >= low if low == 0 else series.observed > low
    style = {"color": series.colour, "markerfacecolor": face, "linestyle": "none", "markersize": 4.2}
    axes.plot(predicted[inside], observed[inside], marker=series.marker, label=series.label, **style)
    if not inside.all():
        axes.plot(predicted[~inside], observed[~inside], marker="v", clip_on=False, **style)


def biases(axes: Axes, buckets: Sequence[BucketBias], *, task: Task, gate: GateSpec) -> None:
    """One row a bucket, ascending from the top: hollow before, filled after, on a logarithmic axis of ratios."""
    ratios = [ratio for bucket in buckets for found in (bucket.before, bucket.after) for ratio in _ratios(found)]
    if not ratios:
        reasons = {bucket.after.reason for bucket in buckets if isinstance(bucket.after, NotMeasurable)}
        say(axes, "Not measurable:\n" + ("\n".join(sorted(reasons)[:4]) or "no bucket has rows"))
        return
    high = min(_WIDEST, max(1 / min(ratios), *ratios, gate.pcoc_high) * 1.15)
    low = min(1 / high, gate.pcoc_low / 1.15)
    axes.axvspan(gate.pcoc_low, gate.pcoc_high, color=GREY, alpha=0.2, linewidth=0)
    axes.axvline(1, color=INK, linewidth=0.8, alpha=0.6)
    for row, bucket in enumerate(buckets):
        _draw_bias(axes, row, bucket, colour=COLOURS[task], low=low, high=high)
    axes.plot([], [], "o", markerfacecolor="none", color=COLOURS[task], markersize=5, label="before calibration")
    axes.plot([], [], "o", color=COLOURS[task], markersize=5, label="after")
    axes.set(xscale="log", xlim=(low, high), ylim=(len(buckets) - 0.4, -0.6), xlabel="predicted over observed (PCOC)")
    axes.set_yticks(range(len(buckets)), [bucket.bucket for bucket in buckets], fontsize=8)
    marks = next(marks for reach, marks in _RATIOS if high <= reach)
    axes.xaxis.set_major_locator(FixedLocator([mark for mark in marks if low <= mark <= high]))
    axes.xaxis.set_minor_locator(NullLocator())
    axes.xaxis.set_major_formatter(FuncFormatter(lambda ratio, _: f"{ratio:.3g}"))
    legend_above(axes, columns=2)


def _draw_bias(axes: Axes, row: int, bucket: BucketBias, *, colour: str, low: float, high: float) -> None:
    if isinstance(bucket.after, NotMeasurable):
        axes.text(low, row, f" {bucket.after.reason}", ha="left", va="center", fontsize=7.5, alpha=0.75)
        return
    places = [
        float(np.clip(found.value, low, high)) if isinstance(found, Measured) else None
        for found in (bucket.before, bucket.after)
    ]
    before, after = places
    if before is not None and after is not None:
        axes.plot([before, after], [row, row], color=colour, linewidth=0.9, alpha=0.7)
    for place, face in ((before, "none"), (after, colour)):
        if place is not None:
            beyond = "<" if place <= low else ">" if place >= high else "o"
            axes.plot(place, row, marker=beyond, color=colour, markerfacecolor=face, markersize=5, clip_on=False)


def _ratios(found: Measurement) -> list[float]:
    """A ratio of 0 has no place on a logarithmic axis but its edge."""
    return [found.value] if isinstance(found, Measured) and found.value > 0 else []
