"""The page across days in the store: what it makes of evaluations, receipts and decisions, and that it harms none."""

import json
import re
from collections.abc import Callable
from datetime import date, datetime, timedelta
from pathlib import Path
from typing import Any

import dagster as dg
import pytest

from assets.model_history import NAME, gather, history_entry, publish_history, write_page
from assets.promotion import build as build_promotion
from assets.receipts import record_decision
from assets.resources import Platform
from assets.review_pages import publish_review
from infra.artifact_reader import Artifact
from infra.artifacts import ArtifactContested, ArtifactStore
from ml.data.dataset import DatasetSpec
from ml.report import history as history_page
from ml.report.history_day import MOST_DAYS, HistoryDay
from tests.assets.judged_history import store_evaluation

DAY = date(2026, 1, 8)
Publish = Callable[..., Any]
Judge = Callable[..., None]


@pytest.fixture
def judge(platform: Platform, tmp_path: Path) -> Judge:
    """judge(day, model_id=…, decision=…, champion=…): a stored evaluation."""
    return lambda day, **named: store_evaluation(platform, tmp_path / "judged", day, **named)


@pytest.fixture
def unpictured(monkeypatch: pytest.MonkeyPatch) -> None:
    """Pages without pictures, which take a second each."""
    monkeypatch.setattr(history_page, "draw_history", lambda days: [])


def promote(platform: Platform, model_id: str, *, as_of: date = DAY, over: str | None = None) -> None:
    platform.registry.promote(
        model_id=model_id, as_of=as_of, expected_model_id=over, who="ann", reason="better", evidence={"auc": 0.7}
    )


def reject(platform: Platform, model_id: str, *, as_of: date = DAY, reason: str = "worse") -> None:
    platform.registry.record_decision(
        kind="rejected", model_id=model_id, as_of=as_of, champion_id=None, who="ann", reason=reason, evidence={}
    )


def row(platform: Platform, day: date = DAY) -> HistoryDay:
    [found] = [row for row in gather(platform)[0] if row.day == day]
    return found


def test_a_judged_day_has_its_verdict_its_numbers_and_its_report(
    platform: Platform, publish_day: Publish, judge: Judge
):
    publish_day(DAY)
    judge(DAY, model_id="second", decision="rejected", champion="first")
    found = row(platform)
    assert (found.verdict, found.data, found.reasons, found.conversions) == (
        "rejected",
        "admitted",
        ("It is so.",),
        300,
    )
    assert found.challenger is not None
    assert found.champion is not None
    assert (found.challenger.model_id, found.champion.model_id) == ("second", "first")
    assert found.report is not None
    assert (Path(platform.objects.location) / found.report).read_text() == f"report of {DAY}"


@pytest.mark.parametrize("decision", ["rejected", "insufficient_evidence", "unchanged"])
def test_the_gates_decision_is_the_verdict(platform: Platform, judge: Judge, decision: str):
    judge(DAY, model_id="first", decision=decision)
    assert row(platform).verdict == decision


def test_promoted_is_who_became_champion_and_stays_so_when_judged_again(platform: Platform, judge: Judge):
    judge(DAY, model_id="first", decision="promoted")
    assert row(platform).verdict == "not_carried_out"
    promote(platform, "first")
    assert (row(platform).verdict, row(platform).note) == ("promoted", "")
    judge(DAY, model_id="first", decision="unchanged")
    assert (row(platform).verdict, row(platform).note) == ("promoted", "Promoted, and judged again since.")


def test_every_day_between_the_first_and_the_last_is_a_row(platform: Platform, publish_day: Publish, judge: Judge):
    publish_day(DAY)
    publish_day(DAY + timedelta(days=3), verdict="refused")
    judge(DAY + timedelta(days=1), model_id="m", decision="rejected")
    rows, _ = gather(platform)
    assert [(found.day - DAY).days for found in rows] == [0, 1, 2, 3]
    assert [(found.verdict, found.data) for found in rows] == [
        ("not_run", "admitted"),
        ("rejected", "none"),
        ("not_run", "none"),
        ("data_refused", "refused"),
    ]
    assert "too few rows" in rows[-1].data_why


def test_a_review_is_seen_on_the_day_with_its_page(
    platform: Platform, spec: DatasetSpec, publish_day: Publish, at: Callable[[int], datetime]
):
    publish_day(DAY, verdict="refused")
    publish_review(platform, spec, DAY)

    def decide(kind: str, minute: int) -> HistoryDay:
        record_decision(platform, day=DAY, decision=kind, reason="holiday", reviewer="ann", decided_at=at(minute))
        return row(platform)

    accepted = decide("accept", 0)
    assert (accepted.data, accepted.verdict) == ("accepted", "not_run")
    assert "accepted by ann: holiday" in accepted.data_why
    assert accepted.review is not None
    assert (Path(platform.objects.location) / accepted.review).is_file()
    assert (decide("exclude", 1).data, row(platform).verdict) == ("excluded", "data_refused")
    assert decide("revoke", 2).data == "refused"


def test_an_evaluation_of_another_version_is_a_row_that_says_so(
    platform: Platform, judge: Judge, tmp_path: Path, unpictured: None, spec: DatasetSpec
):
    judge(DAY, model_id="m", decision="rejected")
    file = tmp_path / "evaluation.json"
    for number, metadata in enumerate(({"model_id": "old", "decision": "insufficient_evidence"}, {})):
        file.write_text('{"judged_day": "2026-01-09", "auc": 0.7}', encoding="utf-8")
        day = DAY + timedelta(days=1 + number)
        platform.artifacts.publish(f"evaluation_report/{day}", {"evaluation.json": file}, metadata=metadata)
    known, unknown = row(platform, DAY + timedelta(days=1)), row(platform, DAY + timedelta(days=2))
    assert (known.verdict, unknown.verdict) == ("insufficient_evidence", "unreadable")
    for found in (known, unknown):
        assert found.note.startswith("The evaluation cannot be read: ")
        assert found.challenger is None
        assert found.report is None
    assert "cannot be read" in publish_history(platform, spec).path.read_text(encoding="utf-8")


@pytest.mark.parametrize("damaged", ["evaluation_report", "validated_samples"])
def test_a_damaged_file_is_a_row_that_says_so(platform: Platform, publish_day: Publish, judge: Judge, damaged: str):
    publish_day(DAY)
    judge(DAY, model_id="m", decision="rejected")
    name = {"evaluation_report": "evaluation.json", "validated_samples": "receipt.json"}[damaged]
    [file] = Path(platform.objects.location).glob(f"{damaged}/{DAY}/*/{name}")
    file.write_text("{}")
    found = row(platform)
    assert found.verdict == "rejected"
    assert "damaged" in (found.note if damaged == "evaluation_report" else found.data_why)
    assert (found.data == "unreadable") == (damaged == "validated_samples")


def test_decisions_are_the_registrys_without_their_evidence(platform: Platform):
    promote(platform, "first")
    reject(platform, "second")
    promote(platform, "third", over="first")
    platform.registry.rollback(to_model_id="first", who="bob", reason="checkout broke")
    _, decisions = gather(platform)
    assert [(found.kind, found.model_id, found.took_effect) for found in decisions] == [
        ("promoted", "first", True),
        ("rejected", "second", None),
        ("promoted", "third", True),
        ("rolled_back", "first", True),
    ]
    assert decisions[-1].who == "bob"
    assert "evidence" not in decisions[0].model_dump()


def test_the_page_lies_in_the_store_with_its_numbers_and_its_links_lead_to_reports(
    platform: Platform, spec: DatasetSpec, judge: Judge, tmp_path: Path, unpictured: None
):
    judge(DAY, model_id="first", decision="promoted")
    promote(platform, "first")
    page = publish_history(platform, spec).path
    [link] = re.findall(r'<a href="([^"]+)"', page.read_text(encoding="utf-8"))
    assert not link.startswith("/")
    assert (page.parent / link).read_text() == f"report of {DAY}"
    kept = json.loads(page.with_name("history.json").read_text(encoding="utf-8"))
    assert [day["verdict"] for day in kept["days"]] == ["promoted"]
    assert [decision["who"] for decision in kept["decisions"]] == ["ann"]

    elsewhere = write_page(platform, spec, tmp_path / "elsewhere.html").path
    [link] = re.findall(r'<a href="([^"]+)"', elsewhere.read_text(encoding="utf-8"))
    assert Path(link.removeprefix("file://")).read_text() == f"report of {DAY}"


def test_writing_the_page_again_changes_nothing(platform: Platform, spec: DatasetSpec, judge: Judge, unpictured: None):
    judge(DAY, model_id="first", decision="rejected")
    first = publish_history(platform, spec)
    before = platform.artifacts.find(NAME)
    assert publish_history(platform, spec) == first
    assert platform.artifacts.find(NAME) == before


def test_an_empty_store_has_a_page_too(platform: Platform, spec: DatasetSpec, unpictured: None):
    assert "No champion yet" in publish_history(platform, spec).path.read_text(encoding="utf-8")


def test_of_a_judged_day_the_evaluation_is_read_and_not_its_report(
    platform: Platform, publish_day: Publish, judge: Judge, monkeypatch: pytest.MonkeyPatch
):
    for age in range(3):
        publish_day(DAY + timedelta(days=age))
        judge(DAY + timedelta(days=age), model_id="m", decision="rejected")
    read: list[str] = []
    path = Artifact.path
    monkeypatch.setattr(Artifact, "path", lambda artifact, name: (read.append(name), path(artifact, name))[1])
    gather(platform)
    assert sorted(read) == ["evaluation.json"] * 3 + ["receipt.json"] * 3


def test_only_the_newest_days_are_read(platform: Platform, publish_day: Publish):
    publish_day(DAY)
    last = DAY + timedelta(days=MOST_DAYS + 50)
    publish_day(last)
    rows, _ = gather(platform)
    assert len(rows) == MOST_DAYS
    assert rows[-1].day == last


def test_who_decides_while_a_run_writes_the_page_does_not_lose(
    platform: Platform, spec: DatasetSpec, judge: Judge, monkeypatch: pytest.MonkeyPatch, unpictured: None
):
    judge(DAY, model_id="first", decision="rejected")
    publish, tries = ArtifactStore.publish, []

    def contested(store: ArtifactStore, key: str, *arguments: Any, **named: Any) -> Any:
        tries.append(key)
        if len(tries) == 1:
            reject(platform, "second", reason="of the other run")
            raise ArtifactContested(key)
        return publish(store, key, *arguments, **named)

    monkeypatch.setattr(ArtifactStore, "publish", contested)
    assert "of the other run" in publish_history(platform, spec).path.read_text(encoding="utf-8")
    assert tries == [NAME, NAME]
    monkeypatch.setattr(ArtifactStore, "publish", lambda *_, **__: (_ for _ in ()).throw(ArtifactContested(NAME)))
    with pytest.raises(ArtifactContested):
        publish_history(platform, spec)


@pytest.mark.parametrize(
    "fault",
    [
        ArtifactContested("contested"),
        OSError("disk full"),
        ValueError("no number"),
        history_page.HistoryTooLarge("big"),
    ],
)
def test_a_page_that_cannot_be_written_undoes_no_promotion(
    platform: Platform,
    spec: DatasetSpec,
    instance: dg.DagsterInstance,
    judge: Judge,
    monkeypatch: pytest.MonkeyPatch,
    fault: Exception,
):
    def fail(*_: Any, **__: Any) -> None:
        raise fault

    monkeypatch.setattr(history_page, "render_history", fail)
    judge(DAY, model_id="first", decision="promoted")
    result = dg.materialize(
        build_promotion(spec),
        partition_key=DAY.isoformat(),
        instance=instance,
        resources={"platform": dg.ResourceDefinition.hardcoded_resource(platform)},
    )
    assert result.success
    now = platform.registry.champion()
    assert now is not None
    assert now.model_id == "first"
    [shown] = result.asset_materializations_for_node("promoted_model")
    assert shown.metadata["decision"].value == "promoted"
    assert str(fault) in str(shown.metadata["history_page"].value)
    assert isinstance(shown.metadata["history_page"], dg.TextMetadataValue)


def test_the_promotions_metadata_lead_to_the_page_that_shows_it(
    platform: Platform, spec: DatasetSpec, instance: dg.DagsterInstance, judge: Judge
):
    judge(DAY, model_id="first", decision="promoted")
    result = dg.materialize(
        build_promotion(spec),
        partition_key=DAY.isoformat(),
        instance=instance,
        resources={"platform": dg.ResourceDefinition.hardcoded_resource(platform)},
    )
    [shown] = result.asset_materializations_for_node("promoted_model")
    page = Path(str(shown.metadata["history_page"].value)).read_text(encoding="utf-8")
    assert f"Champion: esmm as of {DAY}" in page
    assert "<svg" in page


def test_a_fault_is_told_with_the_remedy(platform: Platform, spec: DatasetSpec, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(ArtifactStore, "publish", lambda *_, **__: (_ for _ in ()).throw(OSError("disk full")))
    told: list[str] = []
    entry = history_entry(platform, spec, warn=told.append)
    assert "disk full" in str(entry.value)
    assert told == [f"{entry.value}; the decision stands, `postclick history` writes the page"]


def test_a_fault_of_the_program_is_not_hidden(platform: Platform, spec: DatasetSpec, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(history_page, "render_history", lambda *_, **__: {}["absent"])
    with pytest.raises(KeyError):
        history_entry(platform, spec, warn=lambda line: None)
