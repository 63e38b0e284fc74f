"""Artifacts: named sets of files, published all or nothing; what is in the files is not known here."""

import re
from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, datetime
from pathlib import Path

from pydantic import JsonValue, ValidationError

from infra.artifact_reader import Artifact
from infra.manifests import (
    MANIFEST,
    ArtifactContested,
    ArtifactDamaged,
    ArtifactMissing,
    FileEntry,
    Manifest,
    file_entry,
    version_of,
)
from infra.object_keys import ObjectChanged, ObjectExists, ObjectMissing, check_key
from infra.object_store import ObjectStore
from infra.plain_json import plain_json

__all__ = [
    "Artifact",
    "ArtifactContested",
    "ArtifactDamaged",
    "ArtifactMissing",
    "ArtifactStore",
    "FileEntry",
    "Manifest",
]

VERSION_FOLDER = re.compile(r"[0-9a-f]{16}")


class ArtifactStore:
    """Publishes and opens artifacts.

    Files lie at `<key>/<version[:16]>/<name>`; `<key>/manifest.json` is written last, by compare-and-swap. A run killed
    anywhere leaves the old artifact or the new one. The previous version's files stay, so that whoever has just read
    the old manifest can finish reading; older ones are removed.
    """

    def __init__(self, objects: ObjectStore, *, clock: Callable[[], datetime] = lambda: datetime.now(UTC)) -> None:
        self.objects = objects
        self._clock = clock

    def publish(
        self,
        key: str,
        files: Mapping[str, Path],
        *,
        metadata: Mapping[str, JsonValue],
        replacing: Callable[[Manifest | None], None] = lambda _: None,
    ) -> Manifest:
        """Make these files the artifact `key`.

        Args:
            key: such as "samples/2026-01-01"; no part may be 16 hexadecimal digits, which are version folders.
            files: local path by name within the artifact (names may hold "/").
            metadata: facts to keep with them; anything JSON holds, but no NaN or infinity.
            replacing: called with what would be replaced; what it raises refuses the publication. Nothing else can
                come between: the swap holds for that very manifest.

        Returns:
            The manifest. With content and metadata identical to what is published, that is the existing one, and
            nothing is written, except that stored files found missing or damaged are written again.

        Raises:
            ArtifactContested: another run published other content since this call began.
            ValueError: metadata is no JSON.
            KeyRefused: key or a name is not portable (see object_store).
        """
        _check_names(key, files)
        entries = {name: file_entry(files[name]) for name in sorted(files)}
        manifest = Manifest(
            key=key,
            version=version_of(entries),
            files=entries,
            metadata=plain_json(metadata),
            created_at=self._clock(),
        )
        current, etag = self._read(key)
        replacing(current)
        if current and (current.version, current.metadata) == (manifest.version, manifest.metadata):
            self._mend(current, files)
            return current
        # listed before the manifest moves: later publishers' files are never among the outdated ones
        outdated = self._outdated(manifest, current)
        for name, path in files.items():
            self.objects.put_file(f"{manifest.folder}/{name}", path)
        accepted = self._swap(manifest, etag)
        if accepted is manifest:
            for old in outdated:
                self.objects.delete(old)
        return accepted

    def publish_directory(self, key: str, directory: Path, *, metadata: Mapping[str, JsonValue]) -> Manifest:
        """Publish all files below a directory, named by their relative paths; see `publish`."""
        if not directory.is_dir():
            raise NotADirectoryError(f"cannot publish {key!r}: {directory} is no directory")
        files = {path.relative_to(directory).as_posix(): path for path in directory.rglob("*") if path.is_file()}
        return self.publish(key, files, metadata=metadata)

    def remove(self, key: str) -> None:
        """Remove the artifact, its manifest first: killed in between, there is none, and files that nobody reads."""
        self.objects.delete(f"{key}/{MANIFEST}")
        below = f"{key}/"
        for name in list(self.objects.list_keys(below)):
            if VERSION_FOLDER.fullmatch(name.removeprefix(below).partition("/")[0]):
                self.objects.delete(name)

    def find(self, key: str) -> Manifest | None:
        """The manifest of the artifact, or None if none is published. Raises ArtifactDamaged if it is unreadable."""
        return self._read(key)[0]

    def open(self, key: str, *, remedy: str | None = None) -> Artifact:
        """The artifact, to read; `remedy` says in ArtifactMissing how to get it ("materialize raw_events of …")."""
        manifest = self.find(key)
        if manifest is None:
            raise ArtifactMissing(
                f"no artifact {key!r} in {self.objects.location}: {remedy or 'materialize the asset that publishes it'}"
            )
        return Artifact(self.objects, manifest)

    def keys(self, prefix: str = "") -> Iterator[str]:
        """Keys of all artifacts that begin with these characters, sorted as object keys."""
        for name in self.objects.list_keys(prefix):
            key, _, last = name.rpartition("/")
            if last == MANIFEST and not any(map(VERSION_FOLDER.fullmatch, key.split("/"))):
                yield key

    def _read(self, key: str) -> tuple[Manifest | None, str | None]:
        try:
            data, etag = self.objects.get_bytes(f"{key}/{MANIFEST}")
        except ObjectMissing:
            return None, None
        try:
            manifest = Manifest.model_validate_json(data)
        except ValidationError as error:
            raise ArtifactDamaged(
                f"{key}/{MANIFEST} in {self.objects.location} is no manifest: delete it and materialize again "
                f"({error.error_count()} errors, first {error.errors()[0]['msg']})"
            ) from error
        if (manifest.key, manifest.version) != (key, version_of(manifest.files)):
            raise ArtifactDamaged(
                f"{key}/{MANIFEST} in {self.objects.location} says key {manifest.key!r}, version {manifest.version}, "
                f"expected {key!r} and {version_of(manifest.files)}: delete it and materialize its asset again"
            )
        return manifest, etag

    def _swap(self, manifest: Manifest, etag: str | None) -> Manifest:
        name, data = f"{manifest.key}/{MANIFEST}", (manifest.model_dump_json(indent=1) + "\n").encode()
        try:
            if etag is None:
                self.objects.create_bytes(name, data)
            else:
                self.objects.replace_bytes(name, data, etag=etag)
        except (ObjectExists, ObjectChanged):
            winner = self.find(manifest.key)
            if winner and (winner.version, winner.metadata) == (manifest.version, manifest.metadata):
                return winner
            raise ArtifactContested(
                f"another run published artifact {manifest.key!r} "
                f"(version {winner.version[:16] if winner else 'removed'}) while this one published version "
                f"{manifest.version[:16]}: let one run at a time publish it, run again"
            ) from None
        return manifest

    def _outdated(self, manifest: Manifest, current: Manifest | None) -> list[str]:
        kept = {manifest.version[:16], current.version[:16] if current else ""}
        if current and current.version == manifest.version:  # only metadata differ: the version before stays readable
            return []
        below = f"{manifest.key}/"
        folders = ((name.removeprefix(below).partition("/")[0], name) for name in self.objects.list_keys(below))
        return [name for folder, name in folders if VERSION_FOLDER.fullmatch(folder) and folder not in kept]

    def _mend(self, manifest: Manifest, files: Mapping[str, Path]) -> None:
        artifact = Artifact(self.objects, manifest)
        for name, path in files.items():
            try:
                artifact.path(name)
            except (ArtifactDamaged, ObjectMissing):
                self.objects.put_file(f"{manifest.folder}/{name}", path)


def _check_names(key: str, files: Mapping[str, Path]) -> None:
    if any(map(VERSION_FOLDER.fullmatch, key.split("/"))):
        raise ValueError(
            f"artifact key {key!r}: a part of 16 hexadecimal digits means a version folder, choose another"
        )
    for name in files:
        check_key(f"{key}/{'0' * 16}/{name}")
        parents = [name[: place.start()] for place in re.finditer("/", name)]
        if taken := [parent for parent in parents if parent in files]:
            raise ValueError(f"artifact {key!r}: {taken[0]!r} is a file and a folder ({name!r}): rename one")
    check_key(f"{key}/{MANIFEST}")
