"""Files into S3: one PUT for small ones, parts for large ones, and nothing left of those that did not end."""

import contextlib
import hashlib
import os
import re
import signal
import threading
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from email.utils import parsedate_to_datetime
from pathlib import Path
from typing import Any

from infra.object_keys import ObjectStoreError

MEBIBYTE = 1 << 20
# A PUT that is cut is sent again from its start: above this, losing a part is cheaper than losing all.
SINGLE_PUT_BYTES = 32 * MEBIBYTE
# Large enough that a request's round trip is small beside its body, small enough to hold four in memory. S3 wants 5
# MiB at least and takes 10,000 parts at most, hence 160 GB before parts grow.
PART_BYTES = 16 * MEBIBYTE
MAX_PARTS = 10_000
# One connection rarely fills a network card; more than four gained nothing, and each holds a part in memory.
PARTS_AT_ONCE = 4
# No upload of ours lasts a day: an older one lost its process to SIGKILL or a power cut.
ABANDONED_AFTER = timedelta(days=1)
MD5 = re.compile(r"[0-9a-f]{32}")


class FileChanged(ObjectStoreError):
    """The file was written to while it was being uploaded; the object is as it was before."""


def part_bytes(size: int) -> int:
    """Bytes of each part but the last of a file of `size` bytes, so that they are at most MAX_PARTS."""
    least = -(-size // MAX_PARTS)
    return max(PART_BYTES, -(-least // MEBIBYTE) * MEBIBYTE)


def upload_parts(
    client: Any,
    *,
    bucket: str,
    name: str,
    path: Path,
    options: Mapping[str, Any],
    accept: Callable[[Mapping[str, Any]], None],
) -> None:
    """Upload a file in parts; the object appears, or is replaced, when the last one is there.

    Each part's sha256 is in its signature, which the server checks; the server puts together exactly the parts that
    it confirmed. On any failure, on KeyboardInterrupt, and on SIGTERM where nobody else handles it, the parts are
    removed.

    Args:
        options: arguments of CreateMultipartUpload (encryption, metadata).
        accept: given the answer to it, which says how the server encrypts; raises what refuses the upload.

    Raises:
        FileChanged: size or time of the file changed meanwhile.
        ClientError, BotoCoreError: as boto3 raises them, after its own attempts.
    """
    target = {"Bucket": bucket, "Key": name}
    with path.open("rb") as file, _sigterm_raises():
        before = os.fstat(file.fileno())
        begun = client.create_multipart_upload(**target, **options)
        target_part = {**target, "UploadId": begun["UploadId"]}
        try:
            accept(begun)
            parts = _send_parts(client, target_part, file.fileno(), before.st_size)
            after = os.fstat(file.fileno())
            if (after.st_size, after.st_mtime_ns) != (before.st_size, before.st_mtime_ns):
                raise FileChanged(
                    f"{path} was written to while it was uploaded ({before.st_size} bytes before, {after.st_size} "
                    "now): upload it once it is whole"
                )
            _complete(client, target, target_part, parts)
        except BaseException:
            with contextlib.suppress(Exception):  # the fault that brought us here is the one to report
                client.abort_multipart_upload(**target_part)
            raise


def sweep_abandoned(client: Any, *, bucket: str, prefix: str, older_than: timedelta = ABANDONED_AFTER) -> int:
    """Remove the parts of uploads below `prefix` begun longer ago, by the server's clock; returns how many uploads."""
    swept = 0
    for page in client.get_paginator("list_multipart_uploads").paginate(Bucket=bucket, Prefix=prefix):
        now = parsedate_to_datetime(page["ResponseMetadata"]["HTTPHeaders"]["date"])
        for upload in page.get("Uploads", ()):
            if now - upload["Initiated"] >= older_than:
                client.abort_multipart_upload(Bucket=bucket, Key=upload["Key"], UploadId=upload["UploadId"])
                swept += 1
    return swept


def _send_parts(client: Any, target: Mapping[str, str], descriptor: int, size: int) -> list[dict[str, Any]]:
    length = part_bytes(size)

    def send(offset: int) -> dict[str, Any]:
        number, body = offset // length + 1, os.pread(descriptor, min(length, size - offset), offset)
        return {
            "PartNumber": number,
            "ETag": client.upload_part(**target, PartNumber=number, Body=body)["ETag"],
        }

    pool = ThreadPoolExecutor(PARTS_AT_ONCE, thread_name_prefix="s3-upload")
    try:
        return list(pool.map(send, range(0, size, length)))
    finally:
        # parts in flight end before the upload is aborted: one that arrives afterwards would stay
        pool.shutdown(wait=True, cancel_futures=True)


def _complete(client: Any, target: Mapping[str, str], upload: Mapping[str, str], parts: list[dict[str, Any]]) -> None:
    from botocore.exceptions import ClientError

    try:
        client.complete_multipart_upload(**upload, MultipartUpload={"Parts": parts})
    except ClientError as error:
        # the answer to the first attempt was lost, and the second finds the upload already put together
        if error.response["Error"]["Code"] != "NoSuchUpload" or _etag_of(parts) is None:
            raise
        try:
            stored = client.head_object(**target)["ETag"].strip('"')
        except ClientError:
            stored = None
        if stored != _etag_of(parts):
            raise


def _etag_of(parts: list[dict[str, Any]]) -> str | None:
    """The etag of an object of these parts: MD5 of their MD5s; None where the server's are something else."""
    digests = [part["ETag"].strip('"') for part in parts]
    if not all(map(MD5.fullmatch, digests)):
        return None
    whole = hashlib.md5(b"".join(map(bytes.fromhex, digests)), usedforsecurity=False).hexdigest()
    return f"{whole}-{len(parts)}"


@contextlib.contextmanager
def _sigterm_raises() -> Iterator[None]:
    """SIGTERM as SystemExit where it would end the process at once, so that what was begun is taken back."""
    main = threading.current_thread() is threading.main_thread()
    if not main or signal.getsignal(signal.SIGTERM) is not signal.SIG_DFL:
        yield
        return

    def leave(number: int, frame: object) -> None:
        raise SystemExit(128 + number)

    signal.signal(signal.SIGTERM, leave)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
