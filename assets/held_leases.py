"""A lease that is renewed while a piece of work goes on, and what is published under it; what it guards is not known
here."""

from __future__ import annotations

import socket
import threading
import uuid
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from itertools import count
from pathlib import Path
from typing import Any

from assets.resources import DataRefused
from infra.artifacts import ArtifactStore, Manifest
from infra.leases import RENEWALS, Lease, LeaseLost, Leases
from infra.object_keys import ObjectStoreError


class HeldLease:
    """A lease held by this process, until another is found to have taken it: `is_lost` then stays true.

    taken_by: who that is, as far as the store tells.
    """

    def __init__(self, leases: Leases, lease: Lease, *, log: Callable[[str], None]) -> None:
        self._leases, self._lease, self._log = leases, lease, log
        self._lost, self._finished = threading.Event(), threading.Event()
        self.taken_by: str | None = None

    def is_lost(self) -> bool:
        """Whether another process has the lease: what this one does must not be kept."""
        return self._lost.is_set()

    def confirm(self) -> None:
        """Ask the store whether the lease is held still: what has no stored version yet refuses no older token.

        Raises LeaseLost, and ObjectStoreError where the store does not answer.
        """
        try:
            self._leases.renew(self._lease)
        except LeaseLost as loss:
            self._lose(loss)
            raise

    def publish(
        self,
        artifacts: ArtifactStore,
        key: str,
        files: Mapping[str, Path],
        *,
        metadata: Mapping[str, Any] | None = None,
    ) -> Manifest:
        """Publish an artifact with the lease's token. Raises LeaseLost where it was written under a higher one."""
        facts = {**(metadata or {}), "token": self._lease.token, "kept_by": self._lease.holder}
        try:
            return artifacts.publish(key, files, metadata=facts, replacing=self._refuse_newer)
        except LeaseLost as loss:
            self._lose(loss)
            raise

    def renew_until_finished(self, then: Callable[[], None] = lambda: None) -> None:
        """Show that this process lives, and call `then` each time, until `finish`, or until the lease is found lost."""
        while not self._finished.wait(self._leases.renew_every):
            try:
                self.confirm()
            except LeaseLost:
                return
            except ObjectStoreError as fault:
                self._log(f"the lease could not be renewed, and is tried again: {fault}")
            then()

    def finish(self) -> None:
        """End `renew_until_finished`."""
        self._finished.set()

    def _refuse_newer(self, current: Manifest | None) -> None:
        token = None if current is None else current.metadata.get("token")
        if current is not None and isinstance(token, int) and token > self._lease.token:
            raise LeaseLost(
                f"{current.key} was written under token {token}, this process holds token {self._lease.token}",
                holder=str(current.metadata.get("kept_by")),
            )

    def _lose(self, loss: LeaseLost) -> None:
        self.taken_by = loss.holder
        self._lost.set()
        self._log(f"this process is stopped, as another goes on with its work: {loss}")


def holders_of(run_id: str) -> str:
    """How the names of a Dagster run's holders begin: each of its attempts is in a pod of its own."""
    return f"run {run_id} on "


@contextmanager
def held_lease(leases: Leases, name: str, *, run_id: str | None, log: Callable[[str], None]) -> Iterator[HeldLease]:
    """The lease within the block, renewed by a thread. run_id: the Dagster run that works; None on the command line.

    A holder that does not renew is dead, and is replaced. One that lives is waited for where it belongs to the same
    run: it is an attempt that was given up too early. Any other raises DataRefused: whoever waited for hours, perhaps
    with a GPU, would do nothing in the end.
    """
    holders = f"process {uuid.uuid4().hex[:8]} on " if run_id is None else holders_of(run_id)
    looks = count()

    def is_anothers() -> bool:
        # Asked as often as a living holder renews: one that died while it was looked at is replaced by then.
        return next(looks) >= 2 * RENEWALS and not (leases.holder(name) or holders).startswith(holders)

    lease = leases.acquire(name, holder=holders + socket.gethostname(), needless=is_anothers, waiting=log)
    if lease is None:
        raise DataRefused(f"{leases.holder(name)} is at work on {name}: wait for it to end")
    held = HeldLease(leases, lease, log=log)
    renewing = threading.Thread(target=held.renew_until_finished, name="lease", daemon=True)
    renewing.start()
    try:
        yield held
    finally:
        held.finish()
        renewing.join()
        leases.release(lease)
