"""From cells to a table: means, spreads, gains and tests, as the record that every rendering is made of."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from datetime import date
from typing import Any

from pydantic import BaseModel, ConfigDict

from ml.evaluation.measurement import Measured, Measurement, NotMeasurable
from ml.experiments.cells import CellFailure, CellOutcome, CellResult
from ml.experiments.definitions import RANKED, MetricName, Published, Row, TableDefinition
from ml.experiments.kept_epochs import kept_epoch_notes
from ml.experiments.student_t import welch_p_value

SIGNIFICANT = 0.05


class _Record(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class RunLink(_Record):
    """One seed of a row: where its run lies (relative to the tables) and, if it failed, why."""

    seed: int
    run: str | None
    failure: str | None = None


class Entry(_Record):
    """One figure of one row: ``values`` by seed, their mean and sample standard deviation (n − 1).

    ``gain``: the mean less that of the row of reference. ``p_value``: Welch's test against the best of the rows that
    are not proposed; None where none is asked for. ``is_best``: significantly above it.
    """

    values: tuple[float, ...]
    mean: Measurement
    std: Measurement
    gain: float | None = None
    p_value: Measurement | None = None
    against: str | None = None
    is_significant: bool = False
    published: Published | None = None


class TableRow(_Record):
    """One row's figures by metric, and its runs; ``unavailable`` says why it has none."""

    label: str
    model: dict[str, Any]
    entries: dict[MetricName, Entry]
    runs: tuple[RunLink, ...]
    unavailable: str | None = None
    panel: str | None = None
    x: float | None = None


class TableResult(_Record):
    """A table as it was measured."""

    letter: str
    slug: str
    title: str
    source: str
    dataset: str
    as_of: date
    seeds: int
    preset: str | None
    settings: dict[str, Any]
    metrics: tuple[MetricName, ...]
    gain_over: str | None
    panels: dict[str, str]
    rows: tuple[TableRow, ...]
    notes: tuple[str, ...]
    shows_published: bool


class PlannedRow(_Record):
    """A row with the cells that fill it; ``refusal`` says why it has none. ``cells``: (seed, identity, run folder)."""

    row: Row
    cells: tuple[tuple[int, str, str], ...] = ()
    refusal: str | None = None


class Circumstances(_Record):
    """What all tables of an experiment have in common."""

    dataset: str
    as_of: date
    seeds: int
    preset: str | None
    settings: dict[str, Any]
    notes: tuple[str, ...] = ()
    shows_published: bool = False


def summarize_table(
    table: TableDefinition,
    planned: Sequence[PlannedRow],
    outcomes: Mapping[str, CellOutcome],
    circumstances: Circumstances,
) -> TableResult:
    """The table's figures from the cells that ended well; those that did not are named with their reasons."""
    samples: dict[str, dict[MetricName, tuple[float, ...]]] = {
        planned_row.row.label: {name: _values(planned_row, outcomes, name) for name in table.metrics}
        for planned_row in planned
    }
    rows = tuple(
        TableRow(
            label=each.row.label,
            model=dict(each.row.model),
            entries={name: _entry(table, each, samples, outcomes, name) for name in table.metrics},
            runs=tuple(_link(cell, outcomes) for cell in each.cells),
            unavailable=each.row.unavailable or each.refusal,
            panel=each.row.panel,
            x=each.row.x,
        )
        for each in planned
    )
    shared = circumstances.model_dump(exclude={"notes"})
    kept = kept_epoch_notes([(each.row, [identity for _, identity, _ in each.cells]) for each in planned], outcomes)
    return TableResult(
        **table.model_dump(include={"letter", "slug", "title", "source", "metrics", "gain_over"}),
        panels=dict(table.panels),
        notes=(*table.notes, *circumstances.notes, *kept),
        rows=rows,
        **shared,
    )


def _values(planned: PlannedRow, outcomes: Mapping[str, CellOutcome], metric: MetricName) -> tuple[float, ...]:
    found: list[float] = []
    for _, identity, _ in planned.cells:
        outcome = outcomes[identity]
        if isinstance(outcome, CellResult) and isinstance(answer := outcome.measures.get(metric), Measured):
            found.append(answer.value)
    return tuple(found)


def _entry(
    table: TableDefinition,
    planned: PlannedRow,
    samples: Mapping[str, Mapping[MetricName, tuple[float, ...]]],
    outcomes: Mapping[str, CellOutcome],
    metric: MetricName,
) -> Entry:
    values = samples[planned.row.label][metric]
    published = planned.row.published.get(metric)
    if not values:
        why = NotMeasurable(reason=_why_none(planned, outcomes, metric))
        return Entry(values=(), mean=why, std=why, published=published)
    mean = statistics.fmean(values)
    reference = samples[table.gain_over][metric] if table.gain_over not in (None, planned.row.label) else ()
    entry = Entry(
        values=values,
        mean=Measured(value=mean),
        std=Measured(value=statistics.stdev(values)) if len(values) > 1 else NotMeasurable(reason="1 seed"),
        gain=mean - statistics.fmean(reference) if reference else None,
        published=published,
    )
    rivals = {row.label: samples[row.label][metric] for row in table.rows if not row.is_proposed}
    rivals = {label: found for label, found in rivals.items() if found}
    if not planned.row.is_proposed or metric not in RANKED or not rivals:
        return entry
    best = max(rivals, key=lambda label: statistics.fmean(rivals[label]))
    p_value = welch_p_value(values, rivals[best])
    is_above = mean > statistics.fmean(rivals[best])
    significant = is_above and isinstance(p_value, Measured) and p_value.value < SIGNIFICANT
    return entry.model_copy(update={"p_value": p_value, "against": best, "is_significant": significant})


def _why_none(planned: PlannedRow, outcomes: Mapping[str, CellOutcome], metric: MetricName) -> str:
    if reason := planned.row.unavailable or planned.refusal:
        return reason
    for _, identity, _ in planned.cells:
        outcome = outcomes[identity]
        if isinstance(outcome, CellResult):
            answer = outcome.measures.get(metric)
            return answer.reason if isinstance(answer, NotMeasurable) else "not measured"
    return "every run failed"


def _link(cell: tuple[int, str, str], outcomes: Mapping[str, CellOutcome]) -> RunLink:
    seed, identity, run = cell
    outcome = outcomes[identity]
    return RunLink(seed=seed, run=run, failure=outcome.reason if isinstance(outcome, CellFailure) else None)
