"""The report page's sections: their order, their headings, and which of them have something to say."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from markupsafe import Markup

from ml.evaluation.evaluate import Evaluation
from ml.report.facts import ReportFacts
from ml.report.picture import Picture

#: In the page's order: a section's name (its template and its address), and its heading.
SECTIONS = {
    "decision": "The rules",
    "comparison": "Challenger against champion",
    "metrics": "Metrics",
    "ranking": "Ranking",
    "calibration": "Calibration",
    "scores": "Scores",
    "slices": "Slices",
    "training": "Training",
    "labels": "Labels",
    "data": "Data used",
    "model": "The model",
    "embeddings": "Embeddings",
    "importance": "Importance of fields",
    "cost": "Cost",
    "numbers": "Where the numbers are",
}
_SHORT = {
    "decision": "Rules",
    "comparison": "Champion",
    "importance": "Importance",
    "numbers": "Numbers",
    "model": "Model",
    "data": "Data",
}


@dataclass(frozen=True)
class Section:
    """A part of the page: its address within it, its heading, and its name in the table of contents."""

    name: str
    heading: str
    short: str
    pictures: tuple[tuple[Picture, Markup], ...]


def page_sections(evaluation: Evaluation, facts: ReportFacts, pictures: Sequence[Picture]) -> list[Section]:
    """Those that have something to say; a picture of no known section stands with the training's."""
    drawn: dict[str, list[tuple[Picture, Markup]]] = {name: [] for name in SECTIONS}
    for picture in pictures:
        home = picture.section if picture.section in drawn else "training"
        drawn[home].append((picture, Markup(picture.svg)))
    silent = {name for name in ("ranking", "scores") if not drawn[name]}
    if not evaluation.slices:
        silent.add("slices")
    if facts.inspection is None:
        silent |= {"embeddings", "importance"}
    return [
        Section(name=name, heading=heading, short=_SHORT.get(name, heading), pictures=tuple(drawn[name]))
        for name, heading in SECTIONS.items()
        if name not in silent
    ]
