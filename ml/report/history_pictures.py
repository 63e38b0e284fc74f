"""Draws the metrics of the judged days over time; which days there are, and their verdicts, is the caller's."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import date

import numpy as np
from matplotlib.axes import Axes
from matplotlib.dates import AutoDateLocator, ConciseDateFormatter, date2num
from matplotlib.ticker import FuncFormatter, MaxNLocator

from ml.evaluation.evaluated_day import TASKS, Task
from ml.evaluation.measurement import FloatArray
from ml.report.history_day import HistoryDay, ModelNumbers, TaskNumbers
from ml.report.picture import COLOURS, INK, Picture, draw_picture, say

_CHAMPION = "#8a8f98"
_PROMOTED = "#3f9e6e"
_REFUSED, _ACCEPTED = "#c94f43", "#b98a1d"
# Beyond this many days dots run into one another, and each costs a hundred bytes of the page.
_MOST_DOTS = 100
_HOW = "Line and band: the day's model with its interval. Grey: the champion on the same day."

Read = Callable[[TaskNumbers], float | None]


def draw_history(days: Sequence[HistoryDay]) -> list[Picture]:
    """AUC of each task, log loss, PCOC and conversions by as-of day, from the first day with a model; `days` in order
    of time. None where no day has a model."""
    first = next((place for place, day in enumerate(days) if day.challenger), None)
    if first is None:
        return []
    days = days[first:]
    pictures = [
        draw_picture(
            f"history_auc_{task}",
            f"{task.upper()} AUC",
            f"{_HOW} Diamond: promoted." if task == "ctcvr" else _HOW,
            lambda axes, task=task: _draw_auc(axes, days, task),
        )
        for task in reversed(TASKS)
    ]
    pictures.append(
        draw_picture(
            "history_log_loss",
            "CTCVR log loss",
            "In nats, lower is better. It moves with the day's conversion rate: compare it with the grey line.",
            lambda axes: _draw_log_loss(axes, days),
        )
    )
    pictures.append(
        draw_picture(
            "history_pcoc",
            "Predicted over observed",
            "Of the day's model. Above 1 it promised more than came.",
            lambda axes: _draw_pcoc(axes, days),
        )
    )
    pictures.append(
        draw_picture(
            "history_conversions",
            "Conversions",
            "Of the judged day, as they were known when it was judged.",
            lambda axes: _draw_conversions(axes, days),
        )
    )
    return pictures


def _draw_auc(axes: Axes, days: Sequence[HistoryDay], task: Task) -> None:
    values = _series(days, task, _challenger, lambda numbers: numbers.auc.value if numbers.auc else None)
    if np.isnan(values).all():
        say(axes, "Not measurable on any of these days")
        return
    lower = _series(days, task, _challenger, lambda numbers: numbers.auc.lower if numbers.auc else None)
    upper = _series(days, task, _challenger, lambda numbers: numbers.auc.upper if numbers.auc else None)
    times, colour = _times(days), COLOURS[task]
    if len(days) <= _MOST_DOTS:
        known = ~np.isnan(lower)
        spread = np.abs([values[known] - lower[known], upper[known] - values[known]])
        axes.errorbar(times[known], values[known], yerr=spread, fmt="none", ecolor=colour, alpha=0.35, linewidth=2.5)
    else:
        axes.fill_between(times, lower, upper, color=colour, alpha=0.22, linewidth=0)
    rival = _series(days, task, _champion, lambda numbers: numbers.auc.value if numbers.auc else None)
    _line(axes, times, rival, colour=_CHAMPION, style="--")
    _line(axes, times, values, colour=colour)
    promoted = np.array([day.verdict == "promoted" for day in days]) & ~np.isnan(values)
    if task == "ctcvr":
        axes.plot(
            times[promoted],
            values[promoted],
            "D",
            markersize=5 if len(days) <= _MOST_DOTS else 3.5,
            color=_PROMOTED,
            markeredgecolor="none",
        )
    _dates(axes, days)


def _draw_log_loss(axes: Axes, days: Sequence[HistoryDay]) -> None:
    values = _series(days, "ctcvr", _challenger, lambda numbers: numbers.log_loss)
    if np.isnan(values).all():
        say(axes, "Not measurable on any of these days")
        return
    rival = _series(days, "ctcvr", _champion, lambda numbers: numbers.log_loss)
    _line(axes, _times(days), rival, colour=_CHAMPION, style="--")
    _line(axes, _times(days), values, colour=COLOURS["ctcvr"])
    _dates(axes, days)


def _draw_pcoc(axes: Axes, days: Sequence[HistoryDay]) -> None:
    by_task: dict[Task, FloatArray] = {}
    for task in TASKS:
        by_task[task] = _series(days, task, _challenger, lambda numbers: numbers.pcoc)
    if all(np.isnan(values).all() for values in by_task.values()):
        say(axes, "Not measurable on any of these days")
        return
    axes.axhline(1, color=INK, linewidth=0.8, alpha=0.5)
    for task, values in by_task.items():
        if task == "ctcvr":
            _line(axes, _times(days), values, colour=COLOURS[task], label=task.upper())
        else:
            axes.plot(_times(days), values, color=COLOURS[task], linewidth=0.7, alpha=0.6, label=task.upper())
    axes.margins(y=0.16)
    axes.legend(loc="upper left", ncols=3, fontsize=8.5)
    _dates(axes, days)


def _draw_conversions(axes: Axes, days: Sequence[HistoryDay]) -> None:
    counts = np.array([np.nan if day.conversions is None else day.conversions for day in days], dtype=np.float64)
    times = _times(days)
    if len(days) <= _MOST_DOTS:
        axes.vlines(times, 0, counts, color=COLOURS["cvr"], alpha=0.7, linewidth=min(9.0, max(1.0, 160 / len(days))))
    else:
        axes.fill_between(times, 0, counts, color=COLOURS["cvr"], alpha=0.5, linewidth=0, step="mid")
    axes.set_ylim(bottom=0)
    axes.yaxis.set_major_formatter(FuncFormatter(lambda count, _: f"{count:,.0f}"))
    axes.yaxis.set_major_locator(MaxNLocator(5, integer=True))
    _dates(axes, days)


def _line(
    axes: Axes, times: FloatArray, values: FloatArray, *, colour: str, style: str = "-", label: str | None = None
) -> None:
    """A line broken where a day has no value; a value that stands alone would be no line, so it is a dot."""
    known = ~np.isnan(values)
    alone = known & ~np.r_[False, known[:-1]] & ~np.r_[known[1:], False]
    is_short = len(values) <= _MOST_DOTS
    dots = known if is_short else alone
    width = (1.5 if style == "-" else 1.1) * (1.0 if is_short else 0.6)
    axes.plot(times, values, style if is_short else "-", color=colour, linewidth=width, label=label)
    axes.plot(times[dots], values[dots], "o", markersize=3.2 if style == "-" else 2.6, color=colour)


def _dates(axes: Axes, days: Sequence[HistoryDay]) -> None:
    """The time axis, from the first to the last day of all, and at its foot the days whose data was in doubt."""
    times = _times(days)
    locator = AutoDateLocator(minticks=3, maxticks=6)
    axes.xaxis.set_major_locator(locator)
    axes.xaxis.set_major_formatter(ConciseDateFormatter(locator))
    axes.set_xlim(times[0] - 0.7, times[-1] + 0.7)
    for states, marker, colour in ((("refused", "excluded"), "x", _REFUSED), (("accepted",), "^", _ACCEPTED)):
        chosen = np.array([day.data in states for day in days])
        axes.plot(
            times[chosen], np.full(chosen.sum(), 0.03), marker, color=colour, markersize=4.5, markeredgewidth=1.4,
            transform=axes.get_xaxis_transform(), clip_on=False,
        )  # fmt: skip


def _challenger(day: HistoryDay) -> ModelNumbers | None:
    return day.challenger


def _champion(day: HistoryDay) -> ModelNumbers | None:
    # Where the day's model is the champion itself, both are one.
    return day.champion or (day.challenger if day.verdict == "unchanged" else None)


def _series(
    days: Sequence[HistoryDay], task: Task, choose: Callable[[HistoryDay], ModelNumbers | None], read: Read
) -> FloatArray:
    values = np.full(len(days), np.nan)
    for place, day in enumerate(days):
        model = choose(day)
        value = read(model.tasks[task]) if model is not None and task in model.tasks else None
        if value is not None:
            values[place] = value
    return values


def _times(days: Sequence[HistoryDay]) -> FloatArray:
    return np.array([_number(day.day) for day in days], dtype=np.float64)


def _number(day: date) -> float:
    return float(date2num(day))
