"""Gathers what the report shows beside the evaluation: days used, labels, cost, the inspected models."""

from __future__ import annotations

from collections.abc import Callable
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING, Any

import dagster as dg

from assets.costs import training_costs
from assets.delay_curve import delay_curve
from assets.embeddings import NAME as EMBEDDINGS
from assets.embeddings import TABLE_FILE
from assets.models import model_key
from assets.receipts import read_receipt
from assets.resources import DataRefused, Platform
from assets.training_runs import run_child
from data_checks.receipts import Receipt
from infra.artifacts import Artifact, ArtifactMissing
from ml.data.dataset import DatasetSpec
from ml.inspection_spec import InspectionSpec

if TYPE_CHECKING:
    from ml.inspection.record import Inspection
    from ml.report.facts import DayUsed, ReportFacts


def report_facts(
    platform: Platform,
    spec: DatasetSpec,
    *,
    as_of: date,
    receipt: Receipt,
    samples: Path,
    bundle: Artifact,
    champion: Artifact | None,
    restated: tuple[str, ...],
    mature_from: date | None,
    folder: Path,
    log: Callable[[str], None],
) -> ReportFacts:
    """What the page of `bundle`, judged on `as_of`, shows of its making and its inside.

    Nothing here decides anything: an inspection that fails leaves a sentence on the page, and the decision stands.
    """
    from ml.report.facts import ReportFacts

    inspections: dict[str, Inspection] = {}
    failures: list[str] = []
    for whose, judged in (("inspection", bundle), ("champion_inspection", champion)):
        if judged is None:
            continue
        try:
            inspections[whose] = _inspect(platform, judged, samples, receipt, folder=folder / whose, log=log)
        except (dg.Failure, DataRefused) as fault:
            log(f"{whose}: {fault}")
            failures.append(f"model {judged.manifest.key.removeprefix(model_key(''))[:12]}: {fault}")
    return ReportFacts(
        data_used=_days_used(platform, bundle, restated),
        labels_mature=receipt.labels_mature,
        mature_from=mature_from,
        label_days=spec.label_days,
        delay=delay_curve(platform, spec, as_of, scratch=folder),
        costs=training_costs(platform, bundle=bundle, as_of=as_of),
        inspection_failures=tuple(failures),
        **inspections,
    )


def _inspect(
    platform: Platform, bundle: Artifact, samples: Path, receipt: Receipt, *, folder: Path, log: Callable[[str], None]
) -> Inspection:
    from ml.inspection.record import INSPECTION_FILE, Inspection

    folder.mkdir(parents=True, exist_ok=True)
    inspection = InspectionSpec(
        bundle_dir=bundle.directory(),
        samples=samples,
        content_sha256=receipt.content_sha256,
        embedding_table=_embedding_table(platform, bundle),
        threads=platform.threads,
        encoded_cache=platform.encoded_cache,
    )
    out = run_child(platform, "inspect", inspection, folder=folder, log=log)
    return Inspection.model_validate_json((out / INSPECTION_FILE).read_bytes())


def _embedding_table(platform: Platform, bundle: Artifact) -> Path | None:
    """The pre-trained table of the model's own as-of day, if it is still the one of the model's vocabulary."""
    facts: Any = bundle.manifest.metadata
    try:
        embeddings = platform.artifacts.open(f"{EMBEDDINGS}/{facts['as_of']}")
    except ArtifactMissing:
        return None
    of_model, present = (_vocabulary(artifact) for artifact in (bundle, embeddings))
    return embeddings.path(TABLE_FILE) if of_model == present else None


def _vocabulary(artifact: Artifact) -> dict[str, str]:
    files = artifact.manifest.files.items()
    return {name: entry.sha256 for name, entry in files if name.startswith("vocabulary/")}


def _days_used(platform: Platform, bundle: Artifact, restated: tuple[str, ...]) -> tuple[DayUsed, ...]:
    from ml.report.facts import DayUsed

    facts: Any = bundle.manifest.metadata
    used = [
        DayUsed(day=day, receipt_id=receipt_id, verdict="admitted", rows=_rows(platform, day), restated=day in restated)
        for day, receipt_id in facts["receipts"].items()
    ]
    missing = [
        DayUsed(day=day, verdict="missing", rows=_rows(platform, day), why=why)
        for day, why in facts["missing_days"].items()
    ]
    return (*used, *missing)


def _rows(platform: Platform, day: str) -> int:
    receipt = read_receipt(platform, date.fromisoformat(day))
    return receipt.admitted if receipt else 0
