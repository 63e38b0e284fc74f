"""The synthetic log as event streams: which days are generated, and that the truth stays beside the log."""

from datetime import date, timedelta
from pathlib import Path

import pyarrow.parquet as pq

from ml.data.sources.generated import generate_streams, streams, truth_file
from ml.data.synthetic.config import SyntheticConfig
from ml.data.synthetic.feed import feed_folder, read_marker

CONFIG = SyntheticConfig(impressions_per_day=50, users=20, items=10, user_clusters=2, item_clusters=2, max_delay_days=2)
FIRST = date(2026, 1, 5)


def generated(root: Path, days: range) -> list[int]:
    folder = feed_folder(config=CONFIG, root=root)
    return [day for day in days if read_marker(root=folder, day=FIRST + timedelta(days=day)) is not None]


def test_the_days_whose_events_arrive_late_are_generated_too_and_none_before_the_log(tmp_path: Path) -> None:
    asked = [FIRST + timedelta(days=6), FIRST + timedelta(days=7)]
    generate_streams(config=CONFIG, days=asked, first=FIRST, root=tmp_path)
    assert generated(tmp_path, range(-3, 12)) == [3, 4, 5, 6, 7]
    generate_streams(config=CONFIG, days=[FIRST + timedelta(days=1)], first=FIRST, root=tmp_path)
    assert generated(tmp_path, range(-3, 12)) == [0, 1, 3, 4, 5, 6, 7]


def test_the_streams_name_files_and_columns_that_are_there(tmp_path: Path) -> None:
    described = generate_streams(config=CONFIG, days=[FIRST], first=FIRST, root=tmp_path)
    assert described == streams(config=CONFIG, root=tmp_path)
    tables = (described.impressions, described.clicks, described.conversions)
    for table in tables:
        assert not isinstance(table, str)
        assert table.daily
        folder = Path(table.path.replace("{day}", FIRST.isoformat())).parent
        [file, *_] = sorted(folder.glob("*.parquet"))
        names = set(pq.read_schema(file).names)
        wanted = {
            table.time,
            *(getattr(table, name, None) for name in ("impression_id", "click_id", "value", "order_id")),
        }
        assert wanted - {None} <= names
        assert not {"p_click", "p_conversion"} & names


def test_the_truth_lies_beside_the_log(tmp_path: Path) -> None:
    generate_streams(config=CONFIG, days=[FIRST], first=FIRST, root=tmp_path)
    truth = pq.read_table(truth_file(config=CONFIG, root=tmp_path, day=FIRST), partitioning=None)
    assert truth.column_names == ["impression_id", "p_click", "p_conversion"]
    assert truth.num_rows > 0
    assert set(generated(tmp_path / "elsewhere", range(3))) == set()


def test_a_machine_that_has_not_seen_the_log_finds_the_same_truth(tmp_path: Path) -> None:
    day = FIRST + timedelta(days=3)
    generate_streams(config=CONFIG, days=[day], first=FIRST, root=tmp_path / "here")
    here, there = (truth_file(config=CONFIG, root=tmp_path / name, day=day) for name in ("here", "there"))
    assert pq.read_table(here, partitioning=None).equals(pq.read_table(there, partitioning=None))
