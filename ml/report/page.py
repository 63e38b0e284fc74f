"""Renders one evaluation as a stand-alone HTML page; its numbers are the evaluation's and the facts', none is its own.

How numbers are worded is wording.py's, how pictures are drawn pictures.py's, what the page looks like the templates'.
"""

from __future__ import annotations

import base64
import hashlib
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from jinja2 import Environment
from markupsafe import Markup

from ml.atomic_files import atomic_file, write_json
from ml.evaluation.evaluate import Evaluation
from ml.evaluation.evaluated_day import TASKS
from ml.evaluation.judged_rows import read_predictions
from ml.evaluation.measurement import Measured
from ml.evaluation.slices import SliceMetrics
from ml.inspection.record import FieldImportance
from ml.report.calibration_choice import read_calibration_choice
from ml.report.environment import page_environment
from ml.report.facts import ReportFacts
from ml.report.measure_words import grouped_measures
from ml.report.page_sections import page_sections
from ml.report.picture import Picture
from ml.report.pictures import draw_pictures
from ml.report.training_curve import TrainingCurve, read_training_curve
from ml.report.wording import FILTERS

LARGEST_BYTES = 3_000_000
NUMBERS_FILE = "report.json"

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
    """Where the page is, its facts as JSON beside it, and its pictures, for Dagster's metadata."""

    path: Path
    numbers: Path
    pictures: tuple[Picture, ...]


def render(
    *,
    evaluation: Evaluation,
    predictions: Path,
    champion_predictions: Path | None = None,
    training_metrics: Path | None,
    facts: ReportFacts,
    out: Path,
) -> Report:
    """Write the page to `out` and `facts` to report.json beside it, atomically; same inputs, same bytes.

    champion_predictions, of the same rows, are drawn beside the challenger's. Everything on the page is inline and
    escaped; it asks the network for nothing, and runs the one script whose hash it names. Raises ReportTooLarge above
    3 MB.
    """
    rows = read_predictions(predictions)
    champion = read_predictions(champion_predictions) if champion_predictions else None
    curve = read_training_curve(training_metrics)
    pictures = draw_pictures(rows=rows, champion=champion, curve=curve, evaluation=evaluation, facts=facts)
    environment = page_environment()
    environment.filters.update(FILTERS)
    days = sorted(facts.data_used, key=lambda day: day.day)
    script = _source(environment, "report.js").strip()
    page = environment.get_template("report.html.jinja").render(
        evaluation=evaluation,
        challenger=evaluation.challenger,
        champion=evaluation.champion,
        facts=facts,
        decision=_DECISIONS[evaluation.decision.decision],
        tasks=TASKS,
        outcomes={"ctr": "clicks", "cvr": "conversions", "ctcvr": "conversions"},
        sections=page_sections(evaluation, facts, pictures),
        slices=_measurable_first(evaluation.slices),
        curve=curve,
        epochs=_epochs(curve),
        calibration_choice=read_calibration_choice(training_metrics),
        measures=_measures(facts),
        importance=_weightiest_first(facts),
        used=[day for day in days if day.verdict == "admitted"],
        refused=[day for day in days if day.verdict != "admitted"],
        script=Markup(script),
        script_hash=script_hash(script),
    )
    encoded = page.encode("utf-8")
    if len(encoded) > LARGEST_BYTES:
        raise ReportTooLarge(
            f"the report has {len(encoded):,} bytes, {LARGEST_BYTES:,} are allowed; list fewer days in "
            "facts.data_used, or slice by fewer fields (the dataset's gate.slice_fields)"
        )
    numbers = out.with_name(NUMBERS_FILE)
    with atomic_file(out) as unfinished:
        unfinished.write_bytes(encoded)
    write_json(numbers, facts.model_dump(mode="json"))
    return Report(path=out, numbers=numbers, pictures=tuple(pictures))


def script_hash(script: str) -> str:
    """What a Content-Security-Policy calls an inline script of exactly this text."""
    return "sha256-" + base64.b64encode(hashlib.sha256(script.encode("utf-8")).digest()).decode("ascii")


def _source(environment: Environment, name: str) -> str:
    assert environment.loader is not None
    return environment.loader.get_source(environment, name)[0]


def _measurable_first(slices: Sequence[SliceMetrics]) -> list[SliceMetrics]:
    return sorted(slices, key=lambda each: each.auc.kind == "not_measurable")


def _weightiest_first(facts: ReportFacts) -> list[FieldImportance]:
    """Fields by what CTCVR loses without them; those where that is not known last."""
    if facts.inspection is None:
        return []
    losses = [(field, field.losses.get("ctcvr")) for field in facts.inspection.importance]
    falling = sorted(losses, key=lambda each: -each[1].value if isinstance(each[1], Measured) else math.inf)
    return [field for field, _ in falling]


def _epochs(curve: TrainingCurve) -> int:
    return int(max((epoch for points in curve.epochs.values() for epoch, _ in points), default=0))


def _measures(facts: ReportFacts) -> object:
    """The challenger's measures in words, beside the champion's where it is a model of the same kind."""
    ours, theirs = facts.inspection, facts.champion_inspection
    if ours is None:
        return []
    same = theirs is not None and theirs.model == ours.model
    return grouped_measures(ours.measures, *((theirs.measures,) if theirs is not None and same else ()))
