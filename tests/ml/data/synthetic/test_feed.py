"""The feed on disk: same settings, same bytes; days on their own; no half file; truth apart from what is seen."""

import hashlib
from datetime import date, timedelta
from pathlib import Path

import duckdb
import pyarrow.parquet as pq
import pytest

from ml.data.synthetic import feed
from ml.data.synthetic.config import SyntheticConfig
from ml.data.synthetic.feed import FeedMismatch, ensure_days, feed_folder, generate_day, lookback_days, read_marker


def contents(root: Path) -> dict[str, str]:
    files = (path for path in root.rglob("*.parquet") if path.is_file())
    return {str(path.relative_to(root)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def test_a_day_is_the_same_alone_and_among_others(small: SyntheticConfig, day: date, tmp_path: Path) -> None:
    alone = generate_day(config=small, day=day, root=tmp_path / "alone")
    days = [day + timedelta(days=offset) for offset in (2, 0, 1)]
    among = ensure_days(config=small, days=days, root=tmp_path / "among")
    assert among.markers[1] == alone
    assert [marker.day for marker in among.markers] == days
    assert contents(tmp_path / "alone").items() <= contents(among.root).items()
    other = generate_day(config=small.model_copy(update={"seed": 8}), day=day, root=tmp_path / "seed")
    assert {file.sha256 for file in other.files if file.rows}.isdisjoint(file.sha256 for file in alone.files)


def test_the_marker_describes_every_file(small: SyntheticConfig, day: date, tmp_path: Path) -> None:
    marker = generate_day(config=small, day=day, root=tmp_path)
    assert {file.path: file.sha256 for file in marker.files} == contents(tmp_path)
    for file in marker.files:
        assert pq.read_metadata(tmp_path / file.path).num_rows == file.rows
        assert (tmp_path / file.path).stat().st_size == file.bytes
    assert marker.truth == marker.impressions == sum(f.rows for f in marker.files if f.stream == "impressions")
    assert read_marker(root=tmp_path, day=day) == marker


def test_every_event_lies_in_the_file_of_its_own_day(small: SyntheticConfig, day: date, tmp_path: Path) -> None:
    slow = small.model_copy(update={"click_delay_seconds_mean": 3_600.0, "max_delay_days": 4})
    marker = generate_day(config=slow, day=day, root=tmp_path)
    times = {"impressions": "impression_time", "clicks": "click_time", "conversions": "conversion_time"}
    for file in marker.files:
        if file.stream != "truth":
            found = pq.ParquetFile(tmp_path / file.path).read([times[file.stream]]).column(0).to_pylist()
            assert {time.date() for time in found} <= {file.day}
    clicked_on = {file.day: file.rows for file in marker.files if file.stream == "clicks"}
    assert clicked_on[day + timedelta(days=1)] > 0, "clicks late in the evening cross midnight"
    latest = max(file.day for file in marker.files)
    assert timedelta(days=2) <= latest - day <= timedelta(days=lookback_days(slow))


def test_a_day_without_clicks_still_has_its_files(small: SyntheticConfig, day: date, tmp_path: Path) -> None:
    marker = generate_day(config=small.model_copy(update={"impressions_per_day": 1}), day=day, root=tmp_path)
    assert {(file.stream, file.day) for file in marker.files} >= {
        (stream, day) for stream in ("impressions", "clicks", "conversions", "truth")
    }


def test_truth_and_hidden_traits_are_not_among_what_is_seen(usual_day: Path, day: date) -> None:
    seen = pq.read_schema(usual_day / f"impressions/day={day}/part-0.parquet").names
    assert seen == [
        "impression_id",
        "user_id",
        "item_id",
        "impression_time",
        "position",
        "page",
        "hour",
        "weekday",
        "age",
        "gender",
        "city",
        "device",
        "category",
        "shop",
        "brand",
        "price",
    ]
    truth = pq.read_schema(usual_day / f"truth/day={day}/truth.parquet").names
    assert truth == ["impression_id", "p_click", "p_conversion"]


def test_duckdb_reads_the_streams_with_plain_types(usual_day: Path) -> None:
    seen = duckdb.read_parquet(f"{usual_day}/impressions/*/*.parquet")
    types = dict(zip(seen.columns, map(str, seen.types), strict=True))
    assert types["impression_time"] == "TIMESTAMP"
    assert types["user_id"] == types["category"] == types["page"] == "VARCHAR"
    assert types["price"] == "DOUBLE"


def test_row_groups_stay_small(small: SyntheticConfig, day: date, tmp_path: Path) -> None:
    config = small.model_copy(update={"impressions_per_day": 60_000, "chunk_rows": 20_000})
    generate_day(config=config, day=day, root=tmp_path)
    meta = pq.read_metadata(tmp_path / f"impressions/day={day}/part-0.parquet")
    assert meta.num_row_groups == 3
    assert max(meta.row_group(group).num_rows for group in range(3)) <= 20_000


def test_what_is_there_is_left_alone_and_what_is_lost_is_made_again(
    small: SyntheticConfig, day: date, tmp_path: Path
) -> None:
    first = ensure_days(config=small, days=[day], root=tmp_path)
    kept = first.root / f"impressions/day={day}/part-0.parquet"
    before = contents(first.root)
    written = kept.stat().st_mtime_ns
    assert ensure_days(config=small, days=[day], root=tmp_path) == first
    assert kept.stat().st_mtime_ns == written
    kept.unlink()
    assert ensure_days(config=small, days=[day], root=tmp_path) == first
    assert contents(first.root) == before


def test_a_run_that_dies_leaves_no_half_file_and_the_next_mends_it(
    small: SyntheticConfig, day: date, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def die(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as broken:
        broken.setattr(feed, "_write_followers", die)
        with pytest.raises(KeyboardInterrupt):
            ensure_days(config=small, days=[day], root=tmp_path)
    folder = feed_folder(config=small, root=tmp_path)
    assert read_marker(root=folder, day=day) is None
    assert not list(folder.glob("[a-z]*/day=*/*.parquet"))
    mended = ensure_days(config=small, days=[day], root=tmp_path)
    fresh = generate_day(config=small, day=day, root=tmp_path / "fresh")
    assert mended.markers == (fresh,)
    assert contents(mended.root) == contents(tmp_path / "fresh")


def test_other_settings_never_mix(small: SyntheticConfig, day: date, tmp_path: Path) -> None:
    other = small.model_copy(update={"seed": 8})
    assert feed_folder(config=small, root=tmp_path) != feed_folder(config=other, root=tmp_path)
    generate_day(config=small, day=day, root=tmp_path)
    with pytest.raises(FeedMismatch, match=r"feed_folder names one per config"):
        generate_day(config=other, day=day, root=tmp_path)
