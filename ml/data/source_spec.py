"""Where a team's raw logs lie and how their columns are named; reading them belongs to `ml.data.sources`."""

import re
from typing import Annotated, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from ml.data.synthetic.config import SyntheticConfig

TimeFormat = Literal["iso", "epoch_seconds", "epoch_milliseconds", "epoch_microseconds"]
FileFormat = Literal["parquet", "csv", "jsonlines"]
#: One raw column, or several joined by ':' where no single column identifies the row.
Columns = str | tuple[str, ...]

BUCKET_SCHEME = "s3://"
_SCHEME = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*)://")
_BUCKET = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{1,254}")


class TableSpec(BaseModel):
    """A table of the raw log: its files, their format and which of their rows belong to it.

    A path with `{day}` names the files of one day (a glob may stand beside it); without it, one table holds every
    day and is split by its time column in the dataset's time zone. `s3://bucket/…` is a path in a bucket, with the same
    globs.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    path: str = Field(min_length=1)
    format: FileFormat
    header: bool = Field(default=True, description="csv: the first line names the columns")
    names: tuple[str, ...] | None = Field(default=None, description="csv without a header: the columns in order")
    delimiter: str = Field(default=",", min_length=1, max_length=1)
    null_values: tuple[str, ...] = Field(default=("", "NULL", "NaN", "nan"), description="texts that mean absent")
    where: dict[str, tuple[str, ...]] = Field(default={}, description="keep rows whose column is one of the values")
    time: Columns = Field(description="column of the event's time")
    time_format: TimeFormat = "iso"

    @property
    def daily(self) -> bool:
        """Whether each day has files of its own."""
        return "{day}" in self.path

    @property
    def in_bucket(self) -> bool:
        """Whether the files lie in a bucket and not in a folder of this machine."""
        return self.path.startswith(BUCKET_SCHEME)

    @field_validator("path")
    @classmethod
    def _readable_place(cls, value: str) -> str:
        if (found := _SCHEME.match(value)) is None:
            return value
        if found[0] != BUCKET_SCHEME:
            raise ValueError(
                f"{found[0]} is no place that raw files can be read from: give a path of this machine, or "
                "s3://bucket/path for a bucket (AWS or any server that speaks S3)"
            )
        bucket, _, name = value.removeprefix(BUCKET_SCHEME).partition("/")
        if not _BUCKET.fullmatch(bucket) or not name:
            raise ValueError(
                "expected s3://bucket/path, with the bucket's name as it is: {day} and globs may follow it"
            )
        if wrong := {"", ".", ".."} & set(name.split("/")):
            raise ValueError(
                f"its part {min(wrong)!r} between two slashes (or at the end) is in the way: leave it out; objects "
                "whose names have such parts are to be copied to other names"
            )
        return value

    @model_validator(mode="after")
    def _named_columns(self) -> Self:
        if self.format == "csv" and not self.header and not self.names:
            raise ValueError(f"csv file {self.path!r} has header: false; list its columns under `names`")
        if self.names and len(set(self.names)) < len(self.names):
            repeated = sorted({name for name in self.names if self.names.count(name) > 1})
            raise ValueError(f"`names` lists columns twice: {', '.join(repeated)}; give each column a name of its own")
        return self


class ImpressionTable(TableSpec):
    """Impressions: one row each, holding every field's column."""

    impression_id: Columns


class ClickTable(TableSpec):
    """Clicks, each referring to an impression by id, or by user + item + time (the latest impression before)."""

    refers_to: Literal["impression_id", "user_item_time"] = "impression_id"
    impression_id: Columns | None = None
    click_id: Columns | None = None
    user: Columns | None = None
    item: Columns | None = None

    @model_validator(mode="after")
    def _reference(self) -> Self:
        _require(self, self.refers_to, {"impression_id": ("impression_id",), "user_item_time": ("user", "item")})
        return self


class StageTable(TableSpec):
    """Events that follow a click (add-to-cart, favourite), each referring to a click, an impression, or user + item +
    time (the latest click before)."""

    refers_to: Literal["click_id", "impression_id", "user_item_time"]
    click_id: Columns | None = None
    impression_id: Columns | None = None
    user: Columns | None = None
    item: Columns | None = None

    @model_validator(mode="after")
    def _reference(self) -> Self:
        required = {
            "click_id": ("click_id",),
            "impression_id": ("impression_id",),
            "user_item_time": ("user", "item"),
        }
        _require(self, self.refers_to, required)
        return self


class ConversionTable(StageTable):
    """Conversions, with references like any event's that follows a click."""

    value: str | None = None
    order_id: Columns | None = None


class EventStreams(BaseModel):
    """Separate streams of impressions, clicks and conversions, and optionally of carts and favourites."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    kind: Literal["event_streams"]
    impressions: ImpressionTable
    clicks: ClickTable | Literal["implied"] = Field(
        description="a click stream, or `implied` where the log starts at the click (every impression is clicked)"
    )
    conversions: ConversionTable
    carts: StageTable | None = None
    favourites: StageTable | None = None

    @property
    def tables(self) -> tuple[TableSpec, ...]:
        """The tables that the log has."""
        tables = (self.impressions, self.clicks, self.conversions, self.carts, self.favourites)
        return tuple(table for table in tables if isinstance(table, TableSpec))


class WideTable(TableSpec):
    """One table with a row per impression and its labels as columns."""

    impression_id: Columns
    click: str
    conversion: str
    value: str | None = None
    click_time: str | None = None
    conversion_time: str | None = None
    order_id: Columns | None = None


class WideLog(BaseModel):
    """A finished log, labels joined by its publisher: its labels are complete and mature."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    kind: Literal["wide_log"]
    table: WideTable

    @property
    def tables(self) -> tuple[TableSpec, ...]:
        """The table that the log is."""
        return (self.table,)


class AliCcp(BaseModel):
    """Ali-CCP's raw files as published (Tianchi 408). They hold no dates: the train file becomes the first
    `pseudo_days` days of the log by the order of sample ids, the test file the day after them."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    kind: Literal["ali_ccp"]
    train_skeleton: str = Field(min_length=1)
    train_common: str = Field(min_length=1)
    test_skeleton: str = Field(min_length=1)
    test_common: str = Field(min_length=1)
    pseudo_days: int = Field(default=7, ge=1, le=366, description="D, the days that the train file is split into")

    @field_validator("train_skeleton", "train_common", "test_skeleton", "test_common")
    @classmethod
    def _of_this_machine(cls, value: str) -> str:
        if found := _SCHEME.match(value):
            raise ValueError(
                f"Ali-CCP's files are read from a folder of this machine only, not from {found[0]}: copy them there"
            )
        return value


class Synthetic(BaseModel):
    """Event streams generated from a seed, with the true probabilities kept beside the data."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    kind: Literal["synthetic"]
    config: SyntheticConfig = SyntheticConfig()


Source = Annotated[EventStreams | WideLog | AliCcp | Synthetic, Field(discriminator="kind")]


def _require(table: TableSpec, refers_to: str, required: dict[str, tuple[str, ...]]) -> None:
    missing = [name for name in required[refers_to] if getattr(table, name) is None]
    if missing:
        raise ValueError(f"refers_to is {refers_to!r}, which needs a column for {', '.join(missing)}")
