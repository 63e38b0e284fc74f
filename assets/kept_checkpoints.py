"""Keeps a training run's checkpoints in the store while it runs, so that a retry goes on from them on any machine."""

from __future__ import annotations

import os
import shutil
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from assets.held_leases import HeldLease
from assets.resources import Platform
from infra.artifacts import ArtifactContested
from infra.leases import LeaseLost, Leases
from infra.object_keys import ObjectStoreError
from ml.training.checkpoint_files import MANIFEST, CheckpointDamaged, CheckpointFiles

CHECKPOINTS = "checkpoints"


class KeptCheckpoints:
    """The checkpoints of one run, locally and as the artifact `checkpoints/<identity>` with the lease's token.

    A store that fails does not end the training: it is told, and the next checkpoint is tried again. Another holder of
    the lease does end it: this process is then an orphan, `lost` turns true, and `taken_by` says who goes on.
    """

    def __init__(self, platform: Platform, identity: str, *, held: HeldLease, log: Callable[[str], None]) -> None:
        self._platform = platform
        self._key = checkpoints_key(identity)
        self._files = CheckpointFiles(platform.checkpoints, identity)
        self._held = held
        self._log = log
        self._published: tuple[int, int] | None = None
        self._writing = threading.Lock()

    def lost(self) -> bool:
        """Whether another process has taken the run over: what this one does must not be kept."""
        return self._held.is_lost()

    @property
    def taken_by(self) -> str | None:
        """Who has taken it over; None where nobody has, or the store does not tell."""
        return self._held.taken_by

    def restore(self) -> None:
        """Put the store's checkpoint where the trainer looks for it, unless the one there is as far; then claim it."""
        stored = self._platform.artifacts.find(self._key)
        if stored is not None and _position(stored.metadata.get("position")) > self._local_position():
            artifact = self._platform.artifacts.open(self._key)
            self._files.folder.mkdir(parents=True, exist_ok=True)
            # The manifest last: whoever is killed here leaves the checkpoint before, or none.
            for name in sorted(stored.files, key=lambda name: name == MANIFEST):
                draft = self._files.folder / f".{name}.restored"
                shutil.copyfile(artifact.path(name), draft)
                os.replace(draft, self._files.folder / name)
            self._log(f"the checkpoint of {stored.metadata.get('kept_by')} was fetched from the store")
        self.keep()

    def keep(self) -> None:
        """Publish the newest local checkpoint, if there is one that was not published under this lease."""
        with self._writing:
            written = self._written()
            # Asked every few seconds: a look at the file's times, before gigabytes are hashed.
            if written is None or written == self._published or self.lost():
                return
            found = self._newest()
            if found is None:
                return
            content, tensors = found
            files = {MANIFEST: self._files.folder / MANIFEST, tensors.name: tensors}
            try:
                position = {"position": content["position"]}
                self._held.publish(self._platform.artifacts, self._key, files, metadata=position)
                self._published = written
            except LeaseLost:
                return  # `lost` says so from here on.
            except FileNotFoundError:
                return  # The trainer has just replaced it: the next one is published in its place.
            except (ObjectStoreError, ArtifactContested, OSError) as fault:
                self._log(f"the checkpoint could not be kept in the store, the training goes on: {fault}")

    def confirm(self) -> None:
        """Ask the store whether the lease is held still, so that `lost` tells of now and not of the last renewal.

        Raises ObjectStoreError where the store does not answer.
        """
        with suppress(LeaseLost):
            self._held.confirm()

    def finish(self) -> None:
        """End the renewals."""
        self._held.finish()

    def remove(self) -> None:
        """The run has ended well and its result is stored: nothing of it is kept."""
        self._platform.artifacts.remove(self._key)

    def _written(self) -> tuple[int, int] | None:
        try:
            stat = (self._files.folder / MANIFEST).stat()
        except FileNotFoundError:
            return None
        return stat.st_mtime_ns, stat.st_ino

    def _newest(self) -> tuple[dict[str, Any], Path] | None:
        try:
            return self._files.read()
        except (CheckpointDamaged, FileNotFoundError):
            return None  # Being replaced this moment, or damaged: the trainer itself says so when it reads it.

    def _local_position(self) -> tuple[int, int]:
        found = self._newest()
        return (-1, -1) if found is None else _position(found[0].get("position"))


@contextmanager
def kept_checkpoints(
    platform: Platform,
    identity: str,
    *,
    holder: str,
    is_done: Callable[[], bool],
    log: Callable[[str], None],
    leases: Leases | None = None,
) -> Iterator[KeptCheckpoints | None]:
    """The run's checkpoints within the block, which no other process keeps meanwhile; None where none need be.

    Waits for another process that trains the same, until it has died (its checkpoint is then gone on from) or
    `is_done()`: the result is there, and nothing is to be trained. holder: who trains, for those who wait.
    """
    leases = leases or Leases(platform.objects)
    lease = leases.acquire(f"training/{identity}", holder=holder, needless=is_done, waiting=log)
    if lease is None:
        yield None
        return
    held = HeldLease(leases, lease, log=log)
    kept = KeptCheckpoints(platform, identity, held=held, log=log)
    kept.restore()
    watcher = threading.Thread(target=held.renew_until_finished, args=(kept.keep,), name="checkpoints", daemon=True)
    watcher.start()
    try:
        yield kept
    finally:
        kept.finish()
        watcher.join()
        kept.keep()
        leases.release(lease)


def checkpoints_key(identity: str) -> str:
    """Store key of a run's newest checkpoint."""
    return f"{CHECKPOINTS}/{identity}"


def _position(position: Any) -> tuple[int, int]:
    """Epoch and step, to compare how far two checkpoints are; before all others where it is unknown."""
    return (int(position["epoch"]), int(position["step"])) if isinstance(position, dict) else (-1, -1)
