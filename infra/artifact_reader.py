"""Reading a published artifact, every file checked against the manifest first; publishing is in artifacts."""

import contextlib
import os
import shutil
import uuid
from collections.abc import Mapping
from pathlib import Path

from infra.manifests import ArtifactDamaged, Manifest, file_entry
from infra.object_keys import ObjectDamaged, ObjectMissing
from infra.object_store import ObjectStore

# sha256 of files already read by this process; a file rewritten in place has another time, size or inode
_verified: dict[tuple[str, int, int, int], str] = {}


class Artifact:
    """A published artifact, its files checked against the manifest before anyone reads them."""

    def __init__(self, objects: ObjectStore, manifest: Manifest) -> None:
        self._objects = objects
        self.manifest = manifest

    def path(self, name: str) -> Path:
        """A local path of the file, to read only; its sha256 is checked once per process.

        Raises:
            ArtifactDamaged: the stored bytes are missing or not those of the manifest.
            KeyError: the artifact has no file of this name.
        """
        entry = self.manifest.files.get(name)
        if entry is None:
            raise KeyError(
                f"artifact {self.manifest.key!r} has no file {name!r}, only {', '.join(self.manifest.files)}"
            )
        key = f"{self.manifest.folder}/{name}"
        try:
            path = self._objects.fetch_file(key)
            if _sha256_once(path) != entry.sha256:  # perhaps only this machine's copy is damaged
                path = self._objects.fetch_file(key, fresh=True)
            found = _sha256_once(path)
        except ObjectMissing:
            found, path = "no such object", None
        except ObjectDamaged:
            found, path = "other bytes than were written", None
        if path is None or found != entry.sha256:
            raise ArtifactDamaged(
                f"{key} in {self._objects.location} is damaged: expected sha256 {entry.sha256}, found {found}: "
                "materialize the asset that publishes it again"
            )
        return path

    def directory(self) -> Path:
        """A local directory, to read only, that holds all files, each checked as by `path`."""
        paths = {name: self.path(name) for name in self.manifest.files}
        for name, path in paths.items():
            base = Path(str(path).removesuffix("/" + name))
            if all(other == base / other_name for other_name, other in paths.items()):
                return base
            break
        return self._assembled(paths)

    def _assembled(self, paths: Mapping[str, Path]) -> Path:
        """A directory of hard links to the fetched files, in the store's scratch folder, one per version."""
        target = self._objects.scratch / "artifacts" / self.manifest.version
        if target.is_dir() and all(
            (target / name).is_file() and _sha256_once(target / name) == entry.sha256
            for name, entry in self.manifest.files.items()
        ):
            os.utime(target)  # the store may empty its scratch folder of what was not used for long
            return target
        building = target.parent / f".{uuid.uuid4().hex}.tmp"
        building.mkdir(parents=True)
        try:
            for name, path in paths.items():
                (building / name).parent.mkdir(parents=True, exist_ok=True)
                try:
                    os.link(path, building / name)
                except OSError:  # another file system, or one without hard links
                    shutil.copyfile(path, building / name)
            if target.exists():
                os.replace(target, building.with_suffix(".damaged"))
            with contextlib.suppress(OSError):  # another process has just put the same files there
                os.replace(building, target)
        finally:
            shutil.rmtree(building, ignore_errors=True)
            shutil.rmtree(building.with_suffix(".damaged"), ignore_errors=True)
        return target


def _sha256_once(path: Path) -> str:
    stat = path.stat()
    identity = (str(path), stat.st_mtime_ns, stat.st_size, stat.st_ino)
    if identity not in _verified:
        _verified[identity] = file_entry(path).sha256
    return _verified[identity]
