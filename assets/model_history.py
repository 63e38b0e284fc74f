"""Gathers what the page across days shows from the store, and keeps that page there; how it looks is `ml.report`'s."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from datetime import date, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, get_args

import dagster as dg
from jinja2 import TemplateError
from pydantic import ValidationError

from assets.evaluation import EVALUATION_FILE, REPORT_FILE
from assets.evaluation import NAME as EVALUATION
from assets.receipts import read_decisions, read_receipt, validated_key
from assets.resources import Platform
from assets.review_pages import review_key
from data_checks.decisions import standing
from data_checks.review_page import PAGE_FILE as REVIEW_FILE
from infra.artifacts import ArtifactContested, ArtifactDamaged
from infra.local_object_store import LocalObjectStore
from infra.object_keys import ObjectStoreError
from infra.registry import Decision
from ml.data.dataset import DatasetSpec

if TYPE_CHECKING:
    from ml.report.history_day import HistoryDay, HistoryDecision

NAME = "model_history"
PAGE_FILE, DATA_FILE = "history.html", "history.json"
_TRIES = 3


class WrittenPage(NamedTuple):
    """Where the page is on this machine, the days on it, oldest first, and where everybody finds it."""

    path: Path
    days: list[HistoryDay]
    address: str


def history_entry(platform: Platform, spec: DatasetSpec, *, warn: Callable[[str], None]) -> dg.MetadataValue[Any]:
    """Write the page anew and return where it is, as metadata; or why it could not be, which `warn` is told too.

    What has been decided is decided: a page that cannot be written is written by the next decision, or by
    `postclick history`.
    """
    from ml.report.history import HistoryTooLarge

    try:
        return dg.MetadataValue.path(publish_history(platform, spec).address)
    except (ObjectStoreError, OSError, ValueError, TemplateError, HistoryTooLarge) as fault:
        # ValueError is what pydantic, json and matplotlib raise on numbers that they cannot use.
        why = f"the page across days was not written: {type(fault).__name__}: {fault}"
        warn(f"{why}; the decision stands, `postclick history` writes the page")
        return dg.MetadataValue.text(why)


def publish_history(platform: Platform, spec: DatasetSpec) -> WrittenPage:
    """Write the page of all days and decisions there are into the store.

    Two runs that decide at once contend for it; it is then made again from what both have left.
    """
    for attempt in range(1, _TRIES + 1):
        try:
            return _publish(platform, spec)
        except ArtifactContested:
            if attempt == _TRIES:
                raise
    raise AssertionError("unreachable")


def gather(platform: Platform) -> tuple[list[HistoryDay], list[HistoryDecision]]:
    """Every day from the first to the last that has a receipt or an evaluation, at most the page's number of them and
    the newest, oldest first; and every decision. Of a day's artifacts, evaluation and receipt alone are read."""
    from ml.report.history_day import MOST_DAYS, HistoryDecision

    # One listing tells which days there are; asking for each would be a request a day.
    found = {prefix: _days_below(platform, prefix) for prefix in (EVALUATION, "validated_samples")}
    known = set().union(*found.values())
    registry = platform.registry.history()
    decisions = [HistoryDecision.model_validate(_shown(decision)) for decision in registry]
    if not known:
        return [], decisions
    first = max(min(known), max(known) - timedelta(days=MOST_DAYS - 1))
    days = [first + timedelta(days=age) for age in range((max(known) - first).days + 1)]
    promoted = {(decision.as_of, decision.model_id) for decision in registry if decision.took_effect}
    rows = [_row(platform, day, judged=day in found[EVALUATION], promoted=promoted) for day in days]
    return rows, decisions


def write_page(platform: Platform, spec: DatasetSpec, out: Path) -> WrittenPage:
    """Write the page to a file outside of the store; its links are absolute."""
    from ml.report.history import render_history

    days, decisions = gather(platform)
    location = platform.objects.location
    address = Path(location).as_uri() if isinstance(platform.objects, LocalObjectStore) else location
    render_history(days, decisions, dataset=spec.name, out=out, store=address.rstrip("/"))
    return WrittenPage(out, days, str(out))


def _publish(platform: Platform, spec: DatasetSpec) -> WrittenPage:
    from ml.report.history import render_history

    days, decisions = gather(platform)
    with platform.scratch(NAME) as folder:
        files = {name: folder / name for name in (PAGE_FILE, DATA_FILE)}
        render_history(days, decisions, dataset=spec.name, out=files[PAGE_FILE])
        files[DATA_FILE].write_text(_as_json(days, decisions), encoding="utf-8")
        manifest = platform.artifacts.publish(NAME, files, metadata={"days": len(days), "decisions": len(decisions)})
        path = platform.artifacts.open(manifest.key).path(PAGE_FILE)
        return WrittenPage(path, days, platform.address(f"{manifest.folder}/{PAGE_FILE}"))


def _as_json(days: Sequence[HistoryDay], decisions: Sequence[HistoryDecision]) -> str:
    content = {
        "days": [day.model_dump(mode="json") for day in days],
        "decisions": [decision.model_dump(mode="json") for decision in decisions],
    }
    return json.dumps(content, sort_keys=True, indent=1, ensure_ascii=False, allow_nan=False) + "\n"


def _days_below(platform: Platform, prefix: str) -> set[date]:
    return {date.fromisoformat(key.rpartition("/")[2]) for key in platform.artifacts.keys(f"{prefix}/")}


def _shown(decision: Decision) -> dict[str, Any]:
    """The evidence stays in the registry: it is the evaluation's rules once more."""
    return {**decision.model_dump(exclude={"evidence", "replaces"}), "took_effect": decision.took_effect}


def _row(platform: Platform, day: date, *, judged: bool, promoted: set[tuple[date, str]]) -> HistoryDay:
    from ml.report.history_day import HistoryDay

    data = _data(platform, day)
    if judged:
        return HistoryDay.model_validate({"day": day, **data, **_judged(platform, day, promoted=promoted)})
    verdict = "data_refused" if data["data"] in ("refused", "excluded") else "not_run"
    return HistoryDay(day=day, verdict=verdict, **data)


def _data(platform: Platform, day: date) -> dict[str, Any]:
    """How the day's data stands, and its review page where it has one."""
    try:
        receipt = read_receipt(platform, day)
        stands = standing(receipt, read_decisions(platform, day))
    except (ValidationError, ArtifactDamaged) as fault:
        return {"data": "unreadable", "data_why": f"{validated_key(day)} cannot be read: {_first_line(fault)}"}
    in_force = stands.decision.decision if stands.decision else None
    if receipt is None:
        return {"data": "none"}
    states = {"exclude": "excluded", "accept": "accepted" if receipt.verdict == "refused" else "admitted"}
    page = platform.artifacts.find(review_key(day)) if receipt.verdict == "refused" or in_force else None
    return {
        "data": states.get(in_force or "", receipt.verdict),
        "data_why": stands.why,
        "review": f"{page.folder}/{REVIEW_FILE}" if page else None,
    }


def _judged(platform: Platform, day: date, *, promoted: set[tuple[date, str]]) -> dict[str, Any]:
    """The day's verdict and numbers; of an evaluation that cannot be read, what its manifest says of the decision."""
    from ml.evaluation.evaluate import Evaluation
    from ml.report.history_day import evaluated

    facts: Mapping[str, Any] = {}
    found: dict[str, Any] = {}
    try:
        artifact = platform.artifacts.open(f"{EVALUATION}/{day.isoformat()}")
        facts = artifact.manifest.metadata
        if REPORT_FILE in artifact.manifest.files:
            found["report"] = f"{artifact.manifest.folder}/{REPORT_FILE}"
        evaluation = Evaluation.from_json(artifact.path(EVALUATION_FILE).read_text(encoding="utf-8"))
        found |= evaluated(evaluation)
        decision, model_id = evaluation.decision.decision, evaluation.challenger.model.model_id
    except (ValidationError, ArtifactDamaged) as fault:
        found["note"] = f"The evaluation cannot be read: {_first_line(fault)}"
        decision, model_id = str(facts.get("decision", "")), str(facts.get("model_id", ""))
    return found | _verdict(decision, was_promoted=(day, model_id) in promoted, note=found.get("note", ""))


def _verdict(decision: str, *, was_promoted: bool, note: str) -> dict[str, Any]:
    """The gate's decision as the champion's history bears it out."""
    from ml.report.history_day import DayVerdict

    if was_promoted:
        again = "" if decision == "promoted" else "Promoted, and judged again since."
        return {"verdict": "promoted", "note": " ".join(filter(None, (note, again)))}
    if decision == "promoted":
        return {"verdict": "not_carried_out", "note": note}
    return {"verdict": decision if decision in get_args(DayVerdict) else "unreadable", "note": note}


def _first_line(fault: Exception) -> str:
    if isinstance(fault, ValidationError):
        first = fault.errors(include_url=False)[0]
        return f"{'.'.join(map(str, first['loc'])) or 'content'}: {first['msg']} ({fault.error_count()} in all)"
    return str(fault)
