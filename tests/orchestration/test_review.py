"""A decision is in the day's record and on the asset's page: who, why, and how the day stands since."""

from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import dagster as dg
import pytest

from assets.receipts import read_decisions
from assets.resources import DataRefused
from data_checks.receipts import Receipt
from infra.object_store import LocalObjectStore
from orchestration.build import build_platform
from orchestration.review import review_day
from orchestration.settings import read_settings

NOW = datetime(2026, 1, 20, 9, tzinfo=UTC)
DAY = date(2026, 1, 6)


def publish_refused(platform: Any, folder: Path) -> None:
    empty = dict.fromkeys(("rows_in", "impressions", "admitted", "quarantined", "clicks", "conversions", "mature"), 0)
    receipt = Receipt(
        dataset="demo",
        day=DAY,
        input_version="v",
        rules_version="r",
        label_horizon=None,
        events=None,
        bad_share=0,
        max_bad_share=0.05,
        verdict="refused",
        reasons=("too few rows",),
        rules=(),
        content_sha256="0",
        quarantine_sha256="0",
        **empty,
    )
    file = folder / "receipt.json"
    file.write_bytes(receipt.canonical_json())
    platform.artifacts.publish(f"validated_samples/{DAY}", {"receipt.json": file}, metadata={})


@pytest.fixture
def platform(tmp_path: Path) -> Any:
    settings = read_settings({"home": tmp_path / "home", "dataset": "demo", "store": None})
    platform = build_platform(settings, settings.dataset_spec())
    assert isinstance(platform.objects, LocalObjectStore)
    return platform


def test_a_decision_is_recorded_and_shown_on_the_day(platform: Any, tmp_path: Path) -> None:
    publish_refused(platform, tmp_path)
    with dg.DagsterInstance.ephemeral() as instance:
        for decision, why in (("accept", "a public holiday"), ("exclude", "no holiday after all")):
            review_day(platform, instance, day=DAY, decision=decision, reason=why, reviewer="ann", decided_at=NOW)
        filters = dg.AssetRecordsFilter(asset_key=dg.AssetKey("validated_samples"), asset_partitions=[str(DAY)])
        shown = [record.asset_observation for record in instance.fetch_observations(filters, limit=5).records]

    assert [decision.decision for decision in read_decisions(platform, DAY)] == ["accept", "exclude"]
    newest = shown[0]
    assert newest is not None
    assert newest.description == "exclude by ann: no holiday after all"
    assert "no holiday after all" in str(newest.metadata["standing"].value)
    assert len(shown) == 2


def test_there_must_be_a_receipt_to_decide_on(platform: Any) -> None:
    with (
        dg.DagsterInstance.ephemeral() as instance,
        pytest.raises(DataRefused, match="has no receipt to decide on; materialize validated_samples"),
    ):
        review_day(platform, instance, day=DAY, decision="accept", reason="why not", reviewer="ann", decided_at=NOW)
    assert read_decisions(platform, DAY) == ()
