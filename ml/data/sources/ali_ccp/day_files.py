"""Writes parsed samples to one Parquet file of impressions a day, whatever order they come in; it parses nothing."""

from collections.abc import Callable, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq


class DayFiles:
    """One open Parquet file a day; `land` turns parsed samples into landed rows of columns `schema`.

    `rows` counts what was written to each day. Samples wait until there are `group_rows` of their day, which are then
    written as a row group: a day's bytes do not depend on the days that are landed with it.
    """

    def __init__(
        self, paths: Mapping[int, Path], *, empty: pa.Table, land: Callable[[pa.Table], pa.Table], group_rows: int
    ) -> None:
        """`paths` by pseudo-day; `empty` are parsed samples without a row."""
        self.paths = dict(paths)
        self._group_rows = group_rows
        self.rows = dict.fromkeys(paths, 0)
        self._land = land
        self._waiting: dict[int, list[pa.Table]] = {day: [] for day in paths}
        schema = land(empty).schema
        for path in self.paths.values():
            path.parent.mkdir(parents=True, exist_ok=True)
        lists = {field.name: field.type.value_type for field in schema if pa.types.is_list(field.type)}
        plain = [name for name in schema.names if name not in lists]
        # Of lists, those whose values are numbered already are written as they are numbered. To number the others would
        # take twice the time of their compression and save nothing. Nobody asks for a range of a list's values.
        numbered = [f"{name}.list.element" for name, kind in lists.items() if pa.types.is_dictionary(kind)]
        options: dict[str, Any] = {"use_dictionary": plain + numbered, "write_statistics": plain}
        self._writers = {
            day: pq.ParquetWriter(path, schema, compression="zstd", compression_level=1, store_schema=False, **options)
            for day, path in self.paths.items()
        }

    def add(self, samples: pa.Table) -> None:
        """Add parsed samples, each to the day that its column `_pseudo_day` names."""
        day_of = samples["_pseudo_day"].to_numpy()
        for day in np.unique(day_of):
            chosen = samples if (day_of == day).all() else samples.filter(pa.array(day_of == day))
            waiting = self._waiting[int(day)]
            waiting.append(chosen.drop_columns("_pseudo_day"))
            if sum(table.num_rows for table in waiting) >= self._group_rows:
                self._write(int(day), whole_groups=True)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for day, writer in self._writers.items():
            if error is None:
                self._write(day, whole_groups=False)
            writer.close()

    def _write(self, day: int, *, whole_groups: bool) -> None:
        if not self._waiting[day]:
            return
        samples = pa.concat_tables(self._waiting[day])
        rest = samples.num_rows % self._group_rows if whole_groups else 0
        self._waiting[day] = [samples.slice(samples.num_rows - rest)] if rest else []
        for start in range(0, samples.num_rows - rest, self._group_rows):
            landed = self._land(samples.slice(start, min(self._group_rows, samples.num_rows - rest - start)))
            self._writers[day].write_table(landed)
            self.rows[day] += landed.num_rows
