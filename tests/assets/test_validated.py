"""Validated and quarantined samples of a log with planted bad days, by one range run: nothing lost, nothing hidden."""

from collections import Counter
from collections.abc import Callable, Iterator
from datetime import date, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import dagster as dg
import pyarrow.parquet as pq
import pytest

from assets.declaration import OWNERS
from assets.receipts import read_receipt
from assets.resources import Platform
from assets.training_runs import training_days, training_window
from assets.validated import QUARANTINED, VALIDATED, _profiles
from assets.validated import build as build_validated
from data_checks.profile import PROFILE_FILE
from data_checks.receipts import FAMILIES, Receipt
from ml.data.policy import WindowPolicy
from ml.data.window import WindowRefused

FIRST, LAST = date(2026, 1, 5), date(2026, 1, 11)
DAYS = [FIRST + timedelta(days=offset) for offset in range(7)]
FEW_ROWS, REPEATED, SOME_TEXT = date(2026, 1, 8), date(2026, 1, 9), date(2026, 1, 10)
FAULTS = [
    {"day": FEW_ROWS, "kind": "low_volume", "share": 0.2},
    {"day": REPEATED, "kind": "duplicates", "share": 0.2},
    {"day": SOME_TEXT, "kind": "broken_types", "share": 0.02},
    {"day": SOME_TEXT, "kind": "duplicates", "share": 0.015},
]


@pytest.fixture(scope="module")
def planted(
    tmp_path_factory: pytest.TempPathFactory,
    make_platform: Callable[[Path], Platform],
    make_spec: Callable[..., Any],
    run_data: Callable[..., dg.ExecuteInProcessResult],
) -> Iterator[SimpleNamespace]:
    platform, spec = make_platform(tmp_path_factory.mktemp("planted")), make_spec(faults=FAULTS)
    with dg.DagsterInstance.ephemeral() as instance:
        result = run_data(platform, instance, spec, FIRST, LAST)
        yield SimpleNamespace(platform=platform, spec=spec, instance=instance, result=result)


def receipts(platform: Platform) -> dict[date, Receipt]:
    found = {day: read_receipt(platform, day) for day in DAYS}
    return {day: receipt for day, receipt in found.items() if receipt is not None}


def rows(platform: Platform, asset: str, day: date, file: str) -> list[dict[str, Any]]:
    return pq.read_table(platform.artifacts.open(f"{asset}/{day}").path(file)).to_pylist()


def test_bad_days_are_refused_and_stop_no_other(planted: SimpleNamespace):
    verdicts = {day: receipt.verdict for day, receipt in receipts(planted.platform).items()}
    assert planted.result.success
    assert verdicts == {day: "refused" if day in (FEW_ROWS, REPEATED) else "admitted" for day in DAYS}


def test_rows_in_are_admitted_or_quarantined_in_the_files_too(planted: SimpleNamespace):
    for day, receipt in receipts(planted.platform).items():
        joined = rows(planted.platform, "joined_samples", day, "samples.parquet")
        admitted = rows(planted.platform, VALIDATED, day, "samples.parquet")
        quarantined = rows(planted.platform, QUARANTINED, day, "rows.parquet")
        assert (len(joined), len(admitted), len(quarantined)) == (
            receipt.rows_in,
            receipt.admitted,
            receipt.quarantined,
        )
        keys = [(row["source_file"], row["source_row"]) for row in (*admitted, *quarantined)]
        assert sorted(keys) == sorted((row["source_file"], row["source_row"]) for row in joined)


def test_a_quarantined_row_carries_every_rule_it_breaks(planted: SimpleNamespace):
    for day in (REPEATED, SOME_TEXT):
        receipt = receipts(planted.platform)[day]
        found = rows(planted.platform, QUARANTINED, day, "rows.parquet")
        assert Counter(rule for row in found for rule in row["rule_ids"]) == receipt.by_rule()
        assert all(row["rule_ids"] for row in found)
    broken = receipts(planted.platform)[SOME_TEXT].by_rule()
    assert {rule.partition(".")[0] for rule in broken} == {"schema", "duplicates"}
    few = rows(planted.platform, QUARANTINED, FEW_ROWS, "rows.parquet")
    assert {tuple(row["rule_ids"]) for row in few} in (set(), {("volume.below_trailing_median",)})


def test_fields_are_compared_with_the_profiles_of_admitted_days_alone(planted: SimpleNamespace):
    known = receipts(planted.platform)
    usable = _profiles(planted.platform, DAYS, name=PROFILE_FILE)
    assert set(usable) == {day for day in DAYS if known[day].verdict == "admitted"}
    assert all(PROFILE_FILE in planted.platform.artifacts.open(f"{VALIDATED}/{day}").manifest.files for day in DAYS)
    drift = {day: next(r for r in known[day].rules if r.rule == "drift.field_shifted") for day in DAYS}
    assert [drift[day].judged for day in DAYS] == [0, 0, 0, 0, 1, 1, 1]
    assert drift[DAYS[2]].why.startswith("2 admitted days with a profile in the 7 before; 3 are needed")
    # The day of few rows has 300, too few to compare.
    assert drift[FEW_ROWS].why.startswith("300 rows were admitted; 1000 are needed")
    assert not any(result.failed for result in drift.values())


def test_each_family_has_a_check_per_day_and_only_the_broken_one_is_red(
    planted: SimpleNamespace, check_history: Callable[..., Any]
):
    red = {
        (family, day)
        for family in FAMILIES
        for day, verdicts in check_history(planted.instance, VALIDATED, family).items()
        if verdicts != [True]
    }
    assert red == {("volume", FEW_ROWS.isoformat()), ("duplicates", REPEATED.isoformat())}
    for family in FAMILIES:
        history = check_history(planted.instance, VALIDATED, family)
        assert set(history) == {day.isoformat() for day in DAYS}


def test_the_failed_checks_metadata_is_the_review_table(planted: SimpleNamespace):
    volume = failed_evaluation(planted.instance, "volume", FEW_ROWS)
    [record] = volume["rules"].records
    assert (record.data["rule"], record.data["trailing median"]) == ("volume.below_trailing_median", "1500.0")
    duplicates = failed_evaluation(planted.instance, "duplicates", REPEATED)
    [record] = duplicates["rules"].records
    assert Path(record.data["quarantine"]).name == "rows.parquet"
    assert Path(record.data["quarantine"]).is_file()
    assert all("impression_id" in record.data[f"sample row {number}"] for number in (1, 2, 3))
    assert duplicates["bad_rows"].value == receipts(planted.platform)[REPEATED].quarantined == 300


def failed_evaluation(instance: dg.DagsterInstance, check: str, day: date) -> Any:
    key = dg.AssetCheckKey(dg.AssetKey(VALIDATED), check)
    records = instance.event_log_storage.get_asset_check_execution_history(key, limit=50)
    evaluations = [record.event.dagster_event.asset_check_evaluation_data for record in records]  # type: ignore[union-attr]
    [failed] = [evaluation for evaluation in evaluations if not evaluation.passed]
    assert failed.partition == day.isoformat()
    return failed.metadata


def test_refused_days_are_no_training_days(planted: SimpleNamespace):
    policy = WindowPolicy(window_days=4, min_days=2, max_missing_days=2)
    window = training_window(planted.platform, as_of=SOME_TEXT, policy=policy)
    assert [day for day, _ in window.days] == DAYS[1:3]
    assert [day for day, _ in window.missing] == [FEW_ROWS, REPEATED]
    days = training_days(planted.platform, window)
    known = receipts(planted.platform)
    assert {day.receipt_id for day in days} == {known[day].receipt_id for day in DAYS[1:3]}
    with pytest.raises(WindowRefused, match=r"2026-01-08: refused.*\n.*2026-01-09: refused"):
        training_window(planted.platform, as_of=SOME_TEXT, policy=planted.spec.window)


def test_the_same_range_again_publishes_nothing_new(
    planted: SimpleNamespace, run_data: Callable[..., dg.ExecuteInProcessResult]
):
    artifacts = planted.platform.artifacts
    before = {key: artifacts.find(key) for key in list(artifacts.keys(""))}
    assert run_data(planted.platform, planted.instance, planted.spec, FIRST, LAST).success
    assert {key: artifacts.find(key) for key in list(artifacts.keys(""))} == before
    assert len(before) >= 7 * 5


def test_both_assets_come_from_joined_samples(planted: SimpleNamespace):
    [validation] = build_validated(planted.spec)
    assert {key.to_user_string() for key in validation.keys} == {VALIDATED, QUARANTINED}
    assert {key.to_user_string() for key in validation.dependency_keys} == {"joined_samples"}
    assert all(spec.owners == OWNERS and spec.description for spec in validation.specs)
