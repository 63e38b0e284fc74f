"""The platform that settings ask for: a local folder without more, S3 where a bucket is named."""

from pathlib import Path
from typing import Any

import pytest

from infra.object_store import LocalObjectStore
from ml.data.dataset import DatasetSpec
from orchestration.build import build_platform
from orchestration.settings import Settings, read_settings


def test_everything_lies_in_the_datasets_own_folder(settings: Settings, spec: DatasetSpec, tmp_path: Path):
    platform, home = build_platform(settings, spec), tmp_path / "home" / "tiny"
    assert isinstance(platform.objects, LocalObjectStore)
    for folder in (platform.feed_root, platform.cache_root, platform.tracking.folder, Path(platform.objects.location)):
        assert folder.parent == home
    assert (platform.threads, platform.device) == (1, "cpu")
    assert not platform.tracking.online


@pytest.mark.parametrize(
    ("store", "bucket", "prefix"), [("s3://logs", "logs", "tiny"), ("s3://logs/a/b/", "logs", "a/b/tiny")]
)
def test_a_bucket_is_used_where_one_is_named(
    spec: DatasetSpec, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, store: str, bucket: str, prefix: str
):
    s3 = pytest.importorskip("infra.s3_object_store", reason="boto3 is not installed: pip install -e .[s3]")
    monkeypatch.setenv("AWS_DEFAULT_REGION", "eu-central-1")
    objects: Any = build_platform(read_settings({"home": tmp_path, "store": store}), spec).objects
    assert isinstance(objects, s3.S3ObjectStore)
    assert objects.bucket == bucket
    assert objects.location.rstrip("/").endswith(prefix)
