"""Leases in an object store: who alone may write something, and a token that fences off whoever held it before."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from infra.object_keys import ObjectChanged, ObjectExists, ObjectMissing, ObjectStoreError
from infra.object_store import ObjectStore

#: A holder renews three times in this: one lost request, or a pause of the process, is no death.
LEASE_SECONDS = 60.0
RENEWALS = 3
PREFIX = "leases/"


class LeaseLost(ObjectStoreError):
    """Another holder, named where it is known, has the lease now or had it since: nothing that the lease guards may be
    written."""

    def __init__(self, message: str, *, holder: str | None = None) -> None:
        super().__init__(message)
        self.holder = holder


class LeaseRecord(BaseModel):
    """The stored object. `token` grows by one with each holder; `renewals` changes while the holder lives; a record
    without a holder has been given back, by `given_back_by`."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    token: int = Field(ge=1)
    holder: str | None
    renewals: int = Field(default=0, ge=0)
    given_back_by: str | None = None

    def encoded(self) -> bytes:
        """As stored."""
        return (self.model_dump_json() + "\n").encode()


@dataclass(frozen=True)
class Lease:
    """A lease that was held when it was made. Writes made under it carry `token`."""

    name: str
    token: int
    holder: str


class Leases:
    """Leases by name, below `leases/` of a store whose conditional writes have one winner.

    A holder that stops renewing loses its lease: who wants it watches the record with a clock of its own, and takes it
    when nothing in it has changed for `seconds`. No two machines' clocks are compared, so that a skewed one neither
    steals a living lease nor waits for a dead one. A holder that was only paused finds out when it renews, or when the
    store it writes to has seen a higher token (Kleppmann 2016, "How to do distributed locking").
    """

    def __init__(
        self,
        objects: ObjectStore,
        *,
        seconds: float = LEASE_SECONDS,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._objects = objects
        self.seconds = seconds
        self._clock = clock
        self._sleep = sleep

    @property
    def renew_every(self) -> float:
        """Seconds between two renewals."""
        return self.seconds / RENEWALS

    def acquire(
        self,
        name: str,
        *,
        holder: str,
        needless: Callable[[], bool] = lambda: False,
        waiting: Callable[[str], None] = lambda _: None,
    ) -> Lease | None:
        """Take the lease, waiting while another holder lives; None as soon as `needless()` says that it is no longer
        wanted, such as when the other has finished the work.

        holder: who asks, in words, for those who wait. waiting: told once whom it waits for.
        """
        seen: bytes | None = None
        since = self._clock()
        while True:
            record, etag, data = self._read(name)
            if data != seen:
                seen, since = data, self._clock()
            is_free = record is None or record.holder is None or record.holder == holder
            if is_free or self._clock() - since >= self.seconds:
                taken = self._take(name, record, etag, holder=holder)
                if taken is not None:
                    return taken
                continue
            if needless():
                return None
            assert record is not None
            waiting(f"waiting for {record.holder}, which holds {name} (token {record.token})")
            waiting = _told
            self._sleep(self.renew_every)

    def renew(self, lease: Lease) -> None:
        """Show that the holder lives. Raises LeaseLost where another has the lease."""
        record, etag = self._of(lease)
        renewed = record.model_copy(update={"renewals": record.renewals + 1})
        try:
            self._objects.replace_bytes(_key(lease.name), renewed.encoded(), etag=etag)
        except (ObjectChanged, ObjectMissing):
            self._of(lease)

    def release(self, lease: Lease) -> None:
        """Give the lease back, so that the next one need not wait; of one that is lost already there is nothing to
        give back."""
        try:
            record, etag = self._of(lease)
            given_back = record.model_copy(update={"holder": None, "given_back_by": record.holder})
            self._objects.replace_bytes(_key(lease.name), given_back.encoded(), etag=etag)
        except (LeaseLost, ObjectChanged, ObjectMissing):
            return

    def holder(self, name: str) -> str | None:
        """Who has the lease by its record, alive or dead; None where nobody has."""
        record, _, _ = self._read(name)
        return None if record is None else record.holder

    def _of(self, lease: Lease) -> tuple[LeaseRecord, str]:
        record, etag, _ = self._read(lease.name)
        if record is None or etag is None or record.token != lease.token:
            found = "nobody" if record is None else f"{record.holder or 'nobody'} (token {record.token})"
            raise LeaseLost(
                f"{lease.holder} held {lease.name} by token {lease.token}, and {found} holds it now in "
                f"{self._objects.location}: this process must not write what the lease guards",
                holder=None if record is None else record.holder or record.given_back_by,
            )
        return record, etag

    def _take(self, name: str, record: LeaseRecord | None, etag: str | None, *, holder: str) -> Lease | None:
        """None where another was faster."""
        taken = LeaseRecord(token=1 if record is None else record.token + 1, holder=holder)
        try:
            if etag is None:
                self._objects.create_bytes(_key(name), taken.encoded())
            else:
                self._objects.replace_bytes(_key(name), taken.encoded(), etag=etag)
        except (ObjectExists, ObjectChanged, ObjectMissing):
            return None
        return Lease(name=name, token=taken.token, holder=holder)

    def _read(self, name: str) -> tuple[LeaseRecord | None, str | None, bytes | None]:
        try:
            data, etag = self._objects.get_bytes(_key(name))
        except ObjectMissing:
            return None, None, None
        try:
            return LeaseRecord.model_validate_json(data), etag, data
        except ValidationError as error:
            raise ObjectStoreError(
                f"{_key(name)} in {self._objects.location} is no lease ({error.errors()[0]['msg']}): delete it once "
                "nobody holds it"
            ) from error


def _key(name: str) -> str:
    return PREFIX + name


def _told(_: str) -> None:
    """Who waits says so once."""
