"""Files and folders that survive a power cut once written; where they lie is not decided here."""

import os
from pathlib import Path


def write_durably(path: Path, data: bytes) -> None:
    """Write a file and wait until its bytes are on the disk."""
    with path.open("wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())


def sync_file(path: Path) -> None:
    """Wait until a file's bytes are on the disk."""
    with path.open("rb+") as file:
        os.fsync(file.fileno())


def sync_directory(directory: Path) -> None:
    """Wait until a folder's entries (names made, moved or removed) are on the disk."""
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def make_directory(directory: Path) -> None:
    """mkdir -p that also brings the new folders' entries to the disk."""
    if directory.is_dir():
        return
    make_directory(directory.parent)
    try:
        directory.mkdir()
        sync_directory(directory.parent)
    except FileExistsError:
        if directory.is_file():
            raise NotADirectoryError(directory) from None
