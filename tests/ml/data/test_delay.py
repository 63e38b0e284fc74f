"""The delay curve against plain counting, on random credits over several days."""

from datetime import date, datetime, timedelta
from pathlib import Path
from statistics import median
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ml.data.dataset import DatasetSpec
from ml.data.delay import measure_delays

SHOWN = datetime(2026, 3, 2, 12)
SCHEMA = pa.schema(
    {
        "credited_impression": pa.string(),
        "credited_time": pa.timestamp("us"),
        "credited_click_time": pa.timestamp("us"),
        "conversion_time": pa.timestamp("us"),
        "late": pa.bool_(),
    }
)


@pytest.fixture(scope="module")
def spec() -> DatasetSpec:
    return DatasetSpec.model_validate(
        {
            "name": "log",
            "days": {"first": date(2026, 3, 2)},
            "source": {"kind": "synthetic"},
            "fields": [{"name": "user", "entity": "user"}, {"name": "item", "entity": "item"}],
            "user_key": "user",
            "item_key": "item",
            "attribution": {"conversion_window_days": 2},
        }
    )


def credit(delay: float | None, *, clicked: bool = True, credited: bool = True) -> dict[str, Any]:
    click = SHOWN + timedelta(minutes=5) if clicked else None
    touch = click or SHOWN
    return {
        "credited_impression": "i" if credited else None,
        "credited_time": SHOWN if credited else None,
        "credited_click_time": click if credited else None,
        "conversion_time": None if delay is None else touch + timedelta(seconds=delay),
        "late": delay is not None and delay >= 2 * 86400,
    }


def write(folder: Path, days: list[list[dict[str, Any]]]) -> list[Path]:
    paths = [folder / f"{number}.parquet" for number in range(len(days))]
    for path, rows in zip(paths, days, strict=True):
        pq.write_table(pa.Table.from_pylist(rows, schema=SCHEMA), path)
    return paths


seconds = st.integers(0, 5 * 86400) | st.sampled_from([0, 59, 60, 3599, 3600, 86400, 2 * 86400 - 1, 2 * 86400])


@settings(max_examples=25, deadline=None)
@given(days=st.lists(st.lists(st.tuples(seconds, st.booleans(), st.booleans()), max_size=12), min_size=1, max_size=3))
def test_every_share_is_what_counting_gives(
    days: list[list[tuple[int, bool, bool]]], spec: DatasetSpec, tmp_path_factory: pytest.TempPathFactory
) -> None:
    folder = tmp_path_factory.mktemp("delays")
    rows = [[credit(delay, clicked=clicked, credited=known) for delay, clicked, known in day] for day in days]
    curve = measure_delays(spec=spec, credits=write(folder, rows), reach_days=4, scratch=folder / "scratch")
    delays = [delay for day in days for delay, _, known in day if known]
    assert curve.conversions == len(delays)
    if not delays:
        assert (curve.points, curve.within_window, curve.median_seconds) == ((), None, None)
        return
    for point in curve.points:
        assert point.share == pytest.approx(sum(delay < point.seconds for delay in delays) / len(delays))
    marks = [point.seconds for point in curve.points]
    assert marks == sorted(marks)
    assert marks[-1] == 4 * 86400
    assert curve.within_window == pytest.approx(sum(delay < 2 * 86400 for delay in delays) / len(delays))
    assert curve.median_seconds == pytest.approx(median(delays))


def test_what_has_no_time_or_lies_before_its_touch_is_no_negative_delay(spec: DatasetSpec, tmp_path: Path) -> None:
    rows = [credit(None), credit(-30), credit(30)]
    curve = measure_delays(spec=spec, credits=write(tmp_path, [rows]), reach_days=4, scratch=tmp_path / "scratch")
    assert curve.conversions == 2
    assert curve.points[0].share == 1.0
    assert curve.median_seconds == 15
