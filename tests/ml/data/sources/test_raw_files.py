"""A log in a bucket lands as the same log in a folder: the same rows and words, and addresses in the place of paths."""

import gzip
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from ml.data.dataset import DatasetSpec
from ml.data.source_spec import TableSpec
from ml.data.sources.raw_files import FileFinder
from ml.data.sources.source import LandedDay, LogSource
from ml.data.sources.tables import LandingRefused
from tests.ml.data.sources.folder_feed import FolderFeed

DAYS = [date(2026, 3, 2) + timedelta(days=offset) for offset in range(3)]
FIELDS = [
    {"name": "user", "column": "uid", "entity": "user", "kind": "id"},
    {"name": "item", "column": "iid", "entity": "item", "kind": "id"},
    {"name": "price", "column": "cost", "entity": "item", "kind": "number"},
]
BUCKET = "s3://shop"


def dataset(place: str, path: str, *, conversions: str = "bought.csv", format: str = "csv") -> DatasetSpec:
    """A log whose events lie in one table of `place`, told apart by their kind, and its conversions in another."""
    events = {"path": f"{place}/{path}", "format": format, "time": "at"}
    source = {
        "kind": "event_streams",
        "impressions": events | {"impression_id": "n", "where": {"kind": ["show"]}},
        "clicks": events | {"impression_id": "n", "where": {"kind": ["click"]}},
        "conversions": events | {"path": f"{place}/{conversions}", "format": "csv"},
    }
    source["conversions"] |= {"refers_to": "impression_id", "impression_id": "n"}
    content: dict[str, Any] = {"name": "log", "days": {"first": DAYS[0], "last": DAYS[-1]}, "source": source}
    return DatasetSpec.model_validate(content | {"fields": FIELDS, "user_key": "user", "item_key": "item"})


def lines(day: date, start: int) -> str:
    shown = "".join(f"{start + n},show,u{n},i{n},{day} 10:00:0{n},{n}.5\n" for n in range(4))
    return f"n,kind,uid,iid,at,cost\n{shown}{start},click,u0,i0,{day} 10:01:00,free\n"


def write(path: Path, content: str | bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content if isinstance(content, bytes) else content.encode())


@pytest.fixture
def feed(tmp_path: Path) -> FolderFeed:
    """A bucket `shop` with three days of events, two files each, one compressed, and one table of conversions."""
    shop = tmp_path / "buckets" / "shop"
    for number, day in enumerate(DAYS):
        write(shop / "events" / str(day) / "b.csv", lines(day, 100 * number))
        write(shop / "events" / str(day) / "a x" / "late.csv.gz", gzip.compress(lines(day, 100 * number + 50).encode()))
    write(shop / "bought.csv", "n,at\n" + "".join(f"{n},{DAYS[1]} 12:00:00\n" for n in (0, 100)))
    return FolderFeed(tmp_path / "buckets")


def land(
    feed: FolderFeed, place: str, root: Path, path: str = "events/{day}/**/*.csv*", **more: Any
) -> list[LandedDay]:
    source = LogSource(spec=dataset(place, path, **more), feed_root=root, feed=feed)
    events, conversions = source.land_events(days=DAYS, root=root), source.land_conversions(days=DAYS, root=root / "c")
    return [*events, *conversions]


def both(feed: FolderFeed, tmp_path: Path, **more: Any) -> tuple[list[LandedDay], list[LandedDay]]:
    """The same log, landed from its folder and from its bucket."""
    return (
        land(feed, str(feed.root / "shop"), tmp_path / "folder", **more),
        land(feed, BUCKET, tmp_path / "bucket", **more),
    )


def test_a_log_that_moves_to_a_bucket_lands_the_same_bytes_with_its_addresses(feed: FolderFeed, tmp_path: Path) -> None:
    for folder, bucket in zip(*both(feed, tmp_path), strict=True):
        assert folder.refused is bucket.refused is None
        assert list(folder.tables) == list(bucket.tables)
        for name, table in bucket.tables.items():
            assert table.path.read_bytes() == folder.tables[name].path.read_bytes()
            assert table.columns == folder.tables[name].columns
            known = [file.model_copy(update={"path": address(feed, file.path)}) for file in folder.tables[name].files]
            assert list(table.files) == known
            assert all(file.path.startswith(f"{BUCKET}/") for file in table.files)
    shown = pq.read_table(tmp_path / "bucket" / str(DAYS[0]) / "impressions.parquet").to_pylist()
    assert {(row["source_file"], row["source_line"]) for row in shown} == {
        (f"{DAYS[0]}/{name}", line) for name in ("a x/late.csv.gz", "b.csv") for line in range(2, 6)
    }


def address(feed: FolderFeed, path: str) -> str:
    return path.replace(str(feed.root / "shop"), BUCKET)


@pytest.mark.parametrize("path", ["events.parquet", "events*.parquet", "{day}.parquet", "logs/d={day}/part-*"])
def test_rows_name_their_file_below_the_fixed_part_in_either_place(feed: FolderFeed, tmp_path: Path, path: str) -> None:
    table = {"n": ["1"], "kind": ["show"], "uid": ["u"], "iid": ["i"], "at": [f"{DAYS[0]} 10:00:00"], "cost": [1.0]}
    for name in {path.replace("{day}", str(day)).replace("*", "-0") for day in DAYS}:
        (feed.root / "shop" / name).parent.mkdir(parents=True, exist_ok=True)
        pq.write_table(pa.table(table), feed.root / "shop" / name)
    folder, bucket = both(feed, tmp_path, path=path, format="parquet")
    named = []
    for landed in (folder[0], bucket[0]):
        [row] = pq.read_table(landed.tables["impressions"].path).to_pylist()
        named.append(row["source_file"])
    assert named[0] == named[1]
    assert not Path(named[1]).is_absolute()


GOOD = lines(DAYS[0], 0)


@pytest.mark.parametrize(
    ("content", "why"),
    [
        (None, r"no file at s3://shop/logs/2026-03-02/\*\.csv; deliver the file"),
        ("", r"s3://shop/logs/2026-03-02/x\.csv is empty \(0 bytes\); deliver it again"),
        ("\n\n", r"x\.csv is empty \(nothing but blank lines\)"),
        (GOOD.replace(",", ";"), r"s3://shop/logs/2026-03-02/x\.csv: no column 'at'; the file has n;kind"),
        (GOOD.replace("cost", "costs"), r"x\.csv: no column 'cost' \(but 'costs'\)"),
        (GOOD.replace("iid", "uid"), r"s3://shop/logs/2026-03-02/x\.csv names columns twice: uid"),
        (GOOD + "1,show\n", r"s3://shop/logs/2026-03-02/x\.csv: not readable as csv: its lines are not all columns"),
        (GOOD + "\0\0\n", r"x\.csv holds NUL bytes, the first in line 7"),
        (GOOD.replace(f"{DAYS[0]} 10:00:", "17723592"), r"x\.csv: as iso, 0 of 4 times .* time_format: epoch_seconds"),
    ],
)
def test_a_refusal_has_the_words_of_the_folders_and_names_the_address(
    feed: FolderFeed, tmp_path: Path, content: str | None, why: str
) -> None:
    for day in DAYS:
        write(feed.root / "shop" / "logs" / str(day) / "x.csv", lines(day, 0))
    broken = feed.root / "shop" / "logs" / str(DAYS[0]) / "x.csv"
    broken.unlink()
    if content is not None:
        write(broken, content)
    folder, bucket = both(feed, tmp_path, path="logs/{day}/*.csv")
    assert [landed.refused is not None for landed in bucket] == [True] + [False] * 5
    refusal = str(bucket[0].refused)
    assert refusal == address(feed, str(folder[0].refused))
    with pytest.raises(LandingRefused, match=why):
        raise bucket[0].refused or AssertionError
    assert str(tmp_path) not in refusal


def test_an_engines_long_text_is_cut_only_when_its_copy_has_its_address(feed: FolderFeed, tmp_path: Path) -> None:
    """The engine's text is cut at 300 characters: half of a path that is gone would be left of it."""
    deep = tmp_path / ("deep" * 30) / ("deeper" * 30)
    write(feed.root / "shop" / "logs" / f"{DAYS[0]}.parquet", b"PAR1 is no Parquet" * 9)
    write(feed.root / "shop" / "logs" / "x.jsonl", '{"n": 1, "kind": "show", "at": "2026-03-02"\n' * 3)
    for path, format in (("logs/{day}.parquet", "parquet"), ("logs/x.jsonl", "jsonlines")):
        refused = land(feed, BUCKET, deep, path=path, format=format)[0].refused
        assert f"{BUCKET}/logs/" in str(refused)
        assert "deep" not in str(refused)


@pytest.mark.parametrize(
    ("format", "content"),
    [("parquet", b"PAR1 is none"), ("jsonlines", b'{"n": 1, "kind": "show"\n'), ("csv", b"n,at\n1,2,3\n\xff,\n")],
)
@pytest.mark.parametrize("name", ["part[1]*?.x", "it's {a} 'b'.x", "ä b\n.x"])
def test_a_name_that_looks_like_anything_is_shown_as_the_address(
    feed: FolderFeed, tmp_path: Path, name: str, format: str, content: bytes
) -> None:
    write(feed.root / "shop" / "odd" / name, content)
    refused = str(land(feed, BUCKET, tmp_path / "out", path="odd/*", format=format)[0].refused)
    assert refused.startswith(f"{BUCKET}/odd/{name}")
    assert str(tmp_path) not in refused


def test_a_log_of_one_wide_table_lands_from_a_bucket(feed: FolderFeed, tmp_path: Path) -> None:
    write(
        feed.root / "shop" / "wide.csv",
        "n,uid,iid,cost,at,click,buy\n" + "".join(f"{n},u{n},i1,2,{day} 10:00:00,1,0\n" for n, day in enumerate(DAYS)),
    )
    landed = []
    for place in (f"{feed.root}/shop", BUCKET):
        table = {"path": f"{place}/wide.csv", "format": "csv", "time": "at", "impression_id": "n"}
        content: dict[str, Any] = {"name": "log", "days": {"first": DAYS[0], "last": DAYS[-1]}, "fields": FIELDS}
        content |= {"user_key": "user", "item_key": "item", "attribution": {"conversion_window_days": 0}}
        content["source"] = {"kind": "wide_log", "table": table | {"click": "click", "conversion": "buy"}}
        spec, root = DatasetSpec.model_validate(content), tmp_path / str(len(landed))
        days = list(LogSource(spec=spec, feed_root=root, feed=feed).land_events(days=DAYS, root=root))
        landed.append([day.tables["impressions"] for day in days])
    assert [table.path.read_bytes() for table in landed[0]] == [table.path.read_bytes() for table in landed[1]]
    assert [table.rows for table in landed[1]] == [1, 1, 1]
    assert {file.path for table in landed[1] for file in table.files} == {f"{BUCKET}/wide.csv"}
    assert feed.fetched == [f"{BUCKET}/wide.csv"]


def test_a_days_files_are_copied_once_and_gone_before_the_next(feed: FolderFeed, tmp_path: Path) -> None:
    root = tmp_path / "out"
    source = LogSource(spec=dataset(BUCKET, "events/{day}/**/*.csv*"), feed_root=root, feed=feed)
    for number, landed in enumerate(source.land_events(days=DAYS, root=root), start=1):
        assert landed.refused is None
        assert len(feed.fetched) == number, "two tables in one file, and no day ahead of the one asked for"
        assert not list(root.glob("copies/**/*"))
    assert feed.fetched == [f"{BUCKET}/events/{day}/**/*.csv*" for day in DAYS]
    assert feed.left == [0, 0, 0]
    list(source.land_conversions(days=DAYS, root=root))
    assert feed.fetched[3:] == [f"{BUCKET}/bought.csv"], "one table of all days is copied once"
    assert not list(root.rglob("*.csv*"))


def test_a_fault_of_the_server_refuses_no_day_and_leaves_no_copy(feed: FolderFeed, tmp_path: Path) -> None:
    source = LogSource(spec=dataset(BUCKET, "events/{day}/b.csv"), feed_root=tmp_path, feed=feed)
    landed = source.land_events(days=DAYS, root=tmp_path / "out")
    assert next(landed).refused is None
    feed.fault = ConnectionError("the server is away")
    with pytest.raises(ConnectionError, match="the server is away"):
        next(landed)
    assert not (tmp_path / "out" / "copies").exists()


def test_a_table_in_a_bucket_needs_a_feed(tmp_path: Path) -> None:
    finder = FileFinder(scratch=tmp_path, feed=None)
    table = TableSpec(path="s3://shop/{day}.csv", format="csv", time="t")
    with pytest.raises(ValueError, match=r"s3://shop/2026-03-02\.csv lies in a bucket, and there is no feed"):
        finder.find(table, day=DAYS[0])


def test_a_file_that_two_wildcards_find_is_read_once(feed: FolderFeed) -> None:
    table = TableSpec(path=f"{feed.root}/**/**/bought.csv", format="csv", time="at")
    files = FileFinder(scratch=feed.root / "none", feed=None).find(table, day=None)
    assert files.addresses == [f"{feed.root}/shop/bought.csv"]
