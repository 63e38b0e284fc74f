"""Objects that others put into S3 buckets, copied to files of this machine; what is in them is not known here."""

import errno
import logging
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import cached_property, partial
from pathlib import Path
from typing import Any, NamedTuple

from pydantic import SecretStr

from infra.download_cache import FULL, CacheFull
from infra.object_globs import FoundObject, find_objects
from infra.object_keys import ObjectMissing, ObjectStoreError
from infra.s3_bucket import plain
from infra.s3_client import require_boto3, s3_client
from infra.s3_downloads import ObjectVersion, download
from infra.s3_errors import DENIED, REMEDIES, S3Refused, translated

logger = logging.getLogger(__name__)
SCHEME = "s3://"
# Each of a day's many small files waits for its own answer: with four ranges each, as many as the client's connections.
OBJECTS_AT_ONCE = 8
# A delivery that goes on while it is copied is looked at so often.
LOOKS = 3
ARCHIVED = "InvalidObjectState"
FEED_REMEDIES = {
    **REMEDIES,
    "NoSuchBucket": "create the bucket, or correct the path in the dataset spec",
    "AccessDenied": "give these credentials the rights of infra/iam/feed_policy.json on the bucket and path",
    ARCHIVED: "the object lies in an archive: restore it",
}


class FeedObjectRefused(ObjectStoreError):
    """An object cannot be copied as it is: it is archived, closed to these credentials, or still being written."""


class CopiedObject(NamedTuple):
    """A file of this machine, and the address of the object that it is a copy of."""

    path: Path
    address: str


class S3Feed:
    """Copies objects by boto3, as S3ObjectStore does: the same attempts, checks of lengths and places for credentials.

    Nothing is written to a bucket. See S3ObjectStore for the arguments. Raises ObjectStoreError without boto3.
    """

    def __init__(
        self,
        *,
        endpoint_url: str | None = None,
        region: str | None = None,
        path_style: bool = False,
        attempts: int = 5,
        access_key_id: str | None = None,
        secret_access_key: SecretStr | None = None,
        session_token: SecretStr | None = None,
    ) -> None:
        require_boto3()
        # Who only looks at assets waits for no client.
        self._connect: Callable[[], Any] = partial(
            s3_client,
            endpoint_url=endpoint_url,
            region=region,
            path_style=path_style,
            attempts=attempts,
            access_key_id=access_key_id,
            secret_access_key=secret_access_key,
            session_token=session_token,
        )

    def fetch(self, pattern: str, *, into: Path) -> list[CopiedObject]:
        """Copy what `pattern`, s3://bucket/…, finds (`find_objects`) to files below the empty folder `into`.

        They are as they all stood at one moment: objects that came, went or were overwritten while they were copied are
        looked at again. A copy's path is `into`, a number of eight digits, and the object's name.

        Raises:
            FeedObjectRefused: an object cannot be had, or they changed at each of LOOKS looks.
            S3Refused: the server, the bucket or the credentials do not do; the message says what to do.
            CacheFull: there is no room on the disk.
        """
        bucket, _, name = pattern.removeprefix(SCHEME).partition("/")
        listing = partial(self._list, bucket)
        copies: dict[FoundObject, Path] = {}
        found = find_objects(name, listing)
        for _ in range(LOOKS):
            self._copy_all(bucket, [one for one in found if one not in copies], copies, into=into)
            again = find_objects(name, listing) if found else found
            if again == found and copies.keys() >= set(found):
                size = sum(one.size for one in found)
                logger.info("copied %d objects of %d bytes that %s names", len(found), size, pattern)
                return [CopiedObject(copies[one], f"{SCHEME}{bucket}/{one.name}") for one in found]
            found = again
            for stale in copies.keys() - set(found):
                copies.pop(stale).unlink()
        raise FeedObjectRefused(
            f"the objects at {pattern} changed each of the {LOOKS} times that they were copied: wait until their "
            "delivery has ended"
        )

    @cached_property
    def _client(self) -> Any:
        return self._connect()

    def _list(self, bucket: str, prefix: str, *, deep: bool) -> Iterator[FoundObject]:
        one_level = {} if deep else {"Delimiter": "/"}
        with _translated("list", prefix, bucket=bucket):
            pages = self._client.get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=prefix, **one_level)
            for page in pages:
                for entry in page.get("Contents", ()):
                    yield FoundObject(entry["Key"], plain(entry["ETag"]), entry["Size"])
                for entry in page.get("CommonPrefixes", ()):
                    yield FoundObject(entry["Prefix"], "", 0)

    def _copy_all(
        self, bucket: str, wanted: Sequence[FoundObject], copies: dict[FoundObject, Path], *, into: Path
    ) -> None:
        """Add a copy of each of `wanted` that is still there and has not changed since it was listed."""
        begin = max((int(path.name) + 1 for path in into.iterdir()), default=0)
        targets = [into / f"{begin + place:08}" / one.name for place, one in enumerate(wanted)]
        pool = ThreadPoolExecutor(OBJECTS_AT_ONCE, thread_name_prefix="s3-feed")
        try:
            for one, target, is_copied in zip(
                wanted, targets, pool.map(partial(self._copy, bucket), wanted, targets), strict=True
            ):
                if is_copied:
                    copies[one] = target
        finally:
            pool.shutdown(wait=True, cancel_futures=True)

    def _copy(self, bucket: str, one: FoundObject, target: Path) -> bool:
        from botocore.exceptions import ClientError

        try:
            target.parent.mkdir(parents=True)
            with _translated("get", one.name, bucket=bucket, passing=("412",)):
                download(self._client, ObjectVersion(bucket, one.name, one.etag, one.size), target)
        except (ClientError, ObjectMissing):  # another version is there by now, or none
            target.unlink(missing_ok=True)
            return False
        except S3Refused as refusal:
            if _code(refusal) in (*DENIED, ARCHIVED):
                raise FeedObjectRefused(str(refusal)) from refusal
            raise
        except OSError as error:
            if (fault := _disk_fault(error, f"{SCHEME}{bucket}/{one.name}", size=one.size)) is None:
                raise
            raise fault from error
        return True


def _translated(verb: str, name: str, *, bucket: str, passing: tuple[str, ...] = ()) -> Any:
    return translated(verb, name, location=f"{SCHEME}{bucket}/", passing=passing, remedies=FEED_REMEDIES)


def _code(refusal: S3Refused) -> str | None:
    return getattr(refusal.__cause__, "response", {}).get("Error", {}).get("Code")


def _disk_fault(error: OSError, address: str, *, size: int) -> ObjectStoreError | None:
    """What an error of this machine's files means for the copy of an object; None where it tells enough itself."""
    if error.errno in FULL:
        return CacheFull(
            f"no room on the disk for {address} of {size} bytes: a day of raw logs must fit beside what is made of it; "
            "give POSTCLICK_HOME a larger disk"
        )
    if error.errno == errno.ENAMETOOLONG:
        return FeedObjectRefused(f"{address} has a name that is too long for a file: rename it")
    return None
