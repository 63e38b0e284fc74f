"""Keeps a folder of results in the store while work goes on in it, so that another machine resumes; what the results
are is not known here."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from assets.cell_children import alone_in
from assets.folder_layouts import PAGES, STATE, FolderLayout, Part, settled
from assets.held_leases import HeldLease, held_lease, holders_of
from assets.kept_versions import UNFINISHED, KeptVersions
from assets.resources import DataRefused, Platform
from assets.stored_parts import StoredParts
from assets.training_children import ORPHANED
from infra.artifacts import Manifest
from infra.leases import LeaseLost, Leases
from infra.manifests import file_entry, version_of
from infra.object_keys import ObjectStoreError


class LocalFolder:
    """A folder that is on this machine alone: where the store is a folder too, a copy in it would help nobody."""

    def stops(self, stop: Callable[[], bool]) -> Callable[[], bool]:
        """`stop`, which is true too where another process has taken the folder over."""
        return stop

    def keep(self, folder: str) -> None:
        """Store what has ended in this folder below, and the folder's own files; no other's are looked at."""

    def keep_all(self) -> None:
        """Store whatever has changed; not to be called while work goes on."""


class KeptFolder(LocalFolder):
    """A folder and its copy in the store, part by part, the state last, as it speaks of the others.

    A store that fails ends no work: it is told, and the next storing includes what this one lacked. Another holder of
    the lease does end it, by LeaseLost.
    """

    def __init__(
        self,
        platform: Platform,
        folder: Path,
        *,
        key: str,
        layout: FolderLayout,
        held: HeldLease,
        log: Callable[[str], None],
    ) -> None:
        self._platform, self._folder, self._layout = platform, folder, layout
        self._held, self._log = held, log
        self._address = platform.address(key)
        self._stored = StoredParts(platform, key, layout)
        self._versions = KeptVersions(folder, store=self._address)
        self._seen: dict[str, object] = {}
        self._due: set[str] = set()

    def stops(self, stop: Callable[[], bool]) -> Callable[[], bool]:
        return lambda: stop() or self._held.is_lost()

    def fetch(self) -> None:
        """Put into the folder what the store has beyond it, and claim the state against whoever had the lease before.

        Raises DataRefused naming a stored file that is damaged, and where the folder's state was never the store's.
        """
        behind = {part: stored for part, stored in self._stored.find().items() if self._is_behind(part, stored)}
        if behind:
            # Whoever is killed meanwhile has neither the old version nor the new one, and fetches again.
            self._versions.note({part.name: UNFINISHED for part in behind})
            self._stored.put_back(behind, self._folder)
            self._versions.note({part.name: stored.version for part, stored in behind.items()})
            self._log(f"{len(behind)} parts of {self._address} were fetched into {self._folder}")
        self._store(self._layout.state_part, is_claim=True)

    def keep(self, folder: str) -> None:
        self._due.add(folder)
        self._try([*map(self._layout.below, sorted(self._due)), *self._layout.own])

    def keep_all(self) -> None:
        self._try(self._layout.parts(self._folder))

    def finish(self) -> None:
        """Store whatever has changed; a store that fails is an error now."""
        self._store_all(self._layout.parts(self._folder))

    def _store_all(self, parts: Iterable[Part]) -> None:
        self._held.confirm()
        for part in parts:
            self._store(part)
        self._due.clear()

    def _try(self, parts: Iterable[Part]) -> None:
        try:
            self._store_all(parts)
        except LeaseLost:
            raise
        except (ObjectStoreError, OSError) as fault:
            self._log(f"results are not in the store yet, which is tried again with the next: {fault}")

    def _store(self, part: Part, *, is_claim: bool = False) -> None:
        local = part.local(self._folder)
        looks = _looks(local)
        if self._seen.get(part.name, {}) == looks and not is_claim:
            return
        with self._platform.scratch("kept-folder") as scratch:
            files = settled(local, scratch)
            if is_claim or _version(files) != self._versions.get(part.name):
                manifest = self._held.publish(self._platform.artifacts, self._stored.key_of(part), files)
                self._versions.note({part.name: manifest.version})
        self._seen[part.name] = looks

    def _is_behind(self, part: Part, stored: Manifest) -> bool:
        """Whether the store's part takes the place of the folder's, as that was not made from it."""
        local, known = part.local(self._folder), self._versions.get(part.name)
        with self._platform.scratch("kept-folder") as scratch:
            is_same = _version(settled(local, scratch)) == stored.version
        if is_same:
            self._versions.note({part.name: stored.version})
        if is_same or not stored.files:
            return False
        if part.name == STATE and local and known is None:
            raise DataRefused(
                f"{', '.join(local)} in {self._folder} were not made from what is kept in {self._address}: move the "
                "folder away, or give another name"
            )
        return not local or known != stored.version


@contextmanager
def kept_folder(
    platform: Platform,
    folder: Path,
    *,
    key: str,
    layout: FolderLayout,
    otherwise: str,
    run_id: str | None,
    log: Callable[[str], None],
    leases: Leases | None = None,
    end_process: Callable[[int], object] = os._exit,
) -> Iterator[LocalFolder]:
    """The folder within the block, in which no other process works meanwhile, in step with the store's `key`.

    What another machine has stored is there at the beginning; what has changed is stored at the end, however that
    comes. run_id: of Dagster; None on the command line. Raises DataRefused with `otherwise` where another process of
    this machine works in the folder, and naming who works on `key` elsewhere, or has taken it over. Where that is a
    later attempt of this very run, the process ends without a word, which would be taken for the end of the other.
    """
    with alone_in(folder, otherwise=otherwise):
        if not platform.folders_in_store:
            yield LocalFolder()
            return
        with held_lease(leases or Leases(platform.objects), key, run_id=run_id, log=log) as held:
            try:
                kept = KeptFolder(platform, folder, key=key, layout=layout, held=held, log=log)
                kept.fetch()
                try:
                    yield kept
                except BaseException:
                    if not held.is_lost():
                        kept.keep_all()
                    raise
                kept.finish()
            except BaseException as fault:
                if not held.is_lost():
                    raise
                taken_by = held.taken_by or "another process"
                if run_id is not None and taken_by.startswith(holders_of(run_id)):
                    end_process(ORPHANED)
                raise DataRefused(
                    f"{taken_by} has gone on with {key}, as this process had not been heard of; it was stopped"
                ) from fault


def page_address(platform: Platform, folder: Path, *, key: str, name: str) -> str:
    """Where people find a page of the folder: in the store where it is kept there, else on this machine."""
    manifest = platform.artifacts.find(f"{key}/{PAGES}") if platform.folders_in_store else None
    if manifest is None:
        return str(folder / name)
    return platform.address(f"{manifest.folder}/{name}")


def _looks(files: Mapping[str, Path]) -> dict[str, tuple[int, int, int]]:
    """Time, size and inode of each: whether a file has changed, before anything is read."""
    stats = {name: path.stat() for name, path in files.items()}
    return {name: (stat.st_mtime_ns, stat.st_size, stat.st_ino) for name, stat in stats.items()}


def _version(files: Mapping[str, Path]) -> str:
    return version_of({name: file_entry(path) for name, path in files.items()})
