"""What raw logs in buckets are read with: the store's server unless told another, and nothing for logs in folders."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from assets.raw_feed import BucketFeed
from ml.data.dataset import DatasetSpec
from ml.data.dataset_file import DatasetInvalid
from orchestration.build import build_platform
from orchestration.settings import SettingsInvalid, read_settings

TABLE = {"format": "csv", "time": "at", "impression_id": "id", "click": "clicked", "conversion": "bought"}
AWS = "https://s3.eu-west-1.amazonaws.com"


@pytest.fixture
def log_at(spec: DatasetSpec) -> Callable[[str], DatasetSpec]:
    """log_at(path): a wide log at this place."""

    def make(path: str) -> DatasetSpec:
        source = {"kind": "wide_log", "table": TABLE | {"path": path}}
        content = spec.model_dump(mode="json") | {"source": source, "attribution": {"conversion_window_days": 0}}
        return DatasetSpec.model_validate(content)

    return make


def test_only_a_log_in_a_bucket_has_a_feed(log_at: Callable[[str], DatasetSpec], spec: DatasetSpec):
    settings = read_settings()
    assert build_platform(settings, spec).feed is None
    assert build_platform(settings, log_at("/data/{day}.csv")).feed is None
    assert isinstance(build_platform(settings, log_at("s3://logs/{day}.csv")).feed, BucketFeed)


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ({}, (None, "eu-north-1", "auto")),
        ({"s3_endpoint": "http://s"}, ("http://s", "us-east-1", "path")),
        ({"s3_endpoint": "http://s", "s3_path_style": False, "s3_region": "r"}, ("http://s", "r", "auto")),
        ({"s3_region": "eu-west-1", "feed_s3_region": "eu-west-2"}, (None, "eu-west-2", "auto")),
        (
            {"s3_endpoint": "http://s", "s3_region": "r", "s3_path_style": False, "feed_s3_endpoint": "http://f"},
            ("http://f", "us-east-1", "path"),
        ),
        (
            {"s3_endpoint": "http://s", "feed_s3_endpoint": AWS, "feed_s3_region": "eu-west-1"}
            | {"feed_s3_path_style": False},
            (AWS, "eu-west-1", "auto"),
        ),
    ],
)
def test_the_feed_is_where_the_store_is_unless_it_is_said_to_be_elsewhere(
    monkeypatch: pytest.MonkeyPatch, given: dict[str, Any], expected: tuple[str | None, str, str]
):
    pytest.importorskip("boto3", reason="boto3 is not installed: pip install -e .[s3]")
    monkeypatch.setenv("AWS_DEFAULT_REGION", "eu-north-1")
    client = read_settings({"s3_attempts": 7, **given}).raw_feed()._client
    endpoint, region, style = expected
    found = client.meta.endpoint_url
    assert found == endpoint if endpoint else found.endswith("amazonaws.com")
    assert (client.meta.region_name, client.meta.config.s3["addressing_style"]) == (region, style)
    assert client.meta.config.retries["total_max_attempts"] == 7


def test_without_boto3_only_what_lies_in_a_bucket_is_refused(
    log_at: Callable[[str], DatasetSpec], monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    build_platform(read_settings(), log_at("/data/{day}.csv"))
    for store, path in ((None, "s3://logs/{day}.csv"), ("s3://store", "/data/{day}.csv")):
        with pytest.raises(SettingsInvalid, match=r"boto3, which is not installed: pip install 'postclick\[s3\]'"):
            build_platform(read_settings({"store": store}), log_at(path))


def test_the_folder_of_raw_files_may_lie_in_a_bucket(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("POSTCLICK_DATA", "s3://logs/public/")
    spec: Any = read_settings({"dataset": "expedia"}).dataset_spec()
    assert spec.source.table.path == "s3://logs/public/expedia_icdm2013/expedia_train_head10k.csv.gz"
    with pytest.raises(
        DatasetInvalid, match=r"source\.train_skeleton: .* a folder of this machine only, not from s3://"
    ):
        read_settings({"dataset": "ali_ccp"}).dataset_spec()
    assert read_settings({"data": "x"}).data_folder() == str(Path("x").resolve())
    assert read_settings({"data": None}).data_folder() is None


@pytest.mark.parametrize("path", ["gs://logs/{day}.csv", "s3://logs"])
def test_a_place_that_cannot_be_read_is_named_with_its_place_in_the_file(
    write_dataset: Callable[..., str], tmp_path: Path, path: str
):
    dataset = Path(write_dataset())
    text = dataset.read_text(encoding="utf-8")
    table = "\n".join(f"    {name}: {value}" for name, value in (TABLE | {"path": path}).items())
    begin, end = text.index("source:"), text.index("fields:")
    dataset.write_text(f"{text[:begin]}source:\n  kind: wide_log\n  table:\n{table}\n{text[end:]}", encoding="utf-8")
    with pytest.raises(DatasetInvalid, match=r"source\.table\.path: .*s3://bucket/path.*found '"):
        read_settings({"dataset": str(dataset)}).dataset_spec()
