"""Which days an asset's partition is made from, and where partitions end."""

from collections.abc import Callable
from datetime import date

import dagster as dg

from assets.partitions import daily_partitions, label_days_after, window_before
from ml.data.dataset import DatasetSpec


def upstream(mapping: dg.TimeWindowPartitionMapping, partitions: dg.DailyPartitionsDefinition, day: str) -> list[str]:
    subset = partitions.empty_subset().with_partition_keys([day])
    found = mapping.get_upstream_mapped_partitions_result_for_partitions(subset, partitions, partitions)
    return sorted(found.partitions_subset.get_partition_keys())


def test_a_finished_log_ends_with_its_last_day_and_an_open_one_goes_on(make_spec: Callable[..., DatasetSpec]) -> None:
    finished = make_spec()
    keys = daily_partitions(finished).get_partition_keys()
    assert (keys[0], keys[-1]) == (str(finished.days.first), str(finished.days.last))
    running = make_spec(days={"last": None})
    assert daily_partitions(running).get_last_partition_key() > str(finished.days.last)


def test_the_window_is_the_days_before_and_never_the_judged_day(spec: DatasetSpec) -> None:
    partitions = daily_partitions(spec)
    assert spec.window.window_days == 3
    assert upstream(window_before(spec), partitions, "2026-01-10") == ["2026-01-07", "2026-01-08", "2026-01-09"]
    assert upstream(window_before(spec), partitions, "2026-01-06") == ["2026-01-05"]


def test_labels_come_from_the_day_and_as_many_after_as_can_change_them(spec: DatasetSpec) -> None:
    partitions = daily_partitions(spec)
    after = upstream(label_days_after(spec), partitions, "2026-01-06")
    assert after == [str(date(2026, 1, 6 + offset)) for offset in range(spec.label_days + 1)]
