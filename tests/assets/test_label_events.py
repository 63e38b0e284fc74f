"""Credited events: made once, made anew when what they rest on changes, and observed only up to the first gap."""

from collections.abc import Callable
from datetime import date, timedelta
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import dagster as dg
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest

import assets.label_events
from assets.label_events import label_events, raw_artifact
from assets.raw_logs import build as build_raw
from assets.resources import Platform

DAYS = [date(2026, 1, 5) + timedelta(days=offset) for offset in range(4)]


@pytest.fixture
def landed(
    platform: Platform, instance: dg.DagsterInstance, spec: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> SimpleNamespace:
    """Raw days in the store, `of(day)` = label_events, and the list of what was computed rather than reused."""
    resources = {"platform": dg.ResourceDefinition.hardcoded_resource(platform)}
    tags = {"dagster/asset_partition_range_start": str(DAYS[0]), "dagster/asset_partition_range_end": str(DAYS[-1])}
    assert dg.materialize(build_raw(spec), tags=tags, instance=instance, resources=resources).success
    made: list[str] = []

    def counted(make: Callable[..., int], **arguments: Any) -> int:
        made.append(arguments["out"].relative_to(tmp_path / "scratch").as_posix())
        return make(**arguments)

    for name in ("resolve_touches", "credit_conversions"):
        monkeypatch.setattr(assets.label_events, name, partial(counted, getattr(assets.label_events, name)))

    def of(day: date, *, under: Any = spec) -> Any:
        return label_events(platform, under, day, scratch=tmp_path / "scratch")

    return SimpleNamespace(of=of, made=made, platform=platform, spec=spec)


def refuse(platform: Platform, asset: str, day: date, folder: Path) -> None:
    (folder / "refused.txt").write_text("gone")
    platform.artifacts.publish(f"{asset}/{day}", {"refused.txt": folder / "refused.txt"}, metadata={"arrived": {}})


def test_each_days_events_are_made_once_for_all_the_days_they_label(landed: SimpleNamespace):
    first = landed.of(DAYS[0])
    assert len(landed.made) == len(set(landed.made)) > 0
    before = list(landed.made)
    assert landed.of(DAYS[0]) == first
    assert landed.made == before
    landed.of(DAYS[1])
    new = landed.made[len(before) :]
    assert new
    assert not set(new) & set(before)


def test_a_restated_input_makes_only_what_rests_on_it_anew(landed: SimpleNamespace, tmp_path: Path):
    landed.of(DAYS[0])
    (_, _, before), made = landed.of(DAYS[0]), len(landed.made)
    source = landed.platform.artifacts.open(f"raw_conversions/{DAYS[0]}")
    fewer = tmp_path / "fewer.parquet"
    pq.write_table(pq.read_table(source.path("conversions.parquet")).slice(1), fewer)
    landed.platform.artifacts.publish(source.manifest.key, {"conversions.parquet": fewer}, metadata={"arrived": {}})
    _, _, after = landed.of(DAYS[0])
    # The days after it look for repeated orders in it; they find none, so that their content stays what it was.
    assert landed.made[made:] == [f"credited_conversions/{day}/credits.parquet" for day in DAYS[:3]]
    changed = {key for key in after if after[key] != before[key]}
    assert changed == {f"credited_conversions/{DAYS[0]}"}


def test_an_order_that_comes_again_on_a_later_day_is_credited_on_the_first_alone(
    landed: SimpleNamespace, tmp_path: Path
):
    first, second = (landed.platform.artifacts.open(f"raw_conversions/{day}") for day in DAYS[:2])
    both = [pq.read_table(one.path("conversions.parquet")) for one in (second, first)]
    again = pa.concat_tables(
        [
            both[0],
            both[1].set_column(
                both[1].schema.get_field_index("source_row"), "source_row", pc.add(both[1]["source_row"], len(both[0]))
            ),
        ]
    )
    pq.write_table(again, tmp_path / "again.parquet")
    landed.platform.artifacts.publish(
        second.manifest.key, {"conversions.parquet": tmp_path / "again.parquet"}, metadata={"arrived": {}}
    )
    events, _, _ = landed.of(DAYS[0])
    ranks = [pq.read_table(path)["duplicate_rank"].to_pylist() for path in events.credits[:2]]
    assert set(ranks[0]) == {1}
    assert ranks[1] == [1] * len(both[0]) + [2] * len(both[1])


def test_other_attribution_windows_make_other_events(landed: SimpleNamespace):
    landed.of(DAYS[0])
    made = len(landed.made)
    for section, changes in (
        ("attribution", {"click_window_seconds": 60}),
        ("attribution", {"touch": "first"}),
        ("validation", {"clock_skew_seconds": 5}),
    ):
        other = getattr(landed.spec, section).model_copy(update=changes)
        landed.of(DAYS[0], under=landed.spec.model_copy(update={section: other}))
        assert len(landed.made) > made, changes
        made = len(landed.made)


def test_labels_are_observed_up_to_the_first_gap(landed: SimpleNamespace, tmp_path: Path):
    label_days = landed.spec.label_days
    assert label_days == 2
    events, horizon, versions = landed.of(DAYS[0])
    assert len(events.touches) == len(events.credits) == label_days + 1
    assert horizon.date() == DAYS[label_days] + timedelta(days=1)
    assert len(versions) == 2 * (label_days + 1)

    refuse(landed.platform, "raw_conversions", DAYS[1], tmp_path)
    events, horizon, _ = landed.of(DAYS[0])
    assert (len(events.credits), horizon.date()) == (1, DAYS[1])
    assert landed.of(DAYS[1]) is None


@pytest.mark.parametrize("asset", ["raw_events", "raw_conversions"])
def test_a_day_that_was_refused_or_never_landed_has_no_events(landed: SimpleNamespace, tmp_path: Path, asset: str):
    refuse(landed.platform, asset, DAYS[0], tmp_path)
    assert raw_artifact(landed.platform, asset, DAYS[0]) is None
    assert landed.of(DAYS[0]) is None
    assert raw_artifact(landed.platform, asset, DAYS[-1] + timedelta(days=1)) is None
    assert landed.of(DAYS[-1] + timedelta(days=1)) is None
