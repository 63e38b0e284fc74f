"""A bounded folder of downloaded files that several processes share; where the files come from is not known here."""

import contextlib
import errno
import fcntl
import logging
import os
import shutil
import time
import uuid
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path
from typing import NamedTuple

from infra.object_keys import ObjectStoreError

logger = logging.getLogger(__name__)
# A step is handed a path and may open it much later: this is longer than steps are let run.
KEEP = timedelta(hours=6)
# A half-written file that has not grown for so long lost its process.
ABANDONED_SECONDS = 3600.0
HALF = "incoming"
FULL = (errno.ENOSPC, errno.EDQUOT)


class CacheFull(ObjectStoreError):
    """There is no room on the disk for a download."""


class _Evictable(NamedTuple):
    used: float
    size: int
    path: Path


class DownloadCache:
    """Files below `folder`/objects, the least recently used removed when a new one would pass the bound.

    Never removed: what was handed out within `keep`, and what a process of this machine has open (where the file
    system can tell). If the rest is not enough the bound is passed: a run is worth more than a bound.

    Args:
        folder: on a disk of this machine; may be emptied whenever nobody reads.
        max_bytes: bound of all files together; None for none.
        keep: how long a file stays at least after it was last handed out.
    """

    def __init__(self, folder: Path, *, max_bytes: int | None = None, keep: timedelta = KEEP) -> None:
        self.folder = Path(folder).absolute()
        self._max_bytes = max_bytes
        self._keep_seconds = keep.total_seconds()

    def find(self, name: str) -> Path | None:
        """The file of this name if it is here; from now on it counts as just used."""
        path = self._path(name)
        with self._locked(fcntl.LOCK_SH):
            try:
                _touch(path)
            except FileNotFoundError:
                return None
        return path

    def add(self, name: str, size: int, write: Callable[[Path], object]) -> Path:
        """Make room for `size` bytes, let `write` write them to a hidden file, and give it this name.

        Raises:
            CacheFull: the disk is full, even with all removed that may be.
            whatever `write` raises: nothing of the file stays then.
        """
        path = self._path(name)
        if self._max_bytes is not None:
            self._evict(room=size, bound=self._max_bytes)
        for last in (False, True):
            temporary = self.folder / HALF / f"{uuid.uuid4().hex}.tmp"
            try:
                temporary.parent.mkdir(parents=True, exist_ok=True)
                write(temporary)
                with self._locked(fcntl.LOCK_SH):
                    path.parent.mkdir(parents=True, exist_ok=True)
                    os.replace(temporary, path)
                return path
            except OSError as error:
                if error.errno not in FULL:
                    raise
                temporary.unlink(missing_ok=True)
                if last or not self._evict(room=size, bound=self._bytes()):
                    raise self._full(size, name) from error
            finally:
                temporary.unlink(missing_ok=True)
        raise AssertionError("unreachable")

    def _path(self, name: str) -> Path:
        return self.folder / "objects" / name

    def _full(self, size: int, name: str) -> CacheFull:
        free = shutil.disk_usage(self.folder).free
        return CacheFull(
            f"no room in {self.folder} for {name.rpartition('/')[2]} of {size} bytes, {free} bytes are free and no "
            "downloaded file is old enough to go: free space on that disk, or set the cache to a larger one"
        )

    def _evict(self, *, room: int, bound: int) -> int:
        """Remove least recently used files until `room` more bytes stay below `bound`; returns the bytes removed."""
        removed, now = 0, time.time()
        with self._locked(fcntl.LOCK_EX):
            excess = self._bytes() + room - bound
            for candidate in self._candidates(now) if excess > 0 else ():
                if removed >= excess:
                    break
                if candidate.path.is_dir():
                    shutil.rmtree(candidate.path, ignore_errors=True)
                else:
                    candidate.path.unlink(missing_ok=True)
                    removed += candidate.size
                    for parent in list(candidate.path.parents)[:2]:
                        with contextlib.suppress(OSError):  # another version of the object is still there
                            parent.rmdir()
        if removed < excess:
            logger.warning(
                "the download cache %s is %d bytes above its bound of %d: the other files are in use",
                self.folder,
                excess - removed,
                bound,
            )
        return removed

    def _candidates(self, now: float) -> Iterator[_Evictable]:
        """Removable files, least recently used first, after the folders whose hard links would keep their bytes."""
        for directory in _entries(self.folder / "scratch" / "artifacts"):
            files = [path for path in directory.rglob("*") if path.is_file()]
            # listing a folder counts as access to it, so that its own use is what its reader wrote as its time
            used = max((directory.stat().st_mtime, *(path.stat().st_atime for path in files)))
            if now - used > self._keep_seconds and not any(map(_is_open, files)):
                yield _Evictable(used, 0, directory)
        files = []
        for path in self._files():
            with contextlib.suppress(FileNotFoundError):
                stat = path.stat()
                files.append(_Evictable(stat.st_atime, stat.st_size, path))
        for file in sorted(files):
            half = file.path.parent.name == HALF
            age = now - (file.path.stat().st_mtime if half else file.used)
            if age > (ABANDONED_SECONDS if half else self._keep_seconds) and not _is_open(file.path):
                yield file

    def _bytes(self) -> int:
        total = 0
        for path in self._files():
            with contextlib.suppress(FileNotFoundError):
                total += path.stat().st_size
        return total

    def _files(self) -> Iterator[Path]:
        return (path for name in ("objects", HALF) for path in (self.folder / name).rglob("*") if path.is_file())

    @contextlib.contextmanager
    def _locked(self, kind: int) -> Iterator[None]:
        # Between finding a file and handing it out nobody may remove it.
        self.folder.mkdir(parents=True, exist_ok=True)
        with (self.folder / ".lock").open("ab") as lock:
            fcntl.flock(lock, kind)
            yield


def _touch(path: Path) -> None:
    # The time of the last access alone: whoever remembers a file's hash knows it by the time of its last write.
    os.utime(path, ns=(time.time_ns(), path.stat().st_mtime_ns))


def _entries(directory: Path) -> list[Path]:
    return sorted(path for path in directory.iterdir() if path.is_dir()) if directory.is_dir() else []


def _is_open(path: Path) -> bool:
    """Whether some process has the file open or mapped: Linux grants a write lease on files that nobody else has."""
    if not hasattr(fcntl, "F_SETLEASE"):
        return False
    try:
        with path.open("rb") as file:
            fcntl.fcntl(file, fcntl.F_SETLEASE, fcntl.F_WRLCK)
            fcntl.fcntl(file, fcntl.F_SETLEASE, fcntl.F_UNLCK)
    except BlockingIOError:
        return True
    except OSError:  # gone, or a file system without leases: its time alone decides
        return False
    return False
