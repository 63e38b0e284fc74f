"""The delay curve on `joined_samples`: numbers on every joined day, one plot a run, nothing for a log with labels."""

import base64
import re
from collections.abc import Callable
from datetime import date
from typing import Any

import dagster as dg
import pytest

from assets.resources import Platform
from ml.data.dataset import DatasetSpec

FIRST, LAST = date(2026, 1, 5), date(2026, 1, 7)

pytestmark = pytest.mark.filterwarnings("ignore::dagster.BetaWarning", "ignore::dagster.PreviewWarning")


def joined(instance: dg.DagsterInstance, day: date) -> dict[str, Any]:
    wanted = dg.AssetRecordsFilter(dg.AssetKey("joined_samples"), asset_partitions=[day.isoformat()])
    (record,) = instance.fetch_materializations(wanted, limit=1).records
    assert record.asset_materialization is not None
    return {name: value.value for name, value in record.asset_materialization.metadata.items()}


def test_every_day_has_its_numbers_and_the_newest_its_plot(
    platform: Platform, instance: dg.DagsterInstance, spec: DatasetSpec, run_data: Callable[..., Any]
) -> None:
    assert run_data(platform, instance, spec, FIRST, LAST).success
    first, last = joined(instance, FIRST), joined(instance, LAST)
    assert 0 < first["delay_conversions"] < last["delay_conversions"]
    # The log's delays reach over its window of one day.
    assert 0 < last["delay_within_window"] < 1
    assert last["delay_median_seconds"] > 0
    assert "delay_curve" not in first
    image = re.search(r"data:image/png;base64,([A-Za-z0-9+/=]+)", last["delay_curve"])
    assert image is not None
    assert base64.b64decode(image.group(1)).startswith(b"\x89PNG")
    assert f"{last['delay_conversions']:,} conversions; the window ends at 1 d." in last["delay_curve"]
