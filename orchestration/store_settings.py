"""The settings of the store and of raw logs in buckets: how S3 servers are spoken to; `settings` reads them."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from typing import Any, Literal

from pydantic import Field, field_validator
from pydantic_settings import BaseSettings

from infra.local_object_store import LocalObjectStore
from infra.object_store import ObjectStore
from infra.s3_feed import S3Feed


class StoreSettings(BaseSettings):
    """A folder of this machine, or a bucket; the keys are not here: boto3 finds them where it always does."""

    store: str | None = Field(default=None, description="s3://bucket/prefix; a folder under POSTCLICK_HOME if absent")
    s3_endpoint: str | None = Field(default=None, description="endpoint of an S3 server other than AWS")
    s3_region: str | None = Field(default=None, description="the bucket's region; boto3's own setting if absent")
    s3_path_style: bool | None = Field(
        default=None, description="the bucket in the path, not in the host name; if absent, with an endpoint"
    )
    s3_sse: Literal["AES256", "aws:kms"] | None = Field(
        default=None, description="server-side encryption that every object must have; the bucket's own if absent"
    )
    s3_kms_key_id: str | None = Field(default=None, description="key of aws:kms; the account's own if absent")
    #: Raw logs are mostly where the store is.
    feed_s3_endpoint: str | None = Field(
        default=None, description="endpoint of the S3 server of raw logs; POSTCLICK_S3_ENDPOINT if absent"
    )
    feed_s3_region: str | None = Field(
        default=None, description="region of the buckets of raw logs; on the store's server the store's if absent"
    )
    feed_s3_path_style: bool | None = Field(
        default=None, description="as POSTCLICK_S3_PATH_STYLE, for raw logs; if absent, with an endpoint"
    )
    s3_attempts: int = Field(default=5, ge=1, le=20, description="how often a request is tried in all")
    #: Unbounded, downloads of a year of days would fill a pod's disk; a bound below one window would fetch it anew.
    cache_max_gib: float | None = Field(
        default=None, gt=0, description="most that downloads may take; unbounded if absent"
    )
    #: What a run has fetched it may read until it ends.
    cache_keep_hours: float = Field(default=6, gt=0, description="downloads used within these are never removed")

    @field_validator("store")
    @classmethod
    def _s3_address(cls, value: str | None) -> str | None:
        if value is not None and not (value.startswith("s3://") and len(value) > len("s3://")):
            raise ValueError("expected s3://bucket or s3://bucket/prefix; unset it to store in POSTCLICK_HOME")
        return value

    def object_store(self, *, dataset: str, home: Path) -> ObjectStore:
        """The store of one dataset, whose folder on this machine is `home`."""
        if self.store is None:
            return LocalObjectStore(home / "store")
        from infra.s3_object_store import S3ObjectStore

        bucket, _, prefix = self.store.removeprefix("s3://").partition("/")
        bound: dict[str, Any] = (
            {} if self.cache_max_gib is None else {"cache_max_bytes": int(self.cache_max_gib * 1024**3)}
        )
        return S3ObjectStore(
            bucket=bucket,
            prefix="/".join(part for part in (prefix.strip("/"), dataset) if part),
            cache=home / "cache" / "s3",
            endpoint_url=self.s3_endpoint,
            region=self.s3_region,
            path_style=_path_style(self.s3_path_style, self.s3_endpoint),
            attempts=self.s3_attempts,
            sse=self.s3_sse,
            sse_kms_key_id=self.s3_kms_key_id,
            cache_keep=timedelta(hours=self.cache_keep_hours),
            **bound,
        )

    def raw_feed(self) -> S3Feed:
        """What raw logs in buckets are read with: the store's server, unless it is told another."""
        endpoint = self.feed_s3_endpoint or self.s3_endpoint
        # Of another server than the store's nothing of the store's is known.
        same_server = endpoint == self.s3_endpoint
        path_style = self.s3_path_style if self.feed_s3_path_style is None and same_server else self.feed_s3_path_style
        return S3Feed(
            endpoint_url=endpoint,
            region=self.feed_s3_region or (self.s3_region if same_server else None),
            path_style=_path_style(path_style, endpoint),
            attempts=self.s3_attempts,
        )


def _path_style(asked: bool | None, endpoint: str | None) -> bool:
    """Servers other than AWS rarely have a host name per bucket."""
    return endpoint is not None if asked is None else asked
