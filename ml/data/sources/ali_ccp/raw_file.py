"""Opens one of Ali-CCP's files as a table of texts and refuses in words what cannot be read; it knows no features."""

import glob
from collections.abc import Iterator
from contextlib import contextmanager

import duckdb
import pyarrow as pa

from ml.data.engine import literal
from ml.data.source_spec import TableSpec
from ml.data.sources.faults import unreadable
from ml.data.sources.tables import LandingRefused, find_files

_CHUNK = 1 << 20


class RawFile:
    """The one file that `table` names; `relation` reads it as SQL, texts throughout. A `.gz` is read as it is.

    Raises LandingRefused where there is no file, an empty one, or several.
    """

    def __init__(self, table: TableSpec) -> None:
        self._table = table
        found = find_files(table, day=None)
        if len(found) > 1:
            names = ", ".join(str(path) for path in found[:3])
            raise LandingRefused(f"{table.path} names {len(found)} files ({names}); name one in the dataset spec")
        [self.path] = found
        self._state = self._stat()
        columns = ", ".join(f"{literal(name)}: 'VARCHAR'" for name in table.names or ())
        # All is said, nothing sniffed; these files quote nothing.
        self.relation = (
            f"read_csv({literal(glob.escape(str(self.path)))}, columns = {{{columns}}}, auto_detect = false, "
            "header = false, delim = ',', quote = '', escape = '', comment = '', nullstr = '', strict_mode = true)"
        )

    @contextmanager
    def refusing(self) -> Iterator[None]:
        """Raise LandingRefused for what the engine cannot read in this file."""
        try:
            yield
        except (duckdb.InvalidInputException, duckdb.IOException) as error:
            raise unreadable(error, table=self._table, files=[self.path]) from error

    def batches(self, connection: duckdb.DuckDBPyConnection, text: str, *, rows: int) -> Iterator[pa.RecordBatch]:
        """The rows of the statement `text`, which reads this file, about `rows` at a time and in their order."""
        with self.refusing():
            reader = connection.sql(text).to_arrow_reader(rows)
        while True:
            try:
                batch = reader.read_next_batch()
            except StopIteration:
                return
            except OSError as error:
                # Arrow hands on the engine's errors as its own, with their text.
                if not str(error).startswith(("Invalid Input Error", "IO Error")):
                    raise
                with self.refusing():
                    raise duckdb.InvalidInputException(str(error)) from error
            yield batch

    def count_lines(self) -> int:
        """The lines of the file, blank ones too."""
        lines, last = 0, b"\n"
        with pa.input_stream(str(self.path), compression="detect") as stream:
            while chunk := stream.read(_CHUNK):
                lines, last = lines + chunk.count(b"\n"), chunk[-1:]
        return lines + (last != b"\n")

    def refuse_change(self) -> None:
        """Raise LandingRefused if the file is no longer what it was when it was opened: it is read several times."""
        if self._stat() != self._state:
            raise LandingRefused(
                f"{self.path} changed while it was read; wait until it is whole, then materialize the day again"
            )

    def _stat(self) -> tuple[int, int]:
        state = self.path.stat()
        return state.st_size, state.st_mtime_ns
