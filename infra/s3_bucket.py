"""One S3 bucket: client, names, encryption, single requests; what a store makes of them is decided elsewhere."""

import contextlib
import hashlib
import time
from collections.abc import Iterator, Mapping
from typing import Any, Literal, NamedTuple
from urllib.parse import urlsplit

from pydantic import SecretStr

from infra.object_keys import ObjectChanged, ObjectMissing, check_key
from infra.object_store import StoredObject
from infra.s3_downloads import with_whole_body
from infra.s3_errors import S3Refused, translated

# S3 answers 409 when two conditional writes of one key overlap: not a verdict yet, ask again.
CONFLICT_PAUSES_SECONDS = (0.05, 0.1, 0.2, 0.4, 0.8)
SHA256 = "sha256"


class Head(NamedTuple):
    """What the server tells of an object: `sha256` is the one kept as metadata when it was written."""

    etag: str
    size: int
    sha256: str | None


class S3Bucket:
    """Single requests for objects below a prefix, errors translated; the arguments are those of S3ObjectStore."""

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
        sse: Literal["AES256", "aws:kms"] | None,
        sse_kms_key_id: str | None,
    ) -> None:
        import boto3
        from botocore.config import Config

        if endpoint_url and "@" in urlsplit(endpoint_url).netloc:
            raise ValueError("the S3 endpoint holds credentials: leave them out, addresses are shown in messages")
        if sse_kms_key_id and sse != "aws:kms":
            raise ValueError(f"an SSE-KMS key was given with sse={sse!r}: set sse to 'aws:kms', or drop the key")
        self.bucket = bucket
        self.prefix = check_key(prefix.strip("/")) + "/" if prefix.strip("/") else ""
        self.encryption: dict[str, str] = {"ServerSideEncryption": sse} if sse else {}
        if sse_kms_key_id:
            self.encryption["SSEKMSKeyId"] = sse_kms_key_id
        self.client: Any = boto3.Session().client(
            "s3",
            endpoint_url=endpoint_url,
            region_name=region or ("us-east-1" if endpoint_url else None),
            aws_access_key_id=access_key_id,
            aws_secret_access_key=secret_access_key.get_secret_value() if secret_access_key else None,
            aws_session_token=session_token.get_secret_value() if session_token else None,
            config=Config(
                retries={"mode": "standard", "total_max_attempts": attempts},
                max_pool_connections=32,
                tcp_keepalive=True,
                # the signature covers the body, over TLS too: the one checksum that all servers verify
                s3={"addressing_style": "path" if path_style else "auto", "payload_signing_enabled": True},
                # the newer default checksums come as trailers, which several servers refuse; Ceph 16 ignores them
                request_checksum_calculation="when_required",
                response_checksum_validation="when_required",
            ),
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
        return Head(plain(answer["ETag"]), answer["ContentLength"], answer.get("Metadata", {}).get(SHA256))

    def read(self, key: str) -> tuple[StoredObject, str | None]:
        """The object, whole, and the sha256 kept with it."""
        name = self.name(key)

        def read() -> tuple[StoredObject, str | None]:
            answer = self.client.get_object(Bucket=self.bucket, Key=name)
            return StoredObject(answer["Body"].read(), plain(answer["ETag"])), answer.get("Metadata", {}).get(SHA256)

        with self.translated("get", key):
            return with_whole_body(read)

    def write(self, key: str, data: bytes, *, passing: tuple[str, ...] = (), **condition: str) -> str:
        """One PUT with the sha256 as metadata; returns the etag. HTTP statuses in `passing` raise ClientError."""
        metadata, name = {SHA256: hashlib.sha256(data).hexdigest()}, self.name(key)
        with self.translated("put", key, passing=passing):
            answer = self.client.put_object(
                Bucket=self.bucket, Key=name, Body=data, Metadata=metadata, **self.encryption, **condition
            )
        self.require_encryption(key, answer)
        return plain(answer["ETag"])

    def write_if(self, key: str, data: bytes, **condition: str) -> str | None:
        """`write` under a condition; None where it did not hold."""
        from botocore.exceptions import ClientError

        for pause in (*CONFLICT_PAUSES_SECONDS, None):
            try:
                return self.write(key, data, passing=("409", "412"), **condition)
            except ObjectMissing:
                return None
            except ClientError as error:
                metadata = error.response["ResponseMetadata"]
                if metadata["HTTPStatusCode"] == 409 and pause is not None:
                    time.sleep(pause)
                elif metadata.get("RetryAttempts", 0) and (stored := self._stored(key)) and stored.data == data:
                    # botocore sent it twice: the first was written, its answer lost, the second met our own object
                    return stored.etag
                else:
                    return None
        return None

    def require_encryption(self, key: str, answer: Mapping[str, Any]) -> None:
        """Raises S3Refused where encryption was asked for and the server's answer to a write does not confirm it."""
        wanted, found = self.encryption.get("ServerSideEncryption"), answer.get("ServerSideEncryption")
        if wanted and found != wanted:
            raise S3Refused(
                f"{key!r} in {self.location}: encryption {wanted} was asked for, the server confirmed {found}: "
                "configure it on the server, or unset it here and encrypt the server's disks"
            )

    def translated(
        self, verb: str, key: str, *, passing: tuple[str, ...] = ()
    ) -> contextlib.AbstractContextManager[None]:
        """See s3_errors.translated."""

        def absent() -> bool:
            return verb != "list" and not self._listed(key)

        return translated(verb, key, location=self.location, passing=passing, absent=absent)

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

    def _stored(self, key: str) -> StoredObject | None:
        try:
            return self.read(key)[0]
        except ObjectMissing:
            return None


def plain(etag: str) -> str:
    """The etag without quotes and weakness."""
    return etag.removeprefix("W/").strip('"')
