"""Keeps the parsed common features of a file on disk and fetches them by line; it knows no samples."""

import mmap
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from ml.data.fields import FieldSpec
from ml.data.sources.ali_ccp.features import FieldValues
from ml.data.sources.ali_ccp.items import runs

#: Name of the column that says what is wrong with a row; no field can be called so.
FAULTS = "_faults"


class CommonFeatures:
    """Common features in files below a folder: appended in batches, then fetched in any order.

    58 samples share a row, in any order of lines, so rows are fetched at random. They are read through mapped pages
    that are given back after each fetch: memory does not grow with the file. The folder goes when the context ends.
    """

    def __init__(self, fields: Sequence[FieldSpec], *, folder: Path) -> None:
        self._folder = folder
        folder.mkdir(parents=True, exist_ok=True)
        self._lines: list[NDArray[np.int64]] = []
        self._columns = {
            field.name: _ValueFiles(
                folder / field.name,
                has_ids=field.kind != "number",
                has_numbers=field.kind == "number" or field.weighted,
            )
            for field in fields
        }
        self._columns[FAULTS] = _ValueFiles(folder / FAULTS, has_ids=True, has_numbers=False)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        shutil.rmtree(self._folder)

    def append(self, *, lines: NDArray[np.int64], columns: Mapping[str, FieldValues]) -> None:
        """Add the rows of `lines` with their values by field; a field that is not in `columns` has none."""
        self._lines.append(lines)
        none = np.zeros(len(lines), dtype=np.int64)
        for name, files in self._columns.items():
            values = columns.get(name)
            files.append(none if values is None else values.lengths, values)

    def close(self) -> None:
        """End appending; from here on rows can be fetched."""
        lines = np.concatenate([*self._lines, np.zeros(0, dtype=np.int64)])
        self._order = np.argsort(lines, kind="stable")
        self._sorted_lines = lines[self._order]
        for files in self._columns.values():
            files.close()

    def holds(self, name: str) -> bool:
        """Whether any row has a value of the field `name`."""
        return self._columns[name].count > 0

    def fetch(self, lines: NDArray[np.int64]) -> dict[str, FieldValues]:
        """The values of the rows of `lines`, which were all appended, by field; ids are Arrow large strings."""
        rows = self._order[np.searchsorted(self._sorted_lines, lines)]
        return {name: files.fetch(rows) for name, files in self._columns.items() if files.count}


class _ValueFiles:
    """The values of one field in row order: where each row's end, their ids and their numbers, a file each."""

    def __init__(self, path: Path, *, has_ids: bool, has_numbers: bool) -> None:
        self.count = 0
        self._ends = _ArrayFile(path.with_suffix(".ends"), np.int64)
        self._ends.append(np.zeros(1, dtype=np.int64))
        self._id_ends = _ArrayFile(path.with_suffix(".id_ends"), np.int64) if has_ids else None
        self._ids = _ArrayFile(path.with_suffix(".ids"), np.uint8) if has_ids else None
        self._numbers = _ArrayFile(path.with_suffix(".numbers"), np.float64) if has_numbers else None
        self._id_bytes = 0
        if self._id_ends:
            self._id_ends.append(np.zeros(1, dtype=np.int64))

    def append(self, lengths: NDArray[np.int64], values: FieldValues | None) -> None:
        self._ends.append(self.count + np.cumsum(lengths))
        if values is None:
            return
        self.count += int(lengths.sum())
        if self._id_ends and self._ids and values.ids is not None:
            ids = values.ids.cast(pa.large_string())
            _, offsets, text = ids.buffers()
            ends = np.frombuffer(offsets, dtype=np.int64)[ids.offset : ids.offset + len(ids) + 1]
            self._id_ends.append(self._id_bytes + ends[1:] - ends[0])
            self._ids.append(np.frombuffer(text, dtype=np.uint8)[ends[0] : ends[-1]])
            self._id_bytes += int(ends[-1] - ends[0])
        if self._numbers and values.numbers is not None:
            self._numbers.append(values.numbers)

    def close(self) -> None:
        for file in (self._ends, self._id_ends, self._ids, self._numbers):
            if file:
                file.close()

    def fetch(self, rows: NDArray[np.int64]) -> FieldValues:
        ends = self._ends.values()
        starts = ends[rows]
        lengths = ends[rows + 1] - starts
        places = runs(starts, lengths)
        ids = None
        if self._id_ends and self._ids:
            buffers = [None, pa.py_buffer(self._id_ends.values()), pa.py_buffer(self._ids.values())]
            ids = pa.Array.from_buffers(pa.large_string(), self.count, buffers).take(pa.array(places))
        numbers = self._numbers.values()[places] if self._numbers else None
        for file in (self._ends, self._id_ends, self._ids, self._numbers):
            if file:
                file.release()
        return FieldValues(lengths=lengths, ids=ids, numbers=numbers)


class _ArrayFile:
    """Numbers of one type in a file: appended, then mapped."""

    def __init__(self, path: Path, dtype: Any) -> None:
        self._path, self._dtype = path, dtype
        self._stream = path.open("wb")
        self._map: mmap.mmap | None = None

    def append(self, values: NDArray[Any]) -> None:
        self._stream.write(np.ascontiguousarray(values, dtype=self._dtype).data)

    def close(self) -> None:
        self._stream.close()
        if self._path.stat().st_size:
            with self._path.open("rb") as stream:
                self._map = mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_READ)

    def values(self) -> NDArray[Any]:
        return np.frombuffer(self._map or b"", dtype=self._dtype)

    def release(self) -> None:
        # Not on every system; there the pages stay until memory is short.
        if self._map is not None and hasattr(mmap, "MADV_DONTNEED"):
            self._map.madvise(mmap.MADV_DONTNEED)
