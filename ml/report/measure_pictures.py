"""Draws what a model measured of itself by epoch and on the judged day, a picture for each part of any model."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.axes import Axes

from ml.inspection.record import Inspection
from ml.report.gate_pictures import PREFIX as GATES
from ml.report.gate_pictures import draw_gates
from ml.report.measure_panels import CAPTIONS, LONGEST_LABEL, Panel, panels_of
from ml.report.measure_words import measure_words
from ml.report.picture import MARKERS, PALETTE, Picture, distinct_names, draw_panels, legend_above
from ml.report.share_axes import linear_shares
from ml.report.training_curve import Points, TrainingCurve
from ml.report.training_pictures import kept_words, mark_epochs

_SECTION = "model"
MOST_PICTURES = 6


def draw_measures(curve: TrainingCurve, inspection: Inspection | None) -> list[Picture]:
    """Gates first, then a picture a part (the name before the first dot), of at most MOST_PICTURES parts."""
    judged = _among_known(dict(inspection.measures)) if inspection else {}
    curves = _known_courses(curve.measures)
    final = {name: _kept(points, best=curve.best_epoch) for name, points in curves.items()}
    of_day = any(name.startswith(GATES) for name in judged)
    where = "on the judged day's rows" if of_day else "on the held-out rows of the epoch kept"
    pictures = draw_gates(judged if of_day else final, curves, latest_is=where, best=curve.best_epoch)
    parts: dict[str, list[str]] = {}
    for name in sorted(curves.keys() | judged.keys()):
        if not name.startswith(GATES):
            parts.setdefault(name.partition(".")[0] if "." in name else "", []).append(name)
    names = distinct_names("measures", parts)
    left_out = len(parts) - MOST_PICTURES
    for number, (part, measures) in enumerate(list(parts.items())[:MOST_PICTURES], start=1):
        note = f" Of {len(parts)} parts, {left_out} are not drawn." if left_out > 0 and number == MOST_PICTURES else ""
        pictures.append(_part(names[part], part, measures, curve, curves, judged, note))
    return pictures


def lines(axes: Axes, panel: Panel, curves: Mapping[str, Points], judged: Mapping[str, float]) -> None:
    """A line a measure by epoch; the judged day's value stands apart, to the right of the last epoch."""
    last = max((points[-1][0] for points in curves.values()), default=0.0)
    for (name, label), colour, marker in zip(panel.labels.items(), PALETTE, MARKERS, strict=False):
        style = {"color": colour, "marker": marker, "markersize": 4}
        points = curves.get(name)
        if points:
            axes.plot(*np.array(points).T, linewidth=1.4, label=label, **style)
        if name in judged:
            named = None if points else label
            axes.plot([last + 1], [judged[name]], linestyle="none", markerfacecolor="none", label=named, **style)
    if panel.level is not None:
        axes.axhline(panel.level, color=PALETTE[-1], linewidth=0.9, linestyle=":")
    axes.set_ylabel(panel.axis)
    if panel.share:
        linear_shares(axes.yaxis, ticks=4)
    legend_above(axes, columns=2 if sum(map(len, panel.labels.values())) < LONGEST_LABEL - 10 else 1)


def _part(
    name: str,
    part: str,
    measures: Sequence[str],
    curve: TrainingCurve,
    curves: Mapping[str, Points],
    judged: Mapping[str, float],
    note: str,
) -> Picture:
    panels = panels_of(part, measures)
    drawn = [name for panel in panels for name in panel.labels]
    of_part = {name: curves[name] for name in drawn if name in curves}
    on_day = {name: judged[name] for name in drawn if name in judged}
    told = CAPTIONS.get(part, "What the model measures of itself")
    told += ", on held-out rows after each epoch" if of_part else ""
    told += "; hollow, at the right: on the judged day" if on_day else ""
    hidden = len(measures) - len(drawn)
    extra = f" {hidden} more measures are not drawn." if hidden > 0 else ""
    return draw_panels(
        name,
        measure_words(measures[0]).part,
        f"{told}{kept_words(curve) if of_part else ''}.{extra}{note}",
        lambda axes: _draw_part(axes, panels, of_part, on_day, best=curve.best_epoch),
        rows=len(panels),
        section=_SECTION,
        height=0.7 + {1: 2.5, 2: 1.9, 3: 1.7}.get(len(panels), 1.5) * len(panels),
    )


def _draw_part(
    axes: Sequence[Axes],
    panels: Sequence[Panel],
    curves: Mapping[str, Points],
    judged: Mapping[str, float],
    *,
    best: int | None,
) -> None:
    last = max((points[-1][0] for points in curves.values()), default=0.0)
    first = min((points[0][0] for points in curves.values()), default=1.0)
    for number, (place, panel) in enumerate(zip(axes, panels, strict=True)):
        lines(place, panel, curves, judged)
        mark_epochs(place, best=best if curves else None)
        if judged:
            _mark_judged_day(place, first=first, last=last, epochs=bool(curves))
        if number < len(panels) - 1:
            place.set_xticklabels([])
        elif curves:
            place.set_xlabel("epoch")


def _mark_judged_day(axes: Axes, *, first: float, last: float, epochs: bool) -> None:
    """A tick one epoch after the last, and room for its words."""
    marks = [mark for mark in axes.get_xticks() if first <= mark <= last and mark == int(mark)] if epochs else []
    if len(marks) > 1 and last + 1 - marks[-1] < marks[1] - marks[0]:
        marks.pop()
    axes.set_xticks([*marks, last + 1], [*(f"{mark:.0f}" for mark in marks), "judged day"])
    axes.set_xlim(first - 0.4 if epochs else last, last + (1.6 if epochs else 2))


def _among_known(measures: Mapping[str, float]) -> dict[str, float]:
    """Distances over the rows whose value is a node of the graph, in place of those over all rows, where 0 counts."""
    answer = {name: value for name, value in measures.items() if not _is_known_share(name)}
    for name in answer:
        known = measures.get(_known_of(name), 0.0)
        if name.startswith("structure_migrator.") and known > 0:
            answer[name] /= known
    return answer


def _known_courses(measures: Mapping[str, Points]) -> dict[str, Points]:
    epochs = sorted({epoch for points in measures.values() for epoch, _ in points})
    courses: dict[str, list[tuple[float, float]]] = {}
    for epoch in epochs:
        values = {name: dict(points)[epoch] for name, points in measures.items() if epoch in dict(points)}
        for name, value in _among_known(values).items():
            courses.setdefault(name, []).append((epoch, value))
    return {name: tuple(points) for name, points in courses.items()}


def _is_known_share(name: str) -> bool:
    return name.startswith("structure_migrator.") and name.endswith(".known")


def _known_of(name: str) -> str:
    return f"{name.rpartition('.')[0]}.known"


def _kept(points: Points, *, best: int | None) -> float:
    return next((value for epoch, value in points if epoch == best), points[-1][1])
