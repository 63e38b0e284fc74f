"""Lands Ali-CCP's raw files as published, one Parquet file of impressions a pseudo-day; it reads no other format.

The files hold no dates. The train file becomes the first `pseudo_days` days of the log, of equal size, by the numeric
order of its sample ids; the test file is the day after them. A row's impression time is its place in that order spread
evenly over the day in the dataset's time zone: an order, not a time.

The real files are 10 GB each, so nothing of theirs is held in memory as a whole: common features are parsed once onto
disk, samples stream past them in batches.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from functools import partial
from itertools import pairwise
from pathlib import Path
from zoneinfo import ZoneInfo

import duckdb
import pyarrow as pa

from ml.data.dataset import AliCcp, DatasetSpec
from ml.data.engine import connect, literal, statement
from ml.data.source_spec import TableSpec
from ml.data.sources.ali_ccp.common import CommonFeatures
from ml.data.sources.ali_ccp.day_files import DayFiles
from ml.data.sources.ali_ccp.features import FeatureParser
from ml.data.sources.ali_ccp.items import MAX_FIELD_LENGTH
from ml.data.sources.ali_ccp.raw_file import RawFile
from ml.data.sources.ali_ccp.rows import COMMON_INDEX, common_values, landed_rows, parsed_samples
from ml.data.sources.landing import LandedTable
from ml.data.sources.tables import LandingRefused, describe_files

#: Beside the engine stand batches, mapped pages and a Parquet writer.
_ENGINE_MEMORY = "1500MB"
#: Rows of a batch: about 50,000 features of samples (25 each), or of common features (340 to 800 each). Arrays as small
#: stay in the processor's cache and in pages that are there already, which halves the time of parsing.
_SAMPLE_BATCH, _COMMON_BATCH = 2_048, 128
#: Rows of a row group: fewer where many days fill theirs at once, as in a file that is not in the order of its samples.
_GROUP_ROWS, _LEAST_GROUP_ROWS, _FILLING_ROWS = 32_768, 1_024, 524_288

_SKELETON = ("sample_id", "click", "conversion", "common_index", "feature_count", "features")
_COMMON = ("common_index", "feature_count", "features")


@dataclass(frozen=True)
class _Part:
    """The train or the test files, and the days that are made of them, in order."""

    name: str
    skeleton: TableSpec
    common: TableSpec
    days: tuple[date, ...]


def land_impressions(
    *, spec: DatasetSpec, days: Sequence[date], root: Path
) -> dict[date, LandedTable | LandingRefused]:
    """Write `root/<day>/impressions.parquet` for each of `days`; a day that cannot be landed has its reason instead.

    The files are parsed once for all days asked for. Every row of the files is landed; what its columns cannot hold is
    a text in its `unparsed_columns`.
    """
    landed: dict[date, LandedTable | LandingRefused] = {}
    for part in _parts(spec):
        asked = {place: day for place, day in enumerate(part.days) if day in days}
        try:
            if asked:
                _check_columns(spec)
                landed |= _PartLanding(part, spec=spec, asked=asked, root=root).land()
        except LandingRefused as refusal:
            landed |= dict.fromkeys(asked.values(), refusal)
    return landed


def _parts(spec: DatasetSpec) -> tuple[_Part, _Part]:
    source = spec.source
    assert isinstance(source, AliCcp)
    days = tuple(spec.days.first + timedelta(days=offset) for offset in range(source.pseudo_days + 1))
    return (
        _Part("train", _table(source.train_skeleton, _SKELETON), _table(source.train_common, _COMMON), days[:-1]),
        _Part("test", _table(source.test_skeleton, _SKELETON), _table(source.test_common, _COMMON), days[-1:]),
    )


def _table(path: str, names: tuple[str, ...]) -> TableSpec:
    return TableSpec(path=path, format="csv", header=False, names=names, time=names[0])


def _check_columns(spec: DatasetSpec) -> None:
    numbers = [field.source_column for field in spec.fields]
    for field in spec.fields:
        if not field.source_column[0].isdigit() or len(field.source_column) > MAX_FIELD_LENGTH:
            raise LandingRefused(
                f"field {field.name!r} has column {field.source_column!r}, which is no field number of Ali-CCP such as "
                "101 or 109_14; correct the dataset spec"
            )
    repeated = sorted({number for number in numbers if numbers.count(number) > 1})
    if repeated:
        raise LandingRefused(f"several fields have the column {', '.join(repeated)}; correct the dataset spec")
    if spec.unit_key not in (None, COMMON_INDEX, *numbers):
        raise LandingRefused(
            f"unit_key {spec.unit_key!r} is neither {COMMON_INDEX} nor the number of a field; correct the dataset spec"
        )


class _PartLanding:
    """Lands the asked days of the train or the test files, `asked` by their place among the part's days."""

    def __init__(self, part: _Part, *, spec: DatasetSpec, asked: Mapping[int, date], root: Path) -> None:
        self._part, self._spec, self._asked, self._root = part, spec, asked, root
        self._skeleton = RawFile(part.skeleton)
        self._common = RawFile(part.common)
        self._parser = FeatureParser(spec.fields)
        self._places = ", ".join(str(place) for place in asked)

    def land(self) -> dict[date, LandedTable]:
        described = describe_files([self._skeleton.path, self._common.path])
        scratch = self._root / "scratch"
        with connect(scratch=scratch, memory_limit=_ENGINE_MEMORY) as connection:
            self._order(connection)
            with CommonFeatures(self._spec.fields, folder=scratch / f"common_{self._part.name}") as common:
                self._parse_common(connection, common)
                files = self._land_samples(connection, common)
        for file in (self._skeleton, self._common):
            file.refuse_change()
        return {
            day: LandedTable(path=files.paths[place], rows=files.rows[place], files=described)
            for place, day in self._asked.items()
        }

    def _order(self, connection: duckdb.DuckDBPyConnection) -> None:
        with self._common.refusing():
            connection.execute(statement("ali_ccp_common_lines", common=self._common.relation))
        lengths = _day_lengths(self._part.days, self._spec.timezone)
        with self._skeleton.refusing():
            connection.execute(
                statement(
                    "ali_ccp_order",
                    skeleton=self._skeleton.relation,
                    days=str(len(self._part.days)),
                    day_lengths=lengths,
                )
            )
        if not _count(connection, "sample_order"):
            raise LandingRefused(
                f"{self._skeleton.path} is empty (nothing but blank lines); deliver it again, then materialize the day "
                "again"
            )

    def _parse_common(self, connection: duckdb.DuckDBPyConnection, common: CommonFeatures) -> None:
        text = statement("ali_ccp_common", common=self._common.relation, asked=self._places)
        for batch in self._common.batches(connection, text, rows=_COMMON_BATCH):
            common.append(lines=batch["line"].to_numpy(), columns=common_values(self._parser, batch))
        common.close()

    def _land_samples(self, connection: duckdb.DuckDBPyConnection, common: CommonFeatures) -> DayFiles:
        plain = _count(connection, "sample_order") == self._skeleton.count_lines()
        text = statement(
            "ali_ccp_skeleton",
            skeleton=self._skeleton.relation,
            part=literal(self._part.name),
            common_file=literal(self._common.path.name),
            unit_key="common_index" if self._spec.unit_key == COMMON_INDEX else "CAST(NULL AS VARCHAR)",
            # DuckDB steps over blank lines without a word: the lines of the rows below one are not known.
            source_line="line" if plain else "CAST(NULL AS BIGINT)",
            asked=self._places,
        )
        parsed = partial(parsed_samples, self._parser, self._spec.fields)
        files = DayFiles(
            {place: self._root / day.isoformat() / "impressions.parquet" for place, day in self._asked.items()},
            empty=parsed(pa.RecordBatch.from_pylist([], connection.sql(text).limit(0).to_arrow_table().schema)),
            land=partial(landed_rows, common=common, spec=self._spec, source_file=self._skeleton.path.name),
            group_rows=min(_GROUP_ROWS, max(_LEAST_GROUP_ROWS, _FILLING_ROWS // len(self._part.days))),
        )
        with files:
            for batch in self._skeleton.batches(connection, text, rows=_SAMPLE_BATCH):
                files.add(parsed(batch))
        return files


def _day_lengths(days: Sequence[date], timezone: str) -> str:
    """SQL rows of (place, first instant in UTC, length in microseconds) of each day in `timezone`."""
    starts = [datetime.combine(day, time(), tzinfo=ZoneInfo(timezone)).astimezone(UTC) for day in days]
    last = datetime.combine(days[-1] + timedelta(days=1), time(), tzinfo=ZoneInfo(timezone)).astimezone(UTC)
    rows = []
    for place, (start, end) in enumerate(pairwise([*starts, last])):
        length = (end - start) // timedelta(microseconds=1)
        rows.append(f"({place}, TIMESTAMP {literal(start.strftime('%Y-%m-%d %H:%M:%S'))}, {length})")
    return f"(VALUES {', '.join(rows)})"


def _count(connection: duckdb.DuckDBPyConnection, selection: str) -> int:
    [(rows,)] = connection.execute(f"SELECT count(*) FROM {selection}").fetchall()
    return int(rows)
