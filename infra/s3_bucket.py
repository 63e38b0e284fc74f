"""One S3 bucket: names, encryption, single requests; what a store makes of them is decided elsewhere."""

import contextlib
import hashlib
import threading
import time
import uuid
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

from pydantic import SecretStr

from infra.object_keys import ObjectChanged, ObjectMissing, check_key
from infra.object_store import StoredObject
from infra.s3_client import s3_client
from infra.s3_downloads import with_whole_body
from infra.s3_encryption import ServerSideEncryption
from infra.s3_errors import translated

# S3 answers 409 when two conditional writes of one key overlap: not a verdict yet, ask again.
CONFLICT_PAUSES_SECONDS = (0.05, 0.1, 0.2, 0.4, 0.8)
SHA256 = "sha256"
# Tells a conditional write from every other, those of the same bytes included.
WRITE = "write"
USES_THE_KMS_KEY = ("put", "get", "read")


class Head(NamedTuple):
    """What the server tells of an object: `sha256` and `write` are kept as metadata when it is written."""

    etag: str
    size: int
    sha256: str | None
    write: str | None


class S3Bucket:
    """Single requests for objects below a prefix, errors translated; see S3ObjectStore for the arguments."""

    def __init__(
        self,
        bucket: str,
        *,
        prefix: str,
        endpoint_url: str | None,
        region: str | None,
        path_style: bool,
        access_key_id: str | None,
        secret_access_key: SecretStr | None,
        session_token: SecretStr | None,
        attempts: int,
        encryption: ServerSideEncryption,
    ) -> None:
        self.bucket = bucket
        self.prefix = check_key(prefix.strip("/")) + "/" if prefix.strip("/") else ""
        self.encryption = encryption
        self._confirming, self._confirmed = threading.Lock(), encryption.sse is None
        self.client: Any = s3_client(
            endpoint_url=endpoint_url,
            region=region,
            path_style=path_style,
            attempts=attempts,
            access_key_id=access_key_id,
            secret_access_key=secret_access_key,
            session_token=session_token,
        )

    @property
    def location(self) -> str:
        return f"s3://{self.bucket}/{self.prefix}"

    def name(self, key: str) -> str:
        """The key's name in the bucket; raises KeyRefused."""
        return self.prefix + check_key(key)

    def head(self, key: str) -> Head | None:
        """What the server tells of the object; None where there is none."""
        name = self.name(key)
        try:
            with self.translated("look up", key):
                answer = self.client.head_object(Bucket=self.bucket, Key=name)
        except ObjectMissing:
            return None
        metadata = answer.get("Metadata", {})
        return Head(plain(answer["ETag"]), answer["ContentLength"], metadata.get(SHA256), metadata.get(WRITE))

    def read(self, key: str) -> tuple[StoredObject, str | None]:
        """The object, whole, and the sha256 kept with it."""
        name = self.name(key)

        def read() -> tuple[StoredObject, str | None]:
            answer = self.client.get_object(Bucket=self.bucket, Key=name)
            return StoredObject(answer["Body"].read(), plain(answer["ETag"])), answer.get("Metadata", {}).get(SHA256)

        with self.translated("get", key):
            return with_whole_body(read)

    def write(self, key: str, data: bytes, *, passing: tuple[str, ...] = (), write: str = "", **condition: str) -> str:
        """One PUT with the sha256 as metadata; returns the etag. HTTP statuses in `passing` raise ClientError."""
        metadata, name = {SHA256: hashlib.sha256(data).hexdigest(), **({WRITE: write} if write else {})}, self.name(key)
        self.confirm_encryption(key)
        with self.translated("put", key, passing=passing):
            answer = self.client.put_object(
                Bucket=self.bucket, Key=name, Body=data, Metadata=metadata, **self.encryption.arguments, **condition
            )
        self.require_encryption(key, answer)
        return plain(answer["ETag"])

    def write_if(self, key: str, data: bytes, **condition: str) -> str | None:
        """`write` under a condition; None where it did not hold."""
        from botocore.exceptions import ClientError

        write, repeated = uuid.uuid4().hex, False
        for pause in (*CONFLICT_PAUSES_SECONDS, None):
            try:
                return self.write(key, data, passing=("409", "412"), write=write, **condition)
            except ObjectMissing:
                return None
            except ClientError as error:
                answer = error.response["ResponseMetadata"]
                repeated |= bool(answer.get("RetryAttempts", 0))
                if answer["HTTPStatusCode"] != 409 or pause is None:
                    break
                time.sleep(pause)
        # It may have been written, its answer lost, and what botocore sent again met our own object. Another's may have
        # the very same bytes: Ceph answers 500 to who loses a race, so that losers come here too.
        head = self.head(key) if repeated else None
        return head.etag if head and head.write == write else None

    def confirm_encryption(self, key: str) -> None:
        """Before the first write: raises S3Refused where the server does not encrypt as it is asked to.

        A server that does not know an encryption ignores the wish and writes in the clear. An upload that is begun and
        given up tells it without an object.
        """
        with self._confirming:
            if self._confirmed:
                return
            target = {"Bucket": self.bucket, "Key": self.name(key)}
            with self.translated("put", key):
                begun = self.client.create_multipart_upload(**target, **self.encryption.arguments)
                self.client.abort_multipart_upload(**target, UploadId=begun["UploadId"])
            self.require_encryption(key, begun)
            self._confirmed = True

    def require_encryption(self, key: str, answer: Mapping[str, Any]) -> None:
        """See ServerSideEncryption.require."""
        self.encryption.require(key, self.location, answer)

    def translated(
        self, verb: str, key: str, *, passing: tuple[str, ...] = ()
    ) -> contextlib.AbstractContextManager[None]:
        """See s3_errors.translated."""

        def absent() -> bool:
            return verb != "list" and not self._listed(key)

        kms_key = self.encryption.kms_key if verb in USES_THE_KMS_KEY else None
        return translated(verb, key, location=self.location, passing=passing, absent=absent, kms_key=kms_key)

    @contextlib.contextmanager
    def unless_changed(self, verb: str, key: str, etag: str) -> Iterator[None]:
        """Translated, and HTTP 412 as ObjectChanged: another version has replaced the one with this etag."""
        from botocore.exceptions import ClientError

        try:
            with self.translated(verb, key, passing=("412",)):
                yield
        except ClientError:
            raise ObjectChanged(key, self.location, expected=etag, found="of a newer version") from None

    def _listed(self, key: str) -> bool:
        """Whether the object is there as far as may be told: what cannot be listed may be there."""
        from botocore.exceptions import BotoCoreError, ClientError

        name = self.name(key)
        try:
            found = self.client.list_objects_v2(Bucket=self.bucket, Prefix=name, MaxKeys=1)
        except (BotoCoreError, ClientError):
            return True
        return any(entry["Key"] == name for entry in found.get("Contents", ()))


def plain(etag: str) -> str:
    """The etag without quotes and weakness."""
    return etag.removeprefix("W/").strip('"')
