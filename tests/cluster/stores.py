"""The S3 server of the cluster tests, moto or Ceph: prefixes for tests, copies of what one test made; no assertion."""

import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from unittest import mock

from assets.resources import Platform
from orchestration.build import build_platform
from orchestration.settings import read_settings
from tests.cluster.deployment import DATASET

BUCKET = "postclick"


@dataclass(frozen=True)
class Store:
    """A bucket on an S3 server; each test has a prefix of its own."""

    endpoint: str
    keys: Mapping[str, str]

    def settings(self, prefix: str) -> dict[str, str]:
        """The settings of pods that use this prefix."""
        return {"POSTCLICK_STORE": f"s3://{BUCKET}/{prefix}", "POSTCLICK_S3_ENDPOINT": self.endpoint}

    def create(self) -> None:
        """Make the bucket."""
        self._client().create_bucket(Bucket=BUCKET)

    def copy(self, source: str, target: str, *, without: Iterable[str] = ()) -> None:
        """Everything below one prefix also below another, but for what begins with one of `without`."""
        client = self._client()
        pages = client.get_paginator("list_objects_v2").paginate(Bucket=BUCKET, Prefix=f"{source}/")
        for page in pages:
            for found in page.get("Contents", []):
                rest = found["Key"].removeprefix(f"{source}/tiny/")
                if not rest.startswith(tuple(without)):
                    place = {"Bucket": BUCKET, "Key": found["Key"]}
                    client.copy_object(Bucket=BUCKET, Key=f"{target}/tiny/{rest}", CopySource=place)

    def upload(self, root: Path, prefix: str) -> None:
        """The files below `root`, as objects below the prefix."""
        client = self._client()
        for path in (path for path in root.rglob("*") if path.is_file()):
            client.upload_file(str(path), BUCKET, f"{prefix}/{path.relative_to(root).as_posix()}")

    def platform(self, prefix: str, home: Path) -> Platform:
        """The platform that reads what the pods stored below the prefix."""
        overrides = {
            "store": f"s3://{BUCKET}/{prefix}",
            "s3_endpoint": self.endpoint,
            "home": home,
            "dataset": str(DATASET),
            "executor": "in_process",
            "wandb_api_key": None,
            "dagster_home": None,
        }
        settings = read_settings(overrides)
        with mock.patch.dict(os.environ, {**self.keys, "AWS_DEFAULT_REGION": "us-east-1"}):
            return build_platform(settings, settings.dataset_spec())

    def unfinished_uploads(self) -> list[Any]:
        """Multipart uploads that nobody ended."""
        return self._client().list_multipart_uploads(Bucket=BUCKET).get("Uploads", [])

    def _client(self) -> Any:
        import boto3

        return boto3.client(
            "s3",
            endpoint_url=self.endpoint,
            region_name="us-east-1",
            aws_access_key_id=self.keys["AWS_ACCESS_KEY_ID"],
            aws_secret_access_key=self.keys["AWS_SECRET_ACCESS_KEY"],
        )
