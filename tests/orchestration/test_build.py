"""The platform that settings ask for: a local folder without more, S3 where a bucket is named."""

from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from assets.resources import Prices
from infra.local_object_store import LocalObjectStore
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
    assert platform.prices == Prices()


def test_prices_are_those_of_the_settings(spec: DatasetSpec, monkeypatch: pytest.MonkeyPatch):
    for name, value in (("CPU_HOUR_PRICE", "0.04"), ("GPU_HOUR_PRICE", "2.5"), ("CURRENCY", "EUR")):
        monkeypatch.setenv(f"POSTCLICK_{name}", value)
    prices = build_platform(read_settings(), spec).prices
    assert prices == Prices(per_cpu_hour=0.04, per_gpu_hour=2.5, currency="EUR")


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


def test_how_a_server_is_spoken_to_is_a_setting(spec: DatasetSpec, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    s3 = pytest.importorskip("infra.s3_object_store", reason="boto3 is not installed: pip install -e .[s3]")
    made: list[dict[str, Any]] = []
    monkeypatch.setattr(s3, "S3ObjectStore", lambda **given: made.append(given))
    given = {"S3_REGION": "eu-west-1", "S3_SSE": "aws:kms", "S3_KMS_KEY_ID": "k", "S3_ATTEMPTS": "9"}
    for name, value in {**given, "CACHE_MAX_GIB": "1.5", "CACHE_KEEP_HOURS": "2"}.items():
        monkeypatch.setenv(f"POSTCLICK_{name}", value)
    build_platform(read_settings({"home": tmp_path, "store": "s3://logs"}), spec)
    [asked] = made
    expected = {"region": "eu-west-1", "sse": "aws:kms", "sse_kms_key_id": "k", "attempts": 9, "path_style": False}
    assert asked.items() >= {**expected, "cache_max_bytes": 3 * 1024**3 // 2, "cache_keep": timedelta(hours=2)}.items()


@pytest.mark.parametrize(("endpoint", "path_style", "expected"), [("http://s", None, True), ("http://s", False, False)])
def test_a_server_of_ones_own_is_addressed_by_path_unless_said(
    spec: DatasetSpec, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, endpoint: str, path_style: Any, expected: bool
):
    s3 = pytest.importorskip("infra.s3_object_store", reason="boto3 is not installed: pip install -e .[s3]")
    made: list[dict[str, Any]] = []
    monkeypatch.setattr(s3, "S3ObjectStore", lambda **given: made.append(given))
    values = {"home": tmp_path, "store": "s3://logs", "s3_endpoint": endpoint, "s3_path_style": path_style}
    build_platform(read_settings(values), spec)
    assert (made[0]["path_style"], "cache_max_bytes" in made[0]) == (expected, False)
