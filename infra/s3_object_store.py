"""Objects in an S3 bucket (AWS, Ceph, MinIO), and nothing but the protocol of object_store."""

import contextlib
import hashlib
import os
import time
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from pydantic import SecretStr

from infra.object_keys import (
    ObjectChanged,
    ObjectExists,
    ObjectMissing,
    ObjectStoreError,
    check_key,
    check_prefix,
)
from infra.object_store import StoredObject

# S3 answers 409 when two conditional writes of one key overlap: not a verdict yet, ask again.
CONFLICT_PAUSES_SECONDS = (0.05, 0.1, 0.2, 0.4, 0.8)
REMEDIES = {
    "NoSuchBucket": "create the bucket, or correct its name in the settings",
    "AccessDenied": "give these credentials read and write access to the bucket",
    "InvalidAccessKeyId": "correct the credentials",
    "SignatureDoesNotMatch": "correct the credentials, and check this machine's clock",
}


class S3Refused(ObjectStoreError):
    """The S3 server answered with an error that is no ordinary absence or lost race."""


class S3ObjectStore:
    """Objects under `prefix` in a bucket, by boto3.

    The server must honour conditional PUT (AWS, Ceph RGW from 16, MinIO do; `rclone serve s3` does not): the champion
    pointer rests on it. Credentials are handed to boto3, or found by boto3 in its usual places when not given, and
    kept nowhere else. Connection faults, throttling and 5xx answers are retried by botocore's standard mode.

    Args:
        bucket: name of an existing bucket.
        cache: local folder for downloads, kept by key and etag; may be emptied whenever nobody reads.
        prefix: put before every key, such as "team/postclick"; "" for the whole bucket.
        endpoint_url: the server's address when it is not AWS.
        region: the bucket's region.
        path_style: address the bucket in the path rather than in the host name, as most servers but AWS want.
        access_key_id, secret_access_key: credentials; both or neither.
        attempts: how often a request is tried in all.
    """

    def __init__(
        self,
        bucket: str,
        *,
        cache: Path,
        prefix: str = "",
        endpoint_url: str | None = None,
        region: str | None = None,
        path_style: bool = False,
        access_key_id: str | None = None,
        secret_access_key: SecretStr | None = None,
        attempts: int = 5,
    ) -> None:
        import boto3
        from botocore.config import Config

        self.bucket = bucket
        self.prefix = check_key(prefix.strip("/")) + "/" if prefix.strip("/") else ""
        self.cache = Path(cache).absolute()
        self._client: Any = boto3.Session().client(
            "s3",
            endpoint_url=endpoint_url,
            region_name=region or ("us-east-1" if endpoint_url else None),
            aws_access_key_id=access_key_id,
            aws_secret_access_key=secret_access_key.get_secret_value() if secret_access_key else None,
            config=Config(
                retries={"mode": "standard", "total_max_attempts": attempts},
                max_pool_connections=32,
                s3={"addressing_style": "path" if path_style else "auto"},
                # the newer default checksums are refused by several servers; artifacts carry their own sha256
                request_checksum_calculation="when_required",
                response_checksum_validation="when_required",
            ),
        )
        self._etag_form = '"{}"'

    def __repr__(self) -> str:
        return f"S3ObjectStore({self.location!r})"

    @property
    def location(self) -> str:
        return f"s3://{self.bucket}/{self.prefix}"

    @property
    def scratch(self) -> Path:
        return self.cache / "scratch"

    def put_bytes(self, key: str, data: bytes) -> str:
        name = self._name(key)
        with self._translated("put", key):
            return _plain(self._client.put_object(Bucket=self.bucket, Key=name, Body=data)["ETag"])

    def create_bytes(self, key: str, data: bytes) -> str:
        etag = self._conditional_put(key, data, IfNoneMatch="*")
        if etag is None:
            raise ObjectExists(key, self.location)
        return etag

    def replace_bytes(self, key: str, data: bytes, *, etag: str) -> str:
        new_etag = self._conditional_put(key, data, IfMatch=self._etag_form.format(etag))
        found = None
        if new_etag is None:
            found = self._etag(key)
            if found == etag:  # refused although it matches: this server (Ceph) compares with the unquoted form
                self._etag_form = "{}"
                new_etag = self._conditional_put(key, data, IfMatch=etag)
                found = self._etag(key) if new_etag is None else None
        if new_etag is None:
            raise ObjectChanged(key, self.location, expected=etag, found=found)
        return new_etag

    def get_bytes(self, key: str) -> StoredObject:
        name = self._name(key)
        with self._translated("get", key):
            answer = self._client.get_object(Bucket=self.bucket, Key=name)
            return StoredObject(answer["Body"].read(), _plain(answer["ETag"]))

    def exists(self, key: str) -> bool:
        return self._etag(key) is not None

    def put_file(self, key: str, path: Path) -> None:
        name = self._name(key)
        with self._translated("put", key):
            self._client.upload_file(str(path), self.bucket, name)

    def fetch_file(self, key: str, *, fresh: bool = False) -> Path:
        folder = hashlib.sha256(f"{self.location}{key}".encode()).hexdigest()[:32]
        basename = key.rpartition("/")[2]
        while True:
            etag = self._etag(key)
            if etag is None:
                raise ObjectMissing(key, self.location)
            cached = self.cache / "objects" / folder / etag / basename
            if cached.is_file() and not fresh:
                return cached
            cached.parent.mkdir(parents=True, exist_ok=True)
            temporary = cached.parent / f".{uuid.uuid4().hex}.tmp"
            try:
                with self._translated("get", key):
                    self._client.download_file(self.bucket, self._name(key), str(temporary))
                if self._etag(key) == etag:  # else it was overwritten meanwhile: fetch the newer one
                    os.replace(temporary, cached)
                    return cached
            finally:
                temporary.unlink(missing_ok=True)

    def list_keys(self, prefix: str = "") -> Iterator[str]:
        check_prefix(prefix)
        pages = self._client.get_paginator("list_objects_v2").paginate(Bucket=self.bucket, Prefix=self.prefix + prefix)
        with self._translated("list", prefix):
            for page in pages:
                for entry in page.get("Contents", ()):
                    yield entry["Key"].removeprefix(self.prefix)

    def delete(self, key: str) -> None:
        name = self._name(key)
        with self._translated("delete", key):
            self._client.delete_object(Bucket=self.bucket, Key=name)

    def _name(self, key: str) -> str:
        return self.prefix + check_key(key)

    def _etag(self, key: str) -> str | None:
        name = self._name(key)
        try:
            with self._translated("look up", key):
                return _plain(self._client.head_object(Bucket=self.bucket, Key=name)["ETag"])
        except ObjectMissing:
            return None

    def _conditional_put(self, key: str, data: bytes, **condition: str) -> str | None:
        """The new etag, or None where the condition did not hold."""
        from botocore.exceptions import ClientError

        name = self._name(key)
        for pause in (*CONFLICT_PAUSES_SECONDS, None):
            try:
                with self._translated("put", key, passing=("409", "412")):
                    return _plain(self._client.put_object(Bucket=self.bucket, Key=name, Body=data, **condition)["ETag"])
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

    def _stored(self, key: str) -> StoredObject | None:
        try:
            return self.get_bytes(key)
        except ObjectMissing:
            return None

    @contextlib.contextmanager
    def _translated(self, verb: str, key: str, *, passing: tuple[str, ...] = ()) -> Iterator[None]:
        """botocore's errors as this package's, but those with an HTTP status in `passing`."""
        from boto3.exceptions import S3UploadFailedError
        from botocore.exceptions import BotoCoreError, ClientError

        try:
            yield
        except ClientError as error:
            code, status = (
                error.response["Error"]["Code"],
                error.response["ResponseMetadata"]["HTTPStatusCode"],
            )
            if str(status) in passing:
                raise
            if code in ("NoSuchKey", "404", "NotFound"):
                raise ObjectMissing(key, self.location) from None
            remedy = REMEDIES.get(code, "see the server's message, then run again")
            raise S3Refused(f"cannot {verb} {key!r} in {self.location}: {code} (HTTP {status}): {remedy}") from error
        except (BotoCoreError, S3UploadFailedError) as error:
            raise S3Refused(
                f"cannot {verb} {key!r} in {self.location}: {error}: check the endpoint, the network, the credentials"
            ) from error


def _plain(etag: str) -> str:
    return etag.removeprefix("W/").strip('"')
