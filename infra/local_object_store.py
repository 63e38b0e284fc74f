"""Objects as files of a local folder, and nothing but the protocol of object_store."""

import contextlib
import fcntl
import hashlib
import os
import shutil
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from infra.durable_files import make_directory, sync_directory, sync_file, write_durably
from infra.object_keys import (
    KeyRefused,
    ObjectChanged,
    ObjectDamaged,
    ObjectExists,
    ObjectMissing,
    check_key,
    check_prefix,
)
from infra.object_store import StoredObject


class LocalObjectStore:
    """Objects as plain files under `root`; safe among processes of machines that share the file system's locks.

    A write goes to a hidden file in the target's own folder, reaches the disk, and is then renamed (or, for
    create-only, hard-linked) into place. Parts of keys never begin with a dot, so that hidden files (those of a
    killed writer, locks, scratch) are never listed. An etag is the sha256 of the bytes.
    """

    def __init__(self, root: Path) -> None:
        self.root = Path(root).absolute()

    def __repr__(self) -> str:
        return f"LocalObjectStore({str(self.root)!r})"

    @property
    def location(self) -> str:
        return str(self.root)

    @property
    def scratch(self) -> Path:
        return self.root / ".scratch"

    def put_bytes(self, key: str, data: bytes) -> str:
        path = self._path(key)
        with self._locked(key), self._temporary(key, path) as temporary:
            write_durably(temporary, data)
            self._move(key, temporary, path)
        return _sha256(data)

    def create_bytes(self, key: str, data: bytes) -> str:
        path = self._path(key)
        with self._temporary(key, path) as temporary:
            write_durably(temporary, data)
            try:
                os.link(temporary, path)
            except FileExistsError:
                raise ObjectExists(key, self.location) from None
            sync_directory(path.parent)
        return _sha256(data)

    def replace_bytes(self, key: str, data: bytes, *, etag: str) -> str:
        path = self._path(key)
        with self._locked(key), self._temporary(key, path) as temporary:
            found = _sha256(path.read_bytes()) if path.is_file() else None
            if found != etag:
                raise ObjectChanged(key, self.location, expected=etag, found=found)
            write_durably(temporary, data)
            self._move(key, temporary, path)
        return _sha256(data)

    def get_bytes(self, key: str) -> StoredObject:
        try:
            data = self._path(key).read_bytes()
        except (FileNotFoundError, NotADirectoryError, IsADirectoryError):
            raise ObjectMissing(key, self.location) from None
        return StoredObject(data, _sha256(data))

    def exists(self, key: str) -> bool:
        return self._path(key).is_file()

    def put_file(self, key: str, path: Path, *, sha256: str | None = None) -> None:
        target = self._path(key)
        with self._locked(key), self._temporary(key, target) as temporary:
            shutil.copyfile(path, temporary)
            sync_file(temporary)
            if sha256 is not None and (found := _file_sha256(temporary)) != sha256:
                raise ObjectDamaged(key, self.location, expected=f"sha256 {sha256}", found=f"{found} in {path}")
            self._move(key, temporary, target)

    def fetch_file(self, key: str, *, fresh: bool = False) -> Path:
        if not self.exists(key):
            raise ObjectMissing(key, self.location)
        return self._path(key)

    def open_file(self, key: str) -> BinaryIO:
        try:
            return self._path(key).open("rb")
        except (FileNotFoundError, NotADirectoryError, IsADirectoryError):
            raise ObjectMissing(key, self.location) from None

    def list_keys(self, prefix: str = "") -> Iterator[str]:
        folder = check_prefix(prefix).rpartition("/")[0]
        return (key for key in _walk(self.root / folder, folder) if key.startswith(prefix))

    def delete(self, key: str) -> None:
        path = self._path(key)
        with self._locked(key):
            with contextlib.suppress(FileNotFoundError, NotADirectoryError):
                path.unlink()
                sync_directory(path.parent)
            for folder in path.parents:
                if folder == self.root:
                    break
                try:
                    folder.rmdir()
                except OSError:  # not empty, or a writer's temporary file keeps it
                    break

    def _path(self, key: str) -> Path:
        return self.root / check_key(key)

    @contextlib.contextmanager
    def _locked(self, key: str) -> Iterator[None]:
        # flock, not lockf: it holds between threads as well as between processes. 256 files serve all keys.
        locks = self.root / ".locks"
        locks.mkdir(parents=True, exist_ok=True)
        with (locks / _sha256(key.encode())[:2]).open("ab") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield

    @contextlib.contextmanager
    def _temporary(self, key: str, target: Path) -> Iterator[Path]:
        """A hidden empty file beside the target, gone afterwards whatever happens short of a kill."""
        temporary = target.parent / f".{uuid.uuid4().hex}.tmp"
        while True:
            try:
                make_directory(target.parent)
                temporary.touch(exist_ok=False)
                break
            except FileNotFoundError:  # a delete has just removed the folder, being empty: make it again
                continue
            except (FileExistsError, NotADirectoryError):
                raise KeyRefused(
                    f"object key {key!r} in {self.location} goes through another object: a key cannot be both an "
                    "object and a folder, choose another"
                ) from None
        try:
            yield temporary
        finally:
            temporary.unlink(missing_ok=True)

    def _move(self, key: str, temporary: Path, path: Path) -> None:
        try:
            os.replace(temporary, path)
        except IsADirectoryError:
            raise KeyRefused(
                f"object key {key!r} in {self.location} is a folder of other objects: choose another key"
            ) from None
        sync_directory(path.parent)


def _walk(directory: Path, key: str) -> Iterator[str]:
    """Keys of all objects below, in the order of whole keys: a folder sorts as its name with the slash behind it."""
    try:
        entries = [(entry.name + "/" * entry.is_dir(), entry.path) for entry in os.scandir(directory)]
    except (FileNotFoundError, NotADirectoryError):
        return
    for name, path in sorted(entry for entry in entries if not entry[0].startswith(".")):
        below = f"{key}/{name}" if key else name
        if name.endswith("/"):
            yield from _walk(Path(path), below.rstrip("/"))
        else:
            yield below


def _sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def _file_sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
