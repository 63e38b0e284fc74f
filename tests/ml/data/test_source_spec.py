"""Descriptions of raw tables: what a reference needs, and which descriptions contradict themselves."""

from typing import Any

import pytest
from pydantic import TypeAdapter, ValidationError

from ml.data.source_spec import AliCcp, ClickTable, ConversionTable, EventStreams, Source, Synthetic, TableSpec, WideLog

TABLE: dict[str, Any] = {"path": "x/{day}.csv", "format": "csv", "time": "t"}


def test_a_table_is_daily_where_its_path_names_the_day() -> None:
    assert TableSpec(**TABLE).daily
    assert not TableSpec(**TABLE | {"path": "x/all.csv"}).daily


@pytest.mark.parametrize(
    ("wrong", "why"),
    [
        ({"header": False}, "list its columns under `names`"),
        ({"names": ["a", "b", "a"]}, "lists columns twice: a"),
        ({"delimiter": ";;"}, "delimiter"),
        ({"path": ""}, "path"),
        ({"format": "xlsx"}, "'parquet', 'csv' or 'jsonlines'"),
        ({"time_format": "epoch"}, "'iso', 'epoch_seconds', 'epoch_milliseconds' or 'epoch_microseconds'"),
        ({"where": {"kind": [1]}}, "valid string"),
        ({"colums": "a"}, "Extra inputs are not permitted"),
    ],
)
def test_a_wrong_table_is_refused_with_what_would_be_right(wrong: dict[str, Any], why: str) -> None:
    with pytest.raises(ValidationError, match=why):
        TableSpec.model_validate(TABLE | wrong)


def test_names_are_needed_only_by_csv_without_header() -> None:
    assert TableSpec(**TABLE, header=False, names=("a", "t")).names == ("a", "t")
    assert TableSpec(**TABLE | {"format": "jsonlines"}, header=False).names is None


@pytest.mark.parametrize(
    ("kind", "refers_to", "columns", "missing"),
    [
        (ClickTable, "impression_id", {}, "impression_id"),
        (ClickTable, "user_item_time", {"user": "u"}, "item"),
        (ClickTable, "user_item_time", {"impression_id": "i"}, "user, item"),
        (ConversionTable, "click_id", {"impression_id": "i"}, "click_id"),
        (ConversionTable, "impression_id", {"click_id": "c"}, "impression_id"),
        (ConversionTable, "user_item_time", {"item": "i"}, "user"),
    ],
)
def test_a_reference_needs_its_columns(
    kind: type[TableSpec], refers_to: str, columns: dict[str, str], missing: str
) -> None:
    with pytest.raises(ValidationError, match=f"refers_to is '{refers_to}', which needs a column for {missing}"):
        kind.model_validate(TABLE | {"refers_to": refers_to} | columns)
    complete = {"impression_id": "i", "user": "u", "item": ["a", "b"]} | (
        {"click_id": "c"} if kind is ConversionTable else {}
    )
    assert kind.model_validate(TABLE | {"refers_to": refers_to} | complete).path == TABLE["path"]


def test_clicks_are_a_stream_or_implied() -> None:
    content = {
        "kind": "event_streams",
        "impressions": TABLE | {"impression_id": "i"},
        "conversions": TABLE | {"refers_to": "click_id", "click_id": "c"},
    }
    assert EventStreams.model_validate(content | {"clicks": "implied"}).clicks == "implied"
    streams = EventStreams.model_validate(content | {"clicks": TABLE | {"impression_id": "i"}})
    assert isinstance(streams.clicks, ClickTable)
    with pytest.raises(ValidationError, match="clicks"):
        EventStreams.model_validate(content)


def test_the_kind_tells_which_source_it_is() -> None:
    source: TypeAdapter[Any] = TypeAdapter(Source)
    table = TABLE | {"impression_id": "i", "click": "c", "conversion": "b"}
    assert isinstance(source.validate_python({"kind": "wide_log", "table": table}), WideLog)
    assert isinstance(source.validate_python({"kind": "synthetic"}), Synthetic)
    with pytest.raises(ValidationError, match="'event_streams', 'wide_log', 'ali_ccp', 'synthetic'"):
        source.validate_python({"kind": "kafka"})


@pytest.mark.parametrize(
    ("path", "why"),
    [
        ("gs://bucket/{day}.csv", "gs:// is no place .* a path of this machine, or s3://bucket/path"),
        ("https://bucket.s3.amazonaws.com/a.csv", "https:// is no place"),
        ("file:///data/a.csv", "file:// is no place"),
        ("S3://bucket/a.csv", "S3:// is no place .* s3://bucket/path"),
        ("s3://", "expected s3://bucket/path"),
        ("s3://bucket", "expected s3://bucket/path"),
        ("s3://bucket/", "expected s3://bucket/path"),
        ("s3:///a.csv", "expected s3://bucket/path"),
        ("s3://{day}/a.csv", "with the bucket's name as it is"),
        ("s3://logs-*/a.csv", "with the bucket's name as it is"),
        ("s3://bucket/{day}/", "its part '' between two slashes"),
        ("s3://bucket/a//{day}.csv", "its part '' between two slashes"),
        ("s3://bucket/../{day}.csv", "its part '..' between two slashes"),
    ],
)
def test_a_place_that_cannot_be_read_from_is_refused_with_those_that_can(path: str, why: str) -> None:
    with pytest.raises(ValidationError, match=why):
        TableSpec.model_validate(TABLE | {"path": path})


@pytest.mark.parametrize(
    ("path", "in_bucket"),
    [
        ("s3://bucket/{day}.csv", True),
        ("s3://my.bucket_1/shop/day={day}/**/*[0-9].csv.gz", True),
        ("/data/{day}//../x.csv", False),
        ("s3/{day}.csv", False),
    ],
)
def test_a_path_is_of_a_bucket_by_its_scheme(path: str, in_bucket: bool) -> None:
    assert TableSpec.model_validate(TABLE | {"path": path}).in_bucket is in_bucket


def test_ali_ccps_files_are_of_this_machine_only() -> None:
    files = dict.fromkeys(("train_skeleton", "train_common", "test_skeleton", "test_common"), "/data/x.csv")
    assert AliCcp.model_validate({"kind": "ali_ccp", **files}).train_common == "/data/x.csv"
    with pytest.raises(ValidationError, match=r"test_common\n.* a folder of this machine only, not from s3://: copy"):
        AliCcp.model_validate({"kind": "ali_ccp", **files, "test_common": "s3://bucket/x.csv"})


def test_a_log_knows_its_tables() -> None:
    clicks, conversions = TABLE | {"impression_id": "i"}, TABLE | {"refers_to": "click_id", "click_id": "c"}
    content = {"kind": "event_streams", "impressions": clicks, "clicks": "implied", "conversions": conversions}
    streams = EventStreams.model_validate(content)
    assert streams.tables == (streams.impressions, streams.conversions)
    streams = EventStreams.model_validate(content | {"clicks": clicks, "carts": conversions})
    assert streams.tables == (streams.impressions, streams.clicks, streams.conversions, streams.carts)
    wide = WideLog.model_validate({"kind": "wide_log", "table": clicks | {"click": "c", "conversion": "b"}})
    assert wide.tables == (wide.table,)
