"""Renders one evaluation as a stand-alone HTML page; its numbers are the evaluation's, none is computed here."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from ml.atomic_files import atomic_file
from ml.evaluation.evaluate import Evaluation
from ml.evaluation.evaluated_day import TASKS
from ml.evaluation.intervals import Difference, Interval
from ml.evaluation.judged_rows import read_predictions
from ml.evaluation.metrics import Measured, NotMeasurable
from ml.report.facts import ReportFacts
from ml.report.pictures import draw_pictures
from ml.report.training_curve import read_training_curve

LARGEST_BYTES = 3_000_000

_DECISIONS = {
    "promoted": "Promoted",
    "rejected": "Rejected",
    "insufficient_evidence": "Not enough evidence",
    "unchanged": "Champion, unchanged",
}


class ReportTooLarge(RuntimeError):
    """A page that mail programs and Dagster would refuse to show."""


@dataclass(frozen=True)
class Report:
    """Where the page is, and its pictures as PNG by name, for Dagster's metadata."""

    path: Path
    pictures: Mapping[str, bytes]


def render(
    *,
    evaluation: Evaluation,
    predictions: Path,
    champion_predictions: Path | None = None,
    training_metrics: Path | None,
    facts: ReportFacts,
    out: Path,
) -> Report:
    """Write the page to `out`, atomically; the same inputs give the same bytes.

    champion_predictions, of the same rows, are drawn beside the challenger's. Everything on the page is inline and
    escaped; it asks the network for nothing. Raises ReportTooLarge above 3 MB.
    """
    rows = read_predictions(predictions)
    champion = read_predictions(champion_predictions) if champion_predictions else None
    curve = read_training_curve(training_metrics)
    pictures = draw_pictures(rows=rows, champion=champion, curve=curve)
    days = sorted(facts.data_used, key=lambda day: day.day)
    page = (
        _environment()
        .get_template("report.html.jinja")
        .render(
            evaluation=evaluation,
            decision=_DECISIONS[evaluation.decision.decision],
            tasks=TASKS,
            pictures=[(picture, Markup(picture.svg)) for picture in pictures],
            curve=curve,
            used=[day for day in days if day.verdict == "admitted"],
            refused=[day for day in days if day.verdict != "admitted"],
        )
    )
    encoded = page.encode("utf-8")
    if len(encoded) > LARGEST_BYTES:
        raise ReportTooLarge(
            f"the report has {len(encoded):,} bytes, {LARGEST_BYTES:,} are allowed; list fewer days in facts.data_used"
        )
    with atomic_file(out) as unfinished:
        unfinished.write_bytes(encoded)
    return Report(path=out, pictures={picture.name: picture.png for picture in pictures})


def _environment() -> Environment:
    environment = Environment(
        loader=PackageLoader("ml.report"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters.update(number=_number, value=_value, interval=_interval, signed=_signed, words=_words)
    return environment


def _number(answer: Measured | NotMeasurable, digits: int = 4) -> str:
    if isinstance(answer, NotMeasurable):
        return f"not measurable: {answer.reason}"
    return f"{answer.value:.{digits}f}"


def _interval(answer: Interval | Difference | NotMeasurable, digits: int = 4) -> str:
    if isinstance(answer, NotMeasurable):
        return f"not measurable: {answer.reason}"
    sign = "+" if isinstance(answer, Difference) else ""
    return f"{answer.lower:{sign}.{digits}f} to {answer.upper:{sign}.{digits}f}"


def _signed(answer: Difference | NotMeasurable, digits: int = 4) -> str:
    return "not measurable" if isinstance(answer, NotMeasurable) else f"{answer.estimate:+.{digits}f}"


def _value(value: bool | int | float | str | None) -> str:
    if value is None:
        return "–"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int):
        return f"{value:,}"
    return f"{value:.4g}" if isinstance(value, float) else value


def _words(identifier: str) -> str:
    words = identifier.replace("_", " ")
    for name in ("ctcvr", "ctr", "cvr", "auc", "pcoc"):
        words = words.replace(name, name.upper())
    return words[:1].upper() + words[1:]
