"""Writes a day's tables to files that appear whole or not at all; what the rows mean lies elsewhere."""

from __future__ import annotations

import fcntl
import hashlib
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import date
from pathlib import Path
from typing import Final, Literal

import pyarrow as pa
import pyarrow.parquet as pq
from pydantic import BaseModel, ConfigDict

from ml.atomic_files import atomic_file

Stream = Literal["impressions", "clicks", "conversions", "truth"]

CONTROL_FOLDER: Final = "_generated"
BUFFERED_ROWS: Final = 16_384
PLAIN_COLUMNS: Final = (
    "impression_id",
    "click_id",
    "order_id",
)  # all different: a dictionary would only cost time


class FeedFile(BaseModel):
    """One file of the feed; `day` is the day in whose folder it lies."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    stream: Stream
    day: date
    path: str  # relative to the feed's folder
    rows: int
    bytes: int
    sha256: str


class DayMarker(BaseModel):
    """Written last: the events that began on `day` are complete, in these files, with these row counts."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    day: date
    config_digest: str
    impressions: int
    clicks: int
    conversions: int
    truth: int
    files: tuple[FeedFile, ...]


class DayWriter:
    """The files of the events that began on one day, built in a staging folder and moved into place together.

    Bounded memory: a file's rows wait until there are BUFFERED_ROWS of them, then become a row group.
    Call under `day_lock`: the staging folder belongs to one writer at a time.
    """

    def __init__(self, *, root: Path, day: date) -> None:
        self._root = root
        self._day = day
        self._staging = root / CONTROL_FOLDER / "staging" / day.isoformat()
        self._writers: dict[tuple[Stream, date], pq.ParquetWriter] = {}
        self._waiting: dict[tuple[Stream, date], list[pa.Table]] = {}
        shutil.rmtree(self._staging, ignore_errors=True)  # what a killed run left
        self._staging.mkdir(parents=True)

    def write(self, stream: Stream, day: date, table: pa.Table) -> None:
        """Adds rows to the file of a stream in the folder of `day`; an empty table makes sure that the file exists."""
        key = (stream, day)
        if key not in self._writers:
            self._writers[key] = _parquet_writer(self._staging / _file_name(stream, day, self._day), table.schema)
        waiting = self._waiting.setdefault(key, [])
        waiting.append(table)
        if sum(part.num_rows for part in waiting) >= BUFFERED_ROWS:
            self._flush(key)

    def publish(self) -> tuple[FeedFile, ...]:
        """Closes the files, moves each to its place by one rename, and describes them."""
        for key in self._writers:
            self._flush(key)
            self._writers[key].close()
        described = tuple(self._describe(stream, day) for stream, day in sorted(self._writers))
        for file in described:
            target = self._root / file.path
            target.parent.mkdir(parents=True, exist_ok=True)
            os.replace(self._staging / file.path, target)
        shutil.rmtree(self._staging)
        return described

    def _flush(self, key: tuple[Stream, date]) -> None:
        waiting = self._waiting.pop(key, [])
        if any(part.num_rows for part in waiting):
            self._writers[key].write_table(pa.concat_tables(waiting))

    def _describe(self, stream: Stream, day: date) -> FeedFile:
        name = _file_name(stream, day, self._day)
        staged = self._staging / name
        with staged.open("rb") as content:
            digest = hashlib.file_digest(content, "sha256").hexdigest()
        return FeedFile(
            stream=stream,
            day=day,
            path=name,
            rows=pq.read_metadata(staged).num_rows,
            bytes=staged.stat().st_size,
            sha256=digest,
        )


@contextmanager
def day_lock(*, root: Path, day: date) -> Iterator[None]:
    """Holds out other processes that would write the same day; freed by the system when the process dies."""
    folder = root / CONTROL_FOLDER
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / f"{day}.lock").open("w") as handle:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield


def marker_path(*, root: Path, day: date) -> Path:
    """Where a day's marker lies."""
    return root / CONTROL_FOLDER / f"{day}.json"


def write_text(path: Path, text: str) -> None:
    """Replaces a text file by one rename."""
    with atomic_file(path) as beside:
        beside.write_text(text)


def _file_name(stream: Stream, day: date, begun: date) -> str:
    name = {"impressions": "part-0", "truth": "truth"}.get(stream, f"from={begun}")
    return f"{stream}/day={day}/{name}.parquet"


def _parquet_writer(path: Path, schema: pa.Schema) -> pq.ParquetWriter:
    path.parent.mkdir(parents=True, exist_ok=True)
    dictionary = [name for name in schema.names if name not in PLAIN_COLUMNS and not name.endswith("_time")]
    return pq.ParquetWriter(
        path,
        schema,
        compression="zstd",
        use_dictionary=dictionary,  # pyright: ignore[reportArgumentType]  (its stub knows the on and off form only)
        store_schema=False,
    )
