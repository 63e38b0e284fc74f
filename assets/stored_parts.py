"""The parts of a folder as the store has them: which there are, and putting one back; which to put back is
`kept_folders`'."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import TypeVar

from assets.folder_layouts import STATE, FolderLayout, Part
from assets.resources import DataRefused, Platform
from infra.artifacts import Artifact, ArtifactDamaged, Manifest

#: Requests at once: a folder of some hundred runs is thousands of small files.
_AT_ONCE = 8
_Answer = TypeVar("_Answer")


class StoredParts:
    """Artifacts below a key, one a part of the folder's layout; the state is the artifact `key` itself.

    Raises DataRefused naming what is damaged or was never written by us, and the remedy.
    """

    def __init__(self, platform: Platform, key: str, layout: FolderLayout) -> None:
        self._objects, self._artifacts, self._address = platform.objects, platform.artifacts, platform.address
        self._key, self._layout = key, layout

    def key_of(self, part: Part) -> str:
        """The part's artifact."""
        return f"{self._key}/{part.name}" if part.name else self._key

    def find(self) -> dict[Part, Manifest]:
        """All that are stored."""
        prefix = f"{self._key}/"
        names = [STATE, *(key.removeprefix(prefix) for key in self._artifacts.keys(prefix) if key != self._key)]
        parts = [self._part(name) for name in names]
        return {part: found for part, found in _at_once(self._find, parts).items() if found is not None}

    def put_back(self, parts: dict[Part, Manifest], root: Path) -> None:
        """Have the folder `root` hold of each part the stored files, and no others; every one is replaced whole."""
        _at_once(lambda part: self._put_back(part, parts[part], root / part.folder), parts)
        for part, stored in parts.items():
            for name, path in part.local(root).items():
                if name not in stored.files:
                    path.unlink()

    def _find(self, part: Part) -> Manifest | None:
        with self._damage_named(self.key_of(part)):
            return self._artifacts.find(self.key_of(part))

    def _put_back(self, part: Part, stored: Manifest, folder: Path) -> None:
        if foreign := [name for name in stored.files if not part.owns(name)]:
            raise DataRefused(
                f"{stored.key} holds {foreign[0]!r}, which is never kept there: {self._remedy(stored.key)}"
            )
        artifact = Artifact(self._objects, stored)
        with self._damage_named(stored.key):
            paths = {name: artifact.path(name) for name in stored.files}
        for name, path in paths.items():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            draft = (folder / name).with_name(f".{Path(name).name}.fetched")
            shutil.copyfile(path, draft)
            os.replace(draft, folder / name)

    def _part(self, name: str) -> Part:
        try:
            return self._layout.named(name)
        except ValueError as error:
            key = f"{self._key}/{name}"
            raise DataRefused(f"{key} is never kept there ({error}): {self._remedy(key)}") from error

    @contextmanager
    def _damage_named(self, key: str) -> Iterator[None]:
        try:
            yield
        except ArtifactDamaged as damage:
            # What it says to do is for assets, which are materialized.
            raise DataRefused(f"{str(damage).partition(': ')[0]}: {self._remedy(key)}") from damage

    def _remedy(self, key: str) -> str:
        return (
            f"remove all that lies below {self._address(key)}/ and run this again, which makes "
            "again what it needs of it"
        )


def _at_once(ask: Callable[[Part], _Answer], parts: Iterable[Part]) -> dict[Part, _Answer]:
    asked = list(parts)
    with ThreadPoolExecutor(max_workers=_AT_ONCE, thread_name_prefix="store") as requests:
        return dict(zip(asked, requests.map(ask, asked), strict=True))
