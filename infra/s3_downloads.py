"""Bytes out of S3, by ranges of one version of an object, asked for again when a connection breaks; no cache here."""

import io
import os
import random
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

# boto3 tries requests again, but not answers that break off in their body.
BODY_ATTEMPTS = 6
FIRST_PAUSE_SECONDS, LONGEST_PAUSE_SECONDS = 0.2, 8.0
# A range that breaks off is fetched again from its start.
RANGE_BYTES = 16 << 20
RANGES_AT_ONCE = 4
CHUNK_BYTES = 1 << 20
# Parquet readers ask for footers and small columns in pieces of a few kilobytes: one request for many of them.
READ_AHEAD_BYTES = 1 << 20

Result = TypeVar("Result")


class ObjectVersion(NamedTuple):
    """One version of an object: reading it fails with HTTP 412 once another has replaced it."""

    bucket: str
    name: str
    etag: str
    size: int


def with_whole_body(read: Callable[[], Result]) -> Result:
    """`read()`, again after a pause with jitter when the connection broke or fell silent before the end."""
    from botocore.exceptions import IncompleteReadError, ReadTimeoutError, ResponseStreamingError

    for attempt in range(BODY_ATTEMPTS):
        try:
            return read()
        except (IncompleteReadError, ReadTimeoutError, ResponseStreamingError, ConnectionError):
            if attempt == BODY_ATTEMPTS - 1:
                raise
            time.sleep(random.uniform(0, min(LONGEST_PAUSE_SECONDS, FIRST_PAUSE_SECONDS * 2**attempt)))
    raise AssertionError("unreachable")


def download(client: Any, version: ObjectVersion, target: Path) -> None:
    """Write one version of an object to a local file, several ranges at once.

    Raises:
        ClientError: as boto3 raises it; HTTP 412 when the object was replaced meanwhile.
        OSError: ENOSPC before a byte is fetched where the file system can tell.
    """
    with target.open("wb") as file:
        if not version.size:
            return
        descriptor = file.fileno()
        os.posix_fallocate(descriptor, 0, version.size)

        def fetch(start: int) -> None:
            stop = min(start + RANGE_BYTES, version.size)
            with_whole_body(lambda: _copy_range(client, version, start, stop, descriptor))

        starts = range(0, version.size, RANGE_BYTES)
        if len(starts) == 1:
            fetch(0)
            return
        pool = ThreadPoolExecutor(RANGES_AT_ONCE, thread_name_prefix="s3-download")
        try:
            for _ in pool.map(fetch, starts):
                pass
        finally:
            pool.shutdown(wait=True, cancel_futures=True)


class RangeReader(io.RawIOBase):
    """One version of an object as a seekable file; every read is a request, made within a `guard()` block."""

    def __init__(
        self, client: Any, version: ObjectVersion, *, guard: Callable[[], AbstractContextManager[None]]
    ) -> None:
        self._client, self._version, self._guard, self._position = client, version, guard, 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._position

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        base = {io.SEEK_SET: 0, io.SEEK_CUR: self._position, io.SEEK_END: self._version.size}[whence]
        if base + offset < 0:
            raise ValueError(f"seek to {base + offset}: positions begin at 0")
        self._position = base + offset
        return self._position

    def readinto(self, buffer: Any) -> int:
        start = self._position
        stop = min(start + len(buffer), self._version.size)
        if stop <= start:
            return 0

        def fill() -> None:
            place = 0
            for chunk in _chunks(self._client, self._version, start, stop):
                buffer[place : place + len(chunk)] = chunk
                place += len(chunk)

        with self._guard():
            with_whole_body(fill)
        self._position = stop
        return stop - start


def _copy_range(client: Any, version: ObjectVersion, start: int, stop: int, descriptor: int) -> None:
    offset = start
    for chunk in _chunks(client, version, start, stop):
        view = memoryview(chunk)
        while view:
            written = os.pwrite(descriptor, view, offset)
            offset, view = offset + written, view[written:]


def _chunks(client: Any, version: ObjectVersion, start: int, stop: int) -> Iterator[bytes]:
    """The bytes from `start` to before `stop`; raises IncompleteReadError where the answer holds fewer or more."""
    from botocore.exceptions import IncompleteReadError

    answer = client.get_object(
        Bucket=version.bucket, Key=version.name, IfMatch=f'"{version.etag}"', Range=f"bytes={start}-{stop - 1}"
    )
    expected, received = stop - start, 0
    try:
        while received <= expected and (chunk := answer["Body"].read(CHUNK_BYTES)):
            received += len(chunk)
            if received <= expected:
                yield chunk
    finally:
        answer["Body"].close()
    if received != expected:
        raise IncompleteReadError(actual_bytes=received, expected_bytes=expected)
