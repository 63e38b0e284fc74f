"""Raw logs in a bucket, through the real assets: the same samples and receipts as from a folder, faults told apart."""

import dataclasses
import shutil
from collections.abc import Callable
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import dagster as dg
import pytest
from pydantic import SecretStr

from assets.raw_feed import BucketFeed
from assets.raw_logs import build as build_raw
from assets.resources import Platform
from assets.step_pods import INFRASTRUCTURE_RETRIES, StepPods
from data_checks.receipts import Receipt
from infra.s3_errors import S3Refused
from infra.s3_feed import S3Feed
from infra.s3_object_store import S3ObjectStore
from ml.data.dataset import DatasetSpec
from ml.data.sources.generated import generate_streams
from ml.data.sources.tables import LandingRefused
from tests.infra.fault_proxy import Fault, FaultProxy, Request

DAYS = [date(2026, 1, 5) + timedelta(days=offset) for offset in range(4)]
Connect = Callable[..., S3ObjectStore]


def streams_of(spec: DatasetSpec, place: str, folder: Path) -> DatasetSpec:
    """The generated log of `spec`, as a log of streams that lies at `place` in the place of `folder`."""
    source = generate_streams(config=spec.source.config, days=DAYS, first=DAYS[0], root=folder)  # type: ignore[union-attr]
    content = source.model_dump(mode="json")
    for table in ("impressions", "clicks", "conversions"):
        content[table]["path"] = content[table]["path"].replace(str(folder), place)
    return DatasetSpec.model_validate(spec.model_dump(mode="json") | {"source": content})


@pytest.fixture
def store(s3_endpoint: str, connect: Connect) -> S3ObjectStore:
    """A store in a bucket that also has the feed."""
    return connect(s3_endpoint)


@pytest.fixture
def feed(s3_endpoint: str) -> Callable[..., S3Feed]:
    def make(endpoint: str = s3_endpoint) -> S3Feed:
        return S3Feed(
            endpoint_url=endpoint,
            path_style=True,
            attempts=1,
            access_key_id="test-access-key",
            secret_access_key=SecretStr("test-secret-key"),
        )

    return make


@pytest.fixture
def in_folder(spec: DatasetSpec, tmp_path: Path) -> DatasetSpec:
    return streams_of(spec, f"{tmp_path}/logs", tmp_path / "logs")


@pytest.fixture
def in_bucket(spec: DatasetSpec, in_folder: DatasetSpec, store: S3ObjectStore, tmp_path: Path) -> DatasetSpec:
    """The same log in the store's bucket, beside what is stored."""
    for path in (tmp_path / "logs").rglob("*.parquet"):
        name = f"logs/{path.relative_to(tmp_path / 'logs')}"
        store._client.put_object(Bucket=store.bucket, Key=name, Body=path.read_bytes())
    return streams_of(spec, f"s3://{store.bucket}/logs", tmp_path / "logs")


@pytest.fixture
def remote(platform: Platform, store: S3ObjectStore, feed: Callable[..., S3Feed], tmp_path: Path) -> Platform:
    return dataclasses.replace(platform, objects=store, feed=BucketFeed(feed()), cache_root=tmp_path / "remote")


def stored(platform: Platform, key: str, file: str) -> bytes:
    return platform.artifacts.open(key).path(file).read_bytes()


def test_a_log_that_moves_to_a_bucket_gives_the_same_samples_and_receipts(
    platform: Platform,
    remote: Platform,
    run_data: Callable[..., dg.ExecuteInProcessResult],
    in_folder: DatasetSpec,
    in_bucket: DatasetSpec,
    store: S3ObjectStore,
    tmp_path: Path,
):
    """A model's name is made of its receipts: it is the same, and nothing is trained again."""
    for one, spec in ((platform, in_folder), (remote, in_bucket)):
        with dg.DagsterInstance.ephemeral() as instance:
            assert run_data(one, instance, spec, DAYS[0], DAYS[2]).success
    shutil.rmtree(tmp_path / "logs")
    for day in DAYS[:3]:
        for key, file in (
            (f"raw_events/{day}", "impressions.parquet"),
            (f"raw_events/{day}", "clicks.parquet"),
            (f"raw_conversions/{day}", "conversions.parquet"),
            (f"validated_samples/{day}", "samples.parquet"),
        ):
            assert stored(remote, key, file) == stored(platform, key, file)
        receipts = [
            Receipt.model_validate_json(stored(one, f"validated_samples/{day}", "receipt.json"))
            for one in (platform, remote)
        ]
        assert receipts[0] == receipts[1]
        assert receipts[0].admitted
        arrived: Any = remote.artifacts.open(f"raw_events/{day}").manifest.metadata
        known: Any = platform.artifacts.open(f"raw_events/{day}").manifest.metadata
        for table in ("impressions", "clicks"):
            [file], [local] = arrived["arrived"][table]["files"], known["arrived"][table]["files"]
            assert file == local | {"path": local["path"].replace(f"{tmp_path}/logs", f"s3://{store.bucket}/logs")}
    assert not list((tmp_path / "remote").rglob("copies/*")), "copies and landed files are given back"


def test_the_disk_holds_one_day_of_a_range(
    remote: Platform, instance: dg.DagsterInstance, in_bucket: DatasetSpec, monkeypatch: pytest.MonkeyPatch
):
    held: list[set[str]] = []
    fetch = BucketFeed.fetch

    def look(feed: BucketFeed, pattern: str, *, into: Path) -> Any:
        copies = fetch(feed, pattern, into=into)
        files = [path for path in into.parents[1].rglob("*.parquet") if path.is_file()]
        held.append({part.removeprefix("day=") for path in files for part in path.parent.parts} & {*map(str, DAYS)})
        return copies

    monkeypatch.setattr(BucketFeed, "fetch", look)
    land(remote, instance, in_bucket, *DAYS)
    assert held == [{str(day)} for day in DAYS for _ in ("impressions", "clicks")]


def land(platform: Platform, instance: dg.DagsterInstance, spec: DatasetSpec, *days: date) -> dict[str | None, Any]:
    """Land the events of `days` in one run; the check of each."""
    [raw_events, _] = build_raw(spec, StepPods(retries=0))
    start, end = "dagster/asset_partition_range_start", "dagster/asset_partition_range_end"
    result = dg.materialize(
        [raw_events],
        tags={start: str(days[0]), end: str(days[-1])},
        instance=instance,
        resources={"platform": dg.ResourceDefinition.hardcoded_resource(platform)},
    )
    return {check.partition: check for check in result.get_asset_check_evaluations()}


def test_a_day_without_objects_or_with_an_archived_one_is_refused_and_the_others_land(
    remote: Platform,
    store: S3ObjectStore,
    instance: dg.DagsterInstance,
    in_bucket: DatasetSpec,
    feed: Callable[..., S3Feed],
    s3_endpoint: str,
):
    with FaultProxy(s3_endpoint).running() as proxy:
        archived = Fault(answer=(403, "InvalidObjectState"))

        def fault(request: Request) -> Fault | None:
            is_get = request.method == "GET" and "list-type" not in request.path
            return archived if is_get and f"clicks/day%3D{DAYS[1]}" in request.path else None

        proxy.fault = fault
        listed = store._client.list_objects_v2(Bucket=store.bucket, Prefix="logs/")["Contents"]
        [gone] = [entry["Key"] for entry in listed if f"impressions/day={DAYS[2]}" in entry["Key"]]
        store._client.delete_object(Bucket=store.bucket, Key=gone)
        store._client.put_object(Bucket=store.bucket, Key=gone.rpartition("/")[0] + "/", Body=b"")
        platform = dataclasses.replace(remote, feed=BucketFeed(feed(proxy.endpoint)))
        checks = land(platform, instance, in_bucket, *DAYS)
    assert [checks[str(day)].passed for day in DAYS] == [True, False, False, True]
    archived_words, gone_words = (str(checks[str(day)].description) for day in DAYS[1:3])
    assert "InvalidObjectState (HTTP 403): the object lies in an archive: restore it, then mat" in archived_words
    assert gone_words == (
        f"no file at s3://{store.bucket}/{gone.rpartition('/')[0]}/*.parquet; deliver the file, then materialize the "
        "day again"
    )


def test_a_server_that_is_away_fails_the_step_which_is_tried_again(
    remote: Platform, instance: dg.DagsterInstance, in_folder: DatasetSpec, in_bucket: DatasetSpec, feed: Any
):
    platform = dataclasses.replace(remote, feed=BucketFeed(feed("http://127.0.0.1:9")))
    before = land(remote, instance, in_bucket, DAYS[0])
    assert before[str(DAYS[0])].passed
    with pytest.raises(Exception, match=r"S3Refused: cannot list .* check the endpoint"):
        land(platform, instance, in_bucket, DAYS[0])
    assert "impressions.parquet" in remote.artifacts.open(f"raw_events/{DAYS[0]}").manifest.files, "as it was"
    policies = [asset.op.retry_policy for asset in build_raw(in_bucket)]
    assert [policy and policy.max_retries for policy in policies] == [INFRASTRUCTURE_RETRIES] * 2
    assert [asset.op.retry_policy for asset in build_raw(in_folder)] == [None, None]


def test_what_of_a_bucket_refuses_a_day_and_what_does_not(tmp_path: Path, store: S3ObjectStore, feed: Any):
    store._client.put_object(Bucket=store.bucket, Key="x" * 300, Body=b"1")
    with pytest.raises(LandingRefused, match="too long for a file: rename it, then materialize the day again"):
        BucketFeed(feed()).fetch(f"s3://{store.bucket}/x*", into=tmp_path)
    with pytest.raises(S3Refused, match="NoSuchBucket"):
        BucketFeed(feed()).fetch("s3://no-such-bucket/x*", into=tmp_path)
