"""Joined samples when raw files go missing or bad: the day is refused and withdrawn, the others go on."""

import shutil
from collections.abc import Callable
from datetime import date, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import dagster as dg
import pytest

from assets.joined import NAME as JOINED
from assets.receipts import day_standing, read_receipt
from assets.resources import Platform
from ml.data.sources.generated import streams
from ml.data.synthetic.feed import ensure_days, feed_folder

DAYS = [date(2026, 1, 5) + timedelta(days=offset) for offset in range(3)]
BAD = DAYS[1]


@pytest.fixture
def shop(
    tmp_path: Path,
    feed_root: Path,
    platform: Platform,
    instance: dg.DagsterInstance,
    make_spec: Callable[..., Any],
    run_data: Callable[..., Any],
) -> SimpleNamespace:
    """A log of event streams whose files a test can damage, and a run of its three days."""
    config = make_spec().source.config
    ensure_days(config=config, days=DAYS, root=feed_root)
    folder = feed_folder(config=config, root=tmp_path / "raw")
    shutil.copytree(feed_folder(config=config, root=feed_root), folder)
    spec = make_spec(
        days={"first": DAYS[0], "last": DAYS[-1]},
        source=streams(config=config, root=tmp_path / "raw").model_dump(mode="json"),
    )

    def run(*days: date) -> dg.ExecuteInProcessResult:
        return run_data(platform, instance, spec, *(days or (DAYS[0], DAYS[-1])))

    return SimpleNamespace(run=run, spec=spec, folder=folder, platform=platform, instance=instance)


def raw_file(folder: Path, stream: str, day: date) -> Path:
    [path] = sorted((folder / stream / f"day={day}").glob("part-*.parquet" if stream == "impressions" else "from=*"))[
        -1:
    ]
    return path


def verdicts(platform: Platform) -> dict[date, str]:
    found = {day: read_receipt(platform, day) for day in DAYS}
    return {day: receipt.verdict if receipt else "none" for day, receipt in found.items()}


def test_a_missing_raw_file_refuses_its_day_and_no_other(shop: SimpleNamespace, check_history: Callable[..., Any]):
    shutil.rmtree(shop.folder / "impressions" / f"day={BAD}")
    assert shop.run().success
    assert verdicts(shop.platform) == {day: "refused" if day == BAD else "admitted" for day in DAYS}
    for asset, check in (("raw_events", "feed_arrived"), (JOINED, "joined"), ("validated_samples", "schema")):
        expected = {day.isoformat(): [day != BAD] for day in DAYS}
        assert check_history(shop.instance, asset, check) == expected
    assert all(check_history(shop.instance, "raw_conversions", "feed_arrived").values())
    receipt = read_receipt(shop.platform, BAD)
    assert receipt is not None
    assert receipt.reasons[0].startswith(f"raw_events of {BAD} was refused: no file at ")
    assert (receipt.rows_in, receipt.admitted, receipt.quarantined) == (0, 0, 0)
    refusal = shop.platform.artifacts.open(f"raw_events/{BAD}").path("refused.txt").read_text()
    assert f"impressions/day={BAD}" in refusal


def test_a_good_day_that_becomes_unreadable_is_withdrawn(shop: SimpleNamespace):
    shop.run()
    assert set(verdicts(shop.platform).values()) == {"admitted"}
    raw_file(shop.folder, "impressions", BAD).write_bytes(b"no parquet")
    assert shop.run().success

    assert not day_standing(shop.platform, BAD).admitted
    assert "samples.parquet" not in shop.platform.artifacts.open(f"{JOINED}/{BAD}").manifest.files
    assert "samples.parquet" not in shop.platform.artifacts.open(f"validated_samples/{BAD}").manifest.files
    assert all(day_standing(shop.platform, day).admitted for day in DAYS if day != BAD)


def test_conversions_that_never_arrived_refuse_their_day_and_end_what_is_observed(shop: SimpleNamespace):
    shop.run()
    whole = read_receipt(shop.platform, DAYS[0])
    shutil.rmtree(shop.folder / "conversions" / f"day={BAD}")
    shop.run()
    gap, refused = read_receipt(shop.platform, DAYS[0]), read_receipt(shop.platform, BAD)
    assert whole is not None
    assert gap is not None
    assert refused is not None
    assert refused.reasons[0].startswith(f"raw_conversions of {BAD} was refused: no file at ")
    assert [day for day, verdict in verdicts(shop.platform).items() if verdict == "refused"] == [BAD]
    assert (str(whole.label_horizon), str(gap.label_horizon)) == (
        "2026-01-08 00:00:00+00:00",
        "2026-01-06 00:00:00+00:00",
    )


def test_a_single_refused_day_is_withdrawn_and_fails_its_run_at_the_verdict(shop: SimpleNamespace):
    shop.run()
    assert day_standing(shop.platform, BAD).admitted
    shutil.rmtree(shop.folder / "clicks" / f"day={BAD}")
    result = shop.run(BAD)
    assert not result.success
    [failure] = [event for event in result.all_events if event.is_step_failure]
    assert failure.step_key == "validation"
    assert failure.step_failure_data.user_failure_data is not None
    assert f"clicks/day={BAD}" in str(failure.step_failure_data.user_failure_data.description)
    assert not day_standing(shop.platform, BAD).admitted
