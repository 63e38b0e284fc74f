"""The protocol of object stores; its implementations are local_object_store and s3_object_store."""

from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO, NamedTuple, Protocol


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
