"""Scratch folders for one piece of work: gone afterwards, and gone before the next if the process was killed."""

import fcntl
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

_LOCK_SUFFIX = ".lock"


@contextmanager
def scratch_folder(root: Path, *, purpose: str) -> Iterator[Path]:
    """A new folder below `root`, removed when the block ends, however it ends.

    Folders that killed processes left below `root` are removed first: each has a lock beside it that the kernel drops
    with its process.
    """
    root.mkdir(parents=True, exist_ok=True)
    _remove_abandoned(root)
    folder = Path(tempfile.mkdtemp(prefix=f"{purpose}-", dir=root))
    unlocked, lock_file = folder.with_name(folder.name + ".new"), folder.with_name(folder.name + _LOCK_SUFFIX)
    with unlocked.open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        # Others look at locks by this name only, so none sees it before it is held.
        unlocked.rename(lock_file)
        try:
            yield folder
        finally:
            shutil.rmtree(folder, ignore_errors=True)
            lock_file.unlink(missing_ok=True)


def _remove_abandoned(root: Path) -> None:
    for lock_file in root.glob(f"*{_LOCK_SUFFIX}"):
        try:
            lock = lock_file.open("r")
        except FileNotFoundError:
            # Its process has just finished.
            continue
        with lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                continue
            shutil.rmtree(lock_file.with_suffix(""), ignore_errors=True)
            lock_file.unlink(missing_ok=True)
