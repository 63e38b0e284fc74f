"""The manifest: what an artifact consists of, and what can be wrong with one; artifacts stores it."""

import hashlib
import json
import os
from collections.abc import Mapping
from datetime import datetime
from pathlib import Path

from pydantic import BaseModel, ConfigDict, JsonValue

from infra.object_keys import ObjectStoreError

MANIFEST = "manifest.json"


class ArtifactMissing(ObjectStoreError):
    """No artifact was published under this key."""


class ArtifactDamaged(ObjectStoreError):
    """Stored bytes are not what the manifest says."""


class ArtifactContested(ObjectStoreError):
    """Another run published other content under the same key at the same time."""


class FileEntry(BaseModel):
    """One file of an artifact: its content's sha256 (hex) and its size in bytes."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    sha256: str
    bytes: int


class Manifest(BaseModel):
    """What an artifact consists of. `version` is the sha256 over sorted names and file hashes: content alone."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    key: str
    version: str
    files: dict[str, FileEntry]
    metadata: dict[str, JsonValue]
    created_at: datetime

    @property
    def folder(self) -> str:
        """The object key under which this version's files lie."""
        return f"{self.key}/{self.version[:16]}"


def file_entry(path: Path) -> FileEntry:
    """Hash and size of a local file, streamed."""
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
        return FileEntry(sha256=digest, bytes=os.fstat(file.fileno()).st_size)


def version_of(files: Mapping[str, FileEntry]) -> str:
    """sha256 (hex) over sorted names and file hashes: equal for equal content, whenever and wherever published."""
    content = [[name, files[name].sha256] for name in sorted(files)]
    return hashlib.sha256(json.dumps(content, separators=(",", ":")).encode()).hexdigest()
