"""Where a table's raw files are read and what they are called: in a folder, or as copies out of a bucket."""

import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from types import TracebackType
from typing import NamedTuple, Protocol, Self

from ml.data.source_spec import TableSpec
from ml.data.sources.tables import (
    LandedFile,
    LandingRefused,
    describe_files,
    find_files,
    fixed_folder,
    folder_characters,
    refuse_empty,
)


class RawFile(NamedTuple):
    """A copy of an object on this machine, and the object's address, `s3://bucket/name`."""

    path: Path
    address: str


class RawFeed(Protocol):
    """Raw files that lie in buckets."""

    def fetch(self, pattern: str, *, into: Path) -> Sequence[RawFile]:
        """Copy the objects that `pattern` names to files below the empty folder `into`, in the order of their names.

        A pattern finds in a bucket what glob.glob(recursive=True) finds in a folder, folders left out; an object that
        has the very name of the pattern is meant by it. The path of a copy ends with the object's name, as long as what
        stands before it is for every copy.

        Raises LandingRefused for an object that cannot be had as it is, and any other error where that is no fault of
        the objects (the server is away, there is no such bucket): the same day may well land later.
        """
        ...


@dataclass(frozen=True)
class TableFiles:
    """A table's files: where each is read, and its address, which is the same but for copies of what is elsewhere.

    `folder_characters` of each path lie before the name that a row has of its file.
    """

    paths: list[Path]
    addresses: list[str]
    folder_characters: int

    def described(self) -> tuple[LandedFile, ...]:
        """Address, size and sha256 of each file. Raises LandingRefused for a file that cannot be read."""
        files = zip(describe_files(self.paths), self.addresses, strict=True)
        return tuple(file.model_copy(update={"path": address}) for file, address in files)

    def in_words(self, text: str) -> str:
        """`text` with addresses in the place of paths: a copy is gone when someone reads of it."""
        for path, address in zip(self.paths, self.addresses, strict=True):
            text = text.replace(str(path), address)
        return text

    @contextmanager
    def refusing_by_address(self) -> Iterator[None]:
        """Have refusals name the files by their addresses."""
        try:
            yield
        except LandingRefused as refusal:
            raise LandingRefused(self.in_words(str(refusal))) from refusal


class FileFinder:
    """Finds the files of tables. Copies lie below `scratch` until the block ends: once, however many tables name them.

    `feed` is where addresses `s3://…` are read from; without one, tables in a bucket cannot be found.
    """

    def __init__(self, *, scratch: Path, feed: RawFeed | None) -> None:
        self._scratch, self._feed = scratch, feed
        self._copies: dict[str, Sequence[RawFile]] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._copies.clear()
        shutil.rmtree(self._scratch, ignore_errors=True)

    def find(self, table: TableSpec, *, day: date | None) -> TableFiles:
        """The table's files of `day` (of all days where the path has no `{day}`), sorted by name.

        Raises LandingRefused naming the path where there is none or a file is empty, and whatever `feed` raises.
        """
        if not table.in_bucket:
            paths = find_files(table, day=day)
            return TableFiles(paths, [str(path) for path in paths], folder_characters(table, paths))
        pattern = table.path.replace("{day}", day.isoformat()) if day else table.path
        copies = self._copied(pattern)
        for copy in copies:
            refuse_empty(copy.path, copy.address)
        first, folder = copies[0], fixed_folder(table)
        before = len(str(first.path)) - len(first.address.removeprefix(folder))
        return TableFiles([copy.path for copy in copies], [copy.address for copy in copies], before)

    def _copied(self, pattern: str) -> Sequence[RawFile]:
        if pattern not in self._copies:
            if self._feed is None:
                raise ValueError(
                    f"{pattern} lies in a bucket, and there is no feed to read it from: give LogSource one"
                )
            into = self._scratch / str(len(self._copies))
            into.mkdir(parents=True)
            copies = self._feed.fetch(pattern, into=into)
            if not copies:
                into.rmdir()
                raise LandingRefused(f"no file at {pattern}; deliver the file, then materialize the day again")
            self._copies[pattern] = copies
        return self._copies[pattern]
