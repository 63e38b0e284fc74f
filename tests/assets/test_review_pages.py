"""Review pages in the store: one for a day that fell short, again after a decision, none for a day that never did."""

import sys
from collections.abc import Callable, Iterator
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import dagster as dg
import pytest

from assets.receipts import read_receipt, record_decision
from assets.resources import Platform
from assets.review_pages import affected_models, publish_review, review_address, review_file, review_key
from data_checks.receipts import FAMILIES, Receipt, RuleResult
from infra.artifacts import ArtifactContested, ArtifactStore
from ml.data.dataset import DatasetSpec

DAY = date(2026, 1, 8)
Publish = Callable[..., Receipt]
Moment = Callable[[int], datetime]


def page(platform: Platform, day: date = DAY) -> str:
    file = review_file(platform, day)
    assert file is not None
    return file.read_text(encoding="utf-8")


def decide(platform: Platform, kind: str, at: Moment, *, minute: int = 0) -> None:
    record_decision(platform, day=DAY, decision=kind, reason="a holiday", reviewer="ann", decided_at=at(minute))


def test_a_refused_day_has_a_page_and_a_good_one_has_none(platform: Platform, spec: DatasetSpec, publish_day: Publish):
    publish_day(DAY, verdict="refused")
    good = DAY + timedelta(days=1)
    publish_day(good)
    for day in (DAY, good, DAY + timedelta(days=2)):
        publish_review(platform, spec, day)
    assert list(platform.artifacts.keys("reviews/")) == [review_key(DAY)]
    assert "Refused: not trained on" in page(platform)
    assert "too few rows" in page(platform)
    address = review_address(platform, DAY)
    assert address is not None
    assert Path(address).read_text(encoding="utf-8") == page(platform)
    assert (review_address(platform, good), review_file(platform, good)) == (None, None)


def test_writing_a_page_again_changes_nothing(platform: Platform, spec: DatasetSpec, publish_day: Publish):
    publish_day(DAY, verdict="refused")
    publish_review(platform, spec, DAY)
    before = platform.artifacts.find(review_key(DAY))
    publish_review(platform, spec, DAY)
    assert platform.artifacts.find(review_key(DAY)) == before


def test_a_decision_is_on_the_page_that_is_written_after_it(
    platform: Platform, spec: DatasetSpec, publish_day: Publish, at: Moment
):
    publish_day(DAY, verdict="refused")
    publish_review(platform, spec, DAY)
    assert "Nobody has decided" in page(platform)
    decide(platform, "accept", at)
    publish_review(platform, spec, DAY)
    assert "accepted by ann: trained on" in page(platform)
    manifest = platform.artifacts.find(review_key(DAY))
    assert manifest is not None
    assert "accepted by ann: a holiday" in str(manifest.metadata["standing"])


def test_a_day_that_is_good_again_keeps_its_page_which_says_so(
    platform: Platform, spec: DatasetSpec, publish_day: Publish
):
    publish_day(DAY, verdict="refused")
    publish_review(platform, spec, DAY)
    publish_day(DAY, content=b"mended")
    publish_review(platform, spec, DAY)
    assert "Admitted: trained on" in page(platform)
    assert "Refused" not in page(platform)


def test_earlier_days_are_its_trend(
    platform: Platform, spec: DatasetSpec, publish_day: Publish, monkeypatch: pytest.MonkeyPatch
):
    docs = SimpleNamespace(render_data_docs=lambda receipt, spec: "docs")
    monkeypatch.setitem(sys.modules, "data_checks.data_docs", docs)
    refused = publish_day(DAY, verdict="refused", admitted=10)
    for age, rows in ((1, 40), (2, 60), (29, 500), (30, 9000)):
        publish_day(DAY - timedelta(days=age), admitted=rows)
    ruled = refused.model_copy(update={"rules": (make_rule(),)})
    republish(platform, ruled)
    publish_review(platform, spec, DAY)
    assert "median of the 3 days before 60" in page(platform)


def make_rule(**changes: Any) -> RuleResult:
    content = {"rule": "schema.x", "family": "schema", "effect": "refuse", "failed": True, "judged": 10, "rows": 0}
    return RuleResult.model_validate({**content, "share": 0, "threshold": 0.05, **changes})


def republish(platform: Platform, receipt: Receipt) -> None:
    with platform.scratch("test") as folder:
        file = folder / "receipt.json"
        file.write_bytes(receipt.canonical_json())
        files = {"receipt.json": file}
        platform.artifacts.publish(f"validated_samples/{receipt.day}", files, metadata={})


def test_a_decision_does_not_wait_for_great_expectations(
    platform: Platform, spec: DatasetSpec, publish_day: Publish, at: Moment, monkeypatch: pytest.MonkeyPatch
):
    rendered: list[date] = []

    def render_data_docs(receipt: Receipt, spec: DatasetSpec) -> str:
        rendered.append(receipt.day)
        return f"docs of {receipt.receipt_id}"

    monkeypatch.setitem(sys.modules, "data_checks.data_docs", SimpleNamespace(render_data_docs=render_data_docs))
    first = publish_day(DAY, verdict="refused").model_copy(update={"rules": (make_rule(),)})
    republish(platform, first)
    publish_review(platform, spec, DAY)
    decide(platform, "accept", at)
    publish_review(platform, spec, DAY)
    file = review_file(platform, DAY)
    assert file is not None
    assert file.with_name("data_docs.html").read_text() == f"docs of {first.receipt_id}"
    assert 'href="data_docs.html"' in page(platform)
    assert rendered == [DAY]

    restated = first.model_copy(update={"input_version": "v2"})
    republish(platform, restated)
    publish_review(platform, spec, DAY)
    file = review_file(platform, DAY)
    assert file is not None
    assert file.with_name("data_docs.html").read_text() == f"docs of {restated.receipt_id}"

    republish(platform, publish_day(DAY))
    publish_review(platform, spec, DAY)
    manifest = platform.artifacts.find(review_key(DAY))
    assert manifest is not None
    assert list(manifest.files) == ["review.html"], "Great Expectations' page is for days that fell short"
    assert "data_docs.html" not in page(platform)


def test_who_decides_while_a_run_writes_the_page_does_not_lose(
    platform: Platform, spec: DatasetSpec, publish_day: Publish, at: Moment, monkeypatch: pytest.MonkeyPatch
):
    publish_day(DAY, verdict="refused")
    publish, tries = ArtifactStore.publish, []

    def contested(store: ArtifactStore, key: str, *arguments: Any, **named: Any) -> Any:
        tries.append(key)
        if len(tries) == 1:
            decide(platform, "exclude", at)
            raise ArtifactContested(key)
        return publish(store, key, *arguments, **named)

    monkeypatch.setattr(ArtifactStore, "publish", contested)
    publish_review(platform, spec, DAY)
    assert "Excluded by ann" in page(platform)
    monkeypatch.setattr(ArtifactStore, "publish", lambda *_, **__: (_ for _ in ()).throw(ArtifactContested("reviews")))
    with pytest.raises(ArtifactContested):
        publish_review(platform, spec, DAY)


@pytest.fixture
def store_model(platform: Platform, tmp_path: Path) -> Callable[..., str]:
    """store_model(as_of, receipts=…, missing=…) → the id of a stored model and its pointer; nothing is trained."""

    def store(as_of: date, *, receipts: dict[str, str], missing: tuple[str, ...] = ()) -> str:
        model_id = f"{as_of.day:064d}"
        file = tmp_path / "file"
        file.write_text("x")
        facts: Any = {
            "model": {"name": "esmm"},
            "receipts": receipts,
            "missing_days": dict.fromkeys(missing, "refused"),
        }
        platform.artifacts.publish(f"models/{model_id}", {"file": file}, metadata=facts)
        platform.artifacts.publish(f"cvr_model/{as_of}", {"file": file}, metadata={"model_id": model_id})
        return model_id

    return store


def test_affected_models_are_those_that_saw_it_left_it_out_or_would_see_it(
    platform: Platform, spec: DatasetSpec, publish_day: Publish, store_model: Callable[..., str]
):
    receipt, day = publish_day(DAY, verdict="refused"), DAY.isoformat()
    store_model(DAY, receipts={"2026-01-07": "r"})
    trained = store_model(DAY + timedelta(days=1), receipts={day: receipt.receipt_id})
    store_model(DAY + timedelta(days=2), receipts={day: "an earlier receipt"})
    found = affected_models(platform, spec, receipt)
    assert [(model.as_of.day, model.how, model.model) for model in found] == [
        (9, "trained", "esmm"),
        (10, "trained_on_other_receipt", "esmm"),
        (11, "in_window", None),
    ], "as of its own day it is judged, not trained on; after the 11th, its window of three days or the log has ended"
    store_model(DAY + timedelta(days=3), receipts={}, missing=(day,))
    assert [model.how for model in affected_models(platform, spec, receipt)][-1] == "left_out"
    publish_review(platform, spec, DAY)
    assert trained[:12] in page(platform)


def test_no_as_of_day_lies_after_the_log(platform: Platform, spec: DatasetSpec, publish_day: Publish):
    last = spec.days.last
    assert last is not None
    found = affected_models(platform, spec, publish_day(last - timedelta(days=1)))
    assert [model.as_of for model in found] == [last]


def test_the_champion_is_named_even_where_no_as_of_day_stands_for_it_any_more(
    platform: Platform, spec: DatasetSpec, publish_day: Publish, store_model: Callable[..., str]
):
    receipt = publish_day(DAY)
    as_of = DAY + timedelta(days=1)
    champion = store_model(as_of, receipts={DAY.isoformat(): receipt.receipt_id})
    platform.registry.promote(
        model_id=champion, as_of=as_of, expected_model_id=None, who="gate", reason="first", evidence={}
    )
    [model, *_] = affected_models(platform, spec, receipt)
    assert (model.model_id, model.champion) == (champion, True)
    other = store_model(DAY + timedelta(days=2), receipts={})
    manifest = platform.artifacts.find(f"cvr_model/{DAY + timedelta(days=2)}")
    assert manifest is not None
    with platform.scratch("test") as folder:
        (folder / "file").write_text("y")
        platform.artifacts.publish(f"cvr_model/{as_of}", {"file": folder / "file"}, metadata={"model_id": other})
    assert champion in {model.model_id for model in affected_models(platform, spec, receipt) if model.champion}


@pytest.fixture(scope="module")
def planted(
    tmp_path_factory: pytest.TempPathFactory,
    make_platform: Callable[[Path], Platform],
    make_spec: Callable[..., Any],
    run_data: Callable[..., dg.ExecuteInProcessResult],
) -> Iterator[SimpleNamespace]:
    """Two good days, and one on which a fifth of the rows came twice."""
    faults = [{"day": "2026-01-07", "kind": "duplicates", "share": 0.2}]
    platform, spec = make_platform(tmp_path_factory.mktemp("planted")), make_spec(faults=faults)
    with dg.DagsterInstance.ephemeral() as instance:
        assert run_data(platform, instance, spec, date(2026, 1, 5), date(2026, 1, 7)).success
        yield SimpleNamespace(platform=platform, spec=spec, instance=instance)


BAD = date(2026, 1, 7)


def test_a_run_leaves_both_pages_for_the_bad_day_alone(planted: SimpleNamespace):
    assert list(planted.platform.artifacts.keys("reviews/")) == [review_key(BAD)]
    file = review_file(planted.platform, BAD)
    assert file is not None
    docs = file.with_name("data_docs.html").read_text(encoding="utf-8")
    shown = file.read_text(encoding="utf-8")
    assert "duplicates.impression_repeated" in docs
    assert "300 quarantined" in shown or ">300</b>" in shown
    assert "<mark>" in shown
    assert "--dataset tiny" in shown


def metadata(planted: SimpleNamespace, asset: str, day: date) -> Any:
    filters = dg.AssetRecordsFilter(asset_key=dg.AssetKey(asset), asset_partitions=[day.isoformat()])
    [record] = planted.instance.fetch_materializations(filters, limit=1).records
    return record.asset_materialization.metadata


def test_the_partitions_name_the_page_and_show_sample_rows(planted: SimpleNamespace):
    address = review_address(planted.platform, BAD)
    validated, quarantined = (metadata(planted, name, BAD) for name in ("validated_samples", "quarantined_samples"))
    assert validated["review_page"].value == quarantined["review_page"].value == address
    records = quarantined["sample_rows"].records
    assert {record.data["rule"] for record in records} == {"duplicates.impression_repeated"}
    assert "duplicate_rank=2" in records[0].data["offending cells"]
    assert "part-0.parquet, row " in records[0].data["file and line"]
    assert quarantined["by_rule"].value == {"duplicates.impression_repeated": 300}
    good = metadata(planted, "validated_samples", date(2026, 1, 5))
    assert "review_page" not in good
    assert "sample_rows" not in metadata(planted, "quarantined_samples", date(2026, 1, 5))


def test_the_partition_says_how_old_its_labels_are(planted: SimpleNamespace):
    facts = metadata(planted, "validated_samples", date(2026, 1, 5))
    receipt = read_receipt(planted.platform, date(2026, 1, 5))
    assert receipt is not None
    assert receipt.label_horizon is not None
    passed = receipt.label_horizon - datetime(2026, 1, 6, tzinfo=UTC)
    assert facts["label_age_days"].value == round(passed.total_seconds() / 86400, 2)
    assert facts["mature_rows"].value == receipt.mature
    assert facts["labels_mature"].value == receipt.labels_mature


def test_every_check_of_the_bad_day_names_the_page(planted: SimpleNamespace):
    address = review_address(planted.platform, BAD)
    for family in FAMILIES:
        key = dg.AssetCheckKey(dg.AssetKey("validated_samples"), family)
        records = planted.instance.event_log_storage.get_asset_check_execution_history(key, limit=50)
        evaluations = [record.event.dagster_event.asset_check_evaluation_data for record in records]
        [bad] = [evaluation for evaluation in evaluations if evaluation.partition == BAD.isoformat()]
        assert bad.metadata["review_page"].value == address
        good = [evaluation for evaluation in evaluations if evaluation is not bad]
        assert good
        assert all("review_page" not in evaluation.metadata for evaluation in good)
