"""Files that go into S3 in parts, and what uploads and downloads have left of them; faults are in fault_proxy."""

import random
from pathlib import Path

from infra.s3_object_store import S3ObjectStore

MEBIBYTE = 1 << 20
#: The smallest parts that S3 takes.
SMALL_PART_BYTES = 5 * MEBIBYTE


def four_parts(folder: Path) -> Path:
    """A file of four small parts, the last one short."""
    path = folder / "large.bin"
    path.write_bytes(random.Random(3).randbytes(17 * MEBIBYTE))
    return path


def uploads(store: S3ObjectStore) -> list[str]:
    """Names of the uploads below the store's prefix that were begun and neither ended nor given up."""
    answer = store._client.list_multipart_uploads(Bucket=store.bucket, Prefix=store.prefix)
    return [upload["Key"] for upload in answer.get("Uploads", ())]


def litter(store: S3ObjectStore) -> list[Path]:
    """Files in the store's cache, locks aside."""
    return [path for path in store.cache.rglob("*") if path.is_file() and path.name != ".lock"]
