"""Objects in an S3 bucket (AWS, Ceph, MinIO), and nothing but the protocol of object_store."""

import hashlib
import io
import logging
import threading
from collections.abc import Iterator
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import Any, BinaryIO, cast

from pydantic import SecretStr

from infra.download_cache import KEEP, CacheFull, DownloadCache
from infra.object_keys import ObjectChanged, ObjectDamaged, ObjectExists, ObjectMissing, check_prefix
from infra.object_store import StoredObject
from infra.s3_bucket import SHA256, Head, S3Bucket
from infra.s3_downloads import READ_AHEAD_BYTES, ObjectVersion, RangeReader, download
from infra.s3_encryption import Encryption, ServerSideEncryption
from infra.s3_errors import ClockSkewed, CredentialsExpired, S3Refused
from infra.s3_uploads import SINGLE_PUT_BYTES, sweep_abandoned, upload_parts

__all__ = ["CacheFull", "ClockSkewed", "CredentialsExpired", "S3ObjectStore", "S3Refused"]

logger = logging.getLogger(__name__)


class S3ObjectStore:
    """Objects under `prefix` in a bucket, by boto3.

    The server must honour conditional PUT (AWS, Ceph RGW from 16, MinIO do; `rclone serve s3` does not): the champion
    pointer rests on it. Credentials are handed to boto3, or found by boto3 in its usual places when not given (and
    then renewed by it where they come from a role), and kept nowhere else. Connection faults, throttling and 5xx
    answers are tried again by botocore's standard mode, with growing pauses and jitter; bodies that break off by us.

    What protects what: every body and part is signed with its sha256, so that the server refuses one that changed on
    its way; objects of up to SINGLE_PUT_BYTES keep their sha256 as metadata, which every read of the whole is held
    against; larger files keep one only if `put_file` is given it. Artifacts do not give it: their manifests have the
    sha256 of every file, checked when it is read, and one pass over a large file is enough.

    Args:
        bucket: name of an existing bucket.
        cache: local folder for downloads, kept by key and etag; may be emptied whenever nobody reads.
        prefix: put before every key, such as "team/postclick"; "" for the whole bucket.
        endpoint_url: the server's address when it is not AWS, without credentials.
        region: the bucket's region.
        path_style: address the bucket in the path rather than in the host name, as most servers but AWS want.
        access_key_id, secret_access_key: credentials; both or neither. `session_token` goes with temporary ones.
        attempts: how often a request is tried in all.
        sse: encryption by the server; one that does not confirm it is refused before anything is written (Ceph 16
            ignores "AES256").
        sse_kms_key_id: the key of "aws:kms"; the account's default key for S3 if absent (Ceph has none).
        cache_max_bytes, cache_keep: see DownloadCache.
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
        session_token: SecretStr | None = None,
        attempts: int = 5,
        sse: Encryption | None = None,
        sse_kms_key_id: str | None = None,
        cache_max_bytes: int | None = None,
        cache_keep: timedelta = KEEP,
    ) -> None:
        self._bucket = S3Bucket(
            bucket,
            prefix=prefix,
            endpoint_url=endpoint_url,
            region=region,
            path_style=path_style,
            access_key_id=access_key_id,
            secret_access_key=secret_access_key,
            session_token=session_token,
            attempts=attempts,
            encryption=ServerSideEncryption(sse, kms_key_id=sse_kms_key_id),
        )
        self.cache = Path(cache).absolute()
        self._downloads = DownloadCache(self.cache, max_bytes=cache_max_bytes, keep=cache_keep)
        self._etag_form = '"{}"'
        self._sweeping, self._swept = threading.Lock(), False

    def __repr__(self) -> str:
        return f"S3ObjectStore({self.location!r})"

    @property
    def bucket(self) -> str:
        return self._bucket.bucket

    @property
    def prefix(self) -> str:
        return self._bucket.prefix

    @property
    def _client(self) -> Any:
        return self._bucket.client

    @property
    def location(self) -> str:
        return self._bucket.location

    @property
    def scratch(self) -> Path:
        return self.cache / "scratch"

    def put_bytes(self, key: str, data: bytes) -> str:
        return self._bucket.write(key, data)

    def create_bytes(self, key: str, data: bytes) -> str:
        etag = self._bucket.write_if(key, data, IfNoneMatch="*")
        if etag is None:
            raise ObjectExists(key, self.location)
        return etag

    def replace_bytes(self, key: str, data: bytes, *, etag: str) -> str:
        new_etag = self._bucket.write_if(key, data, IfMatch=self._etag_form.format(etag))
        found = None
        if new_etag is None:
            found = self._etag(key)
            if found == etag:  # refused although it matches: this server (Ceph) compares with the unquoted form
                self._etag_form = "{}"
                new_etag = self._bucket.write_if(key, data, IfMatch=etag)
                found = self._etag(key) if new_etag is None else None
        if new_etag is None:
            raise ObjectChanged(key, self.location, expected=etag, found=found)
        return new_etag

    def get_bytes(self, key: str) -> StoredObject:
        stored, sha256 = self._bucket.read(key)
        self._check(key, expected=sha256, found=_sha256(io.BytesIO(stored.data)) if sha256 else None)
        return stored

    def exists(self, key: str) -> bool:
        return self._etag(key) is not None

    def put_file(self, key: str, path: Path, *, sha256: str | None = None) -> None:
        name = self._bucket.name(key)
        if path.stat().st_size <= SINGLE_PUT_BYTES:
            data = path.read_bytes()
            self._check(key, expected=sha256, found=_sha256(io.BytesIO(data)) if sha256 else None)
            self._bucket.write(key, data)
            return
        self._sweep_once()
        options = {**self._bucket.encryption.arguments, "Metadata": {SHA256: sha256} if sha256 else {}}
        accept = partial(self._bucket.require_encryption, key)
        with self._bucket.translated("put", key):
            upload_parts(self._client, bucket=self.bucket, name=name, path=path, options=options, accept=accept)

    def fetch_file(self, key: str, *, fresh: bool = False) -> Path:
        folder = _sha256(io.BytesIO(f"{self.location}{key}".encode()))[:32]
        while True:
            head = self._head(key)
            cached = f"{folder}/{head.etag}/{key.rpartition('/')[2]}"
            if not fresh and (path := self._downloads.find(cached)):
                return path
            try:
                return self._downloads.add(cached, head.size, lambda target, head=head: self._fetch(key, head, target))
            except ObjectChanged:  # overwritten meanwhile: fetch the newer one
                continue

    def open_file(self, key: str) -> BinaryIO:
        head = self._head(key)

        def guard():
            return self._bucket.unless_changed("read", key, head.etag)

        reader = RangeReader(self._client, self._version(key, head), guard=guard)
        return cast(BinaryIO, io.BufferedReader(reader, READ_AHEAD_BYTES))

    def list_keys(self, prefix: str = "") -> Iterator[str]:
        check_prefix(prefix)
        pages = self._client.get_paginator("list_objects_v2").paginate(Bucket=self.bucket, Prefix=self.prefix + prefix)
        with self._bucket.translated("list", prefix):
            for page in pages:
                for entry in page.get("Contents", ()):
                    yield entry["Key"].removeprefix(self.prefix)

    def delete(self, key: str) -> None:
        name = self._bucket.name(key)
        with self._bucket.translated("delete", key):
            self._client.delete_object(Bucket=self.bucket, Key=name)

    def _head(self, key: str) -> Head:
        head = self._bucket.head(key)
        if head is None:
            raise ObjectMissing(key, self.location)
        return head

    def _etag(self, key: str) -> str | None:
        head = self._bucket.head(key)
        return head.etag if head else None

    def _version(self, key: str, head: Head) -> ObjectVersion:
        return ObjectVersion(self.bucket, self._bucket.name(key), head.etag, head.size)

    def _fetch(self, key: str, head: Head, target: Path) -> None:
        with self._bucket.unless_changed("get", key, head.etag):
            download(self._client, self._version(key, head), target)
        if head.sha256:
            with target.open("rb") as file:
                self._check(key, expected=head.sha256, found=_sha256(file))

    def _check(self, key: str, *, expected: str | None, found: str | None) -> None:
        if expected is not None and found != expected:
            raise ObjectDamaged(key, self.location, expected=f"sha256 {expected}", found=f"{found}")

    def _sweep_once(self) -> None:
        """Once in a store's life, before it leaves parts itself: remove those that killed processes left."""
        with self._sweeping:
            if self._swept:
                return
            self._swept = True
            try:
                with self._bucket.translated("list", ""):
                    swept = sweep_abandoned(self._client, bucket=self.bucket, prefix=self.prefix)
            except S3Refused as refusal:  # tidiness: a bucket whose owner grants no such listing works as well
                logger.warning("parts of abandoned uploads are not looked for: %s", refusal)
                return
            if swept:
                logger.info("removed the parts of %d abandoned uploads below %s", swept, self.location)


def _sha256(file: Any) -> str:
    return hashlib.file_digest(file, "sha256").hexdigest()
