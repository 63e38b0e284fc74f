"""The object store protocol and its local folder; S3 is in s3_object_store, what objects mean is decided elsewhere."""

import contextlib
import fcntl
import hashlib
import os
import shutil
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO, NamedTuple, Protocol

from infra.durable_files import make_directory, sync_directory, sync_file, write_durably
from infra.object_keys import (
    KeyRefused,
    ObjectChanged,
    ObjectDamaged,
    ObjectExists,
    ObjectMissing,
    ObjectStoreError,
    check_key,
    check_prefix,
)

__all__ = [
    "KeyRefused",
    "LocalObjectStore",
    "ObjectChanged",
    "ObjectDamaged",
    "ObjectExists",
    "ObjectMissing",
    "ObjectStore",
    "ObjectStoreError",
    "StoredObject",
]


class StoredObject(NamedTuple):
    """An object's bytes and the etag to hand to `replace_bytes`."""

    data: bytes
    etag: str


class ObjectStore(Protocol):
    """Named bytes. Every write is atomic: readers see all of the old object or all of the new one.

    Keys are relative paths of portable characters (letters, digits, `. _ = + @ -`, parts divided by `/`, no part
    beginning with a dot); any other raises KeyRefused. Etags are opaque, but change whenever the bytes do.
    """

    @property
    def location(self) -> str:
        """The store's address for messages, without credentials."""
        ...

    @property
    def scratch(self) -> Path:
        """A folder of this machine for derived files; never listed, may be emptied whenever nobody reads."""
        ...

    def put_bytes(self, key: str, data: bytes) -> str:
        """Write or overwrite; returns the etag."""
        ...

    def create_bytes(self, key: str, data: bytes) -> str:
        """Write only if there is no such object, else raise ObjectExists; of racing writers exactly one wins."""
        ...

    def replace_bytes(self, key: str, data: bytes, *, etag: str) -> str:
        """Overwrite only the object with this etag, else raise ObjectChanged; of racing writers exactly one wins."""
        ...

    def get_bytes(self, key: str) -> StoredObject:
        """The object's bytes and etag; raises ObjectMissing, and ObjectDamaged where they are not those written."""
        ...

    def exists(self, key: str) -> bool:
        """Whether there is an object with this key (a folder of objects is none)."""
        ...

    def put_file(self, key: str, path: Path, *, sha256: str | None = None) -> None:
        """Write or overwrite with a local file's content, streamed.

        `sha256` (hex), where the caller knows it, is held against the content: when it is written or when it is
        fetched, which raises ObjectDamaged. Leave it out where whoever reads checks the content anyway, as readers of
        artifacts do: large files would be hashed twice.
        """
        ...

    def fetch_file(self, key: str, *, fresh: bool = False) -> Path:
        """A local path to read (never write) the whole object; `fresh` bypasses a cached copy.

        Raises ObjectMissing, and ObjectDamaged where a sha256 was kept with the object and its bytes have another.
        """
        ...

    def open_file(self, key: str) -> BinaryIO:
        """The object as a seekable file, to read parts of (row groups of a large Parquet file) without the whole.

        It is one version: where the object is overwritten meanwhile, reading goes on in the old one or raises
        ObjectChanged. Parts are not held against a checksum of the whole. Raises ObjectMissing.
        """
        ...

    def list_keys(self, prefix: str = "") -> Iterator[str]:
        """All keys that begin with these characters, sorted by character."""
        ...

    def delete(self, key: str) -> None:
        """Remove the object; one that is not there is no error."""
        ...


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
