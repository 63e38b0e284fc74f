"""Draws a search: its settings side by side, its course, and what the settings are worth; it computes nothing."""

from __future__ import annotations

from collections.abc import Sequence
from math import log

from matplotlib.axes import Axes
from matplotlib.colors import LinearSegmentedColormap
from matplotlib.ticker import MaxNLocator

from ml.report.picture import COLOURS, GREY, Picture, draw_picture, say
from ml.tuning.dimensions import Range, choice_key
from ml.tuning.objective import OBJECTIVES
from ml.tuning.records import StudyRecord, TrialRecord

PARALLEL_COORDINATES = "parallel_coordinates"
# Seen on white as on near-black, and in the order of their lightness with red-green blindness too.
_RAMP = LinearSegmentedColormap.from_list("worse to better", ["#56708f", "#3b82c4", "#56aabf", "#d97a2b"])
_SHOWN_CHARACTERS = 12


def draw_study(study: StudyRecord) -> list[Picture]:
    """Parallel coordinates, the history, and the settings' importances where they are known."""
    title = OBJECTIVES[study.settings.objective].title
    pictures = [
        draw_picture(
            PARALLEL_COORDINATES,
            "Settings and objective",
            "A line a complete trial, from its settings to its objective on the right; from blue to orange the "
            "better, the best one thick. Grey and dashed: pruned trials, up to their last setting.",
            lambda axes: _parallel_coordinates(axes, study),
            height=2.9,
        ),
        draw_picture(
            "history",
            "Course of the search",
            f"{title}, by the trial's number, and the best so far. Crosses: pruned trials, at their best epoch.",
            lambda axes: _history(axes, study),
            height=2.6,
        ),
    ]
    if study.importances:
        pictures.append(
            draw_picture(
                "importances",
                "Importance of settings",
                "Share of each setting in what tells the best quarter of the trials from all (PED-ANOVA); of few "
                "trials it is a hint and no more.",
                lambda axes: _importances(axes, study),
                height=max(1.6, 0.8 + 0.35 * len(study.importances)),
            )
        )
    return pictures


def _parallel_coordinates(axes: Axes, study: StudyRecord) -> None:
    complete = [trial for trial in study.trials if trial.state == "complete" and trial.value is not None]
    if not complete:
        say(axes, "No trial is complete.")
        return
    maximize = OBJECTIVES[study.settings.objective].goal == "maximize"
    # Better trials last, so that no worse one hides them.
    complete.sort(key=lambda trial: trial.value if maximize else -(trial.value or 0))  # pyright: ignore
    values = [trial.value or 0.0 for trial in complete]
    scales = [_Scale(study, name) for name in study.settings.space.dimensions]
    x = range(len(scales) + 1)
    low, high = min(values), max(values)
    span = high - low or 1.0
    for trial in study.trials:
        if trial.state == "pruned":
            axes.plot(
                x[:-1], [scale.place(trial) for scale in scales], color=GREY, linewidth=0.8, linestyle="--", alpha=0.7
            )
    for rank, trial in enumerate(complete):
        height = ((trial.value or 0.0) - low) / span if high > low else 0.5
        is_best = trial.number == study.best
        axes.plot(
            x, [*(scale.place(trial) for scale in scales), height],
            color=_RAMP(rank / max(1, len(complete) - 1)), linewidth=2.4 if is_best else 1.1,
            alpha=1.0 if is_best else 0.85,
        )  # fmt: skip
    axes.grid(visible=False)
    axes.set_yticks([])
    axes.spines[:].set_visible(False)
    axes.set_ylim(-0.08, 1.08)
    axes.set_xlim(-0.35, len(scales) + 0.45)
    for place, scale in enumerate(scales):
        _axis(axes, place, scale.ticks())
    _axis(axes, len(scales), [(0.0, f"{low:.4f}"), (1.0, f"{high:.4f}")] if high > low else [(0.5, f"{low:.4f}")])
    names = [scale.name.replace("_", "\n") for scale in scales]
    axes.set_xticks(list(x), [*names, f"{study.settings.objective}".replace("_", "\n")], fontsize=7)
    axes.tick_params(axis="x", length=0)


def _axis(axes: Axes, place: int, ticks: Sequence[tuple[float, str]]) -> None:
    axes.axvline(place, color=GREY, linewidth=0.8, zorder=0)
    for height, label in ticks:
        axes.plot([place - 0.03, place + 0.03], [height, height], color=GREY, linewidth=0.8, zorder=0)
        axes.text(place + 0.06, height, label, fontsize=6.5, va="center", ha="left")


class _Scale:
    """Where a setting's values lie between 0 and 1."""

    def __init__(self, study: StudyRecord, name: str) -> None:
        self.name = name
        self._dimension = study.settings.space.dimensions[name]

    def place(self, trial: TrialRecord) -> float:
        return self._place(trial.settings[self.name])

    def ticks(self) -> list[tuple[float, str]]:
        dimension = self._dimension
        if not isinstance(dimension, Range):
            keys = [str(choice_key(value)) for value in dimension.values]
            return [
                (self._place(value), key[:_SHOWN_CHARACTERS]) for value, key in zip(dimension.values, keys, strict=True)
            ]
        middle = (dimension.low * dimension.high) ** 0.5 if dimension.log else (dimension.low + dimension.high) / 2
        return [(self._place(value), f"{value:.3g}") for value in (dimension.low, middle, dimension.high)]

    def _place(self, value: object) -> float:
        dimension = self._dimension
        if not isinstance(dimension, Range):
            keys = [repr(choice_key(each)) for each in dimension.values]
            return 0.5 if len(keys) == 1 else keys.index(repr(choice_key(value))) / (len(keys) - 1)
        number, low, high = float(value), float(dimension.low), float(dimension.high)  # pyright: ignore
        if dimension.log:
            number, low, high = log(number), log(low), log(high)
        return (number - low) / (high - low)


def _history(axes: Axes, study: StudyRecord) -> None:
    points = [
        (trial.number, trial.value) for trial in study.trials if trial.state == "complete" and trial.value is not None
    ]
    pruned = [
        (trial.number, trial.value) for trial in study.trials if trial.state == "pruned" and trial.value is not None
    ]
    if not points:
        say(axes, "No trial is complete.")
        return
    best = OBJECTIVES[study.settings.objective].best
    so_far = [best([value for _, value in points[: place + 1]]) for place in range(len(points))]
    axes.step(
        [number for number, _ in points],
        so_far,
        where="post",
        color=COLOURS["ctcvr"],
        linewidth=1.4,
        label="best so far",
    )
    axes.plot(*zip(*points, strict=True), "o", markersize=4, color=COLOURS["ctr"], label="complete")
    if pruned:
        axes.plot(*zip(*pruned, strict=True), "x", markersize=4.5, color=GREY, label="pruned")
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.set_xlabel("trial")
    axes.set_ylabel(study.settings.objective.replace("_", " "))
    axes.legend(fontsize=7, ncols=3, loc="lower center", bbox_to_anchor=(0.5, 1.0))


def _importances(axes: Axes, study: StudyRecord) -> None:
    ranked = sorted(study.importances.items(), key=lambda each: each[1])
    axes.barh([name for name, _ in ranked], [share for _, share in ranked], color=COLOURS["ctr"], height=0.6)
    axes.grid(visible=False, axis="y")
    axes.set_xlim(0, 1)
    axes.set_xlabel("share")
