"""Draws how much each field matters to a model; shuffling it and judging the model is the inspection's."""

from __future__ import annotations

from collections.abc import Sequence

from matplotlib.axes import Axes
from matplotlib.ticker import FuncFormatter, MaxNLocator

from ml.evaluation.evaluated_day import TASKS, Task
from ml.evaluation.measurement import Measured, NotMeasurable
from ml.inspection.record import FieldImportance, Inspection
from ml.report.picture import COLOURS, INK, Picture, draw_picture, legend_above, say

MOST_FIELDS = 20
_LONGEST = 18
_BAR = 0.26


def draw_importance(inspection: Inspection) -> list[Picture]:
    """One picture of the fields by falling loss of the CTCVR AUC; none where no field was shuffled."""
    if not inspection.importance:
        return []
    fields = ranked(inspection.importance)
    caption = (
        f"AUC lost when a field's values are shuffled among {inspection.rows:,} rows: the further right, the more "
        "the model relies on it"
    )
    caption += f"; bars: one standard deviation over {inspection.repeats} shuffles." if inspection.repeats > 1 else "."
    if len(fields) < len(inspection.importance):
        caption += f" The first {len(fields)} of {len(inspection.importance)} fields."
    return [
        draw_picture(
            "importance",
            "What the model relies on",
            caption + _unmeasured(fields),
            lambda axes: importance(axes, fields),
            section="importance",
            height=1.1 + 0.29 * len(fields),
        )
    ]


def ranked(fields: Sequence[FieldImportance]) -> list[FieldImportance]:
    """At most MOST_FIELDS, by falling loss of the CTCVR AUC, those without an answer last; ties by name."""

    def place(field: FieldImportance) -> tuple[float, str]:
        loss = field.losses.get("ctcvr")
        return -loss.value if isinstance(loss, Measured) else float("inf"), field.field

    return sorted(fields, key=place)[:MOST_FIELDS]


def importance(axes: Axes, fields: Sequence[FieldImportance]) -> None:
    """Three bars a field, from the top in the given order."""
    drawn: list[Task] = [task for task in TASKS if _bars(fields, task)]
    if not drawn:
        reasons = {loss.reason for field in fields for loss in field.losses.values() if isinstance(loss, NotMeasurable)}
        say(axes, "Not measurable:\n" + "\n".join(sorted(reasons)[:3]))
        return
    for number, task in enumerate(drawn):
        rows, losses, spreads = zip(*_bars(fields, task), strict=True)
        places = [row + (number - (len(drawn) - 1) / 2) * _BAR for row in rows]
        axes.barh(places, losses, height=_BAR, color=COLOURS[task], linewidth=0, label=task.upper())
        axes.errorbar(losses, places, xerr=spreads, fmt="none", ecolor=INK, elinewidth=0.8, alpha=0.6)
    axes.axvline(0, color=INK, linewidth=0.8)
    names = [field.field if len(field.field) <= _LONGEST else f"{field.field[: _LONGEST - 1]}…" for field in fields]
    axes.set_yticks(range(len(fields)), names)
    axes.set(ylim=(len(fields) - 0.4, -0.6), xlabel="AUC lost")
    axes.grid(visible=False, axis="y")
    axes.xaxis.set_major_locator(MaxNLocator(5))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda loss, _: f"{loss:.3g}"))
    legend_above(axes, columns=3)


def _bars(fields: Sequence[FieldImportance], task: Task) -> list[tuple[int, float, float]]:
    """The rows of the fields that have an answer, the loss and its spread."""
    return [
        (row, loss.value, field.spreads.get(task, 0.0))
        for row, field in enumerate(fields)
        for loss in [field.losses.get(task)]
        if isinstance(loss, Measured)
    ]


def _unmeasured(fields: Sequence[FieldImportance]) -> str:
    reasons = [
        f" {task.upper()}: not measurable, {loss.reason}."
        for task in TASKS
        for loss in [fields[0].losses.get(task)]
        if isinstance(loss, NotMeasurable)
    ]
    return "".join(reasons)
