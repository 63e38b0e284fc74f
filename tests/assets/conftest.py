"""A tiny generated log, a platform on a temporary folder, runs of data assets in this process; no child trains here."""

import dataclasses
import hashlib
import sys
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import dagster as dg
import pytest
import yaml

from assets.chain import build_chain
from assets.partitions import DATA_GROUP
from assets.resources import Platform, RefusingIOManager, Tracking
from data_checks.receipts import Receipt
from infra.local_object_store import LocalObjectStore
from infra.object_store import ObjectStore
from ml.data.dataset import DatasetSpec
from tests.infra.conftest import connect, s3_endpoint

__all__ = ["connect", "s3_endpoint"]  # fixtures, which nothing here calls

CheckHistory = Callable[[dg.DagsterInstance, str, str], dict[str | None, list[bool]]]


@pytest.fixture(scope="session")
def make_spec() -> Callable[..., DatasetSpec]:
    """make_spec(faults=…, **sections): the tiny log with faults planted and sections of its spec changed."""

    def make(*, faults: Sequence[dict[str, Any]] = (), **sections: Any) -> DatasetSpec:
        content = yaml.safe_load((Path(__file__).parent / "tiny.yaml").read_text(encoding="utf-8"))
        if faults:
            content["source"]["config"]["faults"] = list(faults)
        for name, section in sections.items():
            merged = isinstance(section, dict) and name != "source"
            content[name] = {**content[name], **section} if merged else section
        return DatasetSpec.model_validate(content)

    return make


@pytest.fixture
def spec(make_spec: Callable[..., DatasetSpec]) -> DatasetSpec:
    return make_spec()


@pytest.fixture(scope="session")
def feed_root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Generated logs, shared by all tests: a feed's folder is named by its settings."""
    return tmp_path_factory.mktemp("feed")


@pytest.fixture(scope="session")
def make_platform(feed_root: Path) -> Callable[[Path], Platform]:
    """make_platform(folder): a platform that stores in `folder` and tracks by a program that does nothing."""

    def make(folder: Path) -> Platform:
        return Platform(
            objects=LocalObjectStore(folder / "store"),
            feed_root=feed_root,
            cache_root=folder / "cache",
            child_environment={},
            threads=1,
            device="cpu",
            tracking=Tracking(
                project="tests",
                online=False,
                timeout_seconds=10,
                folder=folder / "tracking",
                environment={},
                command=(sys.executable, "-S", "-c", "pass"),
            ),
        )

    return make


@pytest.fixture
def platform(tmp_path: Path, make_platform: Callable[[Path], Platform]) -> Platform:
    return make_platform(tmp_path)


@pytest.fixture
def make_bench(
    platform: Platform,
    spec: DatasetSpec,
    tmp_path: Path,
    publish_day: Callable[..., Receipt],
    monkeypatch: pytest.MonkeyPatch,
) -> Callable[[type[Any]], Any]:
    """make_bench(Bench): experiments or searches on published days, whose children are stand-ins."""

    def make(kind: type[Any]) -> Any:
        # `python -m` looks in the working folder first, which is the repository.
        monkeypatch.chdir(tmp_path)
        return kind(platform, spec, tmp_path, publish_day)

    return make


@pytest.fixture
def shared_store(request: pytest.FixtureRequest, tmp_path: Path) -> Callable[[str], ObjectStore]:
    """shared_store(machine): one and the same store as a machine of this name sees it, with downloads of its own.

    A folder; with `kept_work.ON_BOTH` a test is run on S3 too.
    """
    if getattr(request, "param", "local") == "local":
        return lambda _: LocalObjectStore(tmp_path / "objects")
    endpoint, make = request.getfixturevalue("s3_endpoint"), request.getfixturevalue("connect")
    bucket = make(endpoint).bucket
    return lambda machine: make(endpoint, bucket=bucket, cache=tmp_path / machine / "s3")


@pytest.fixture
def machine(
    platform: Platform, shared_store: Callable[[str], ObjectStore], tmp_path: Path
) -> Callable[[str], Platform]:
    """machine(name): a platform with a disk of its own, whose store is shared and keeps what work leaves."""

    def make(name: str) -> Platform:
        return dataclasses.replace(
            platform, objects=shared_store(name), cache_root=tmp_path / name / "cache", folders_in_store=True
        )

    return make


@pytest.fixture
def instance() -> Iterator[dg.DagsterInstance]:
    with dg.DagsterInstance.ephemeral() as instance:
        yield instance


@pytest.fixture(scope="session")
def run_data() -> Callable[..., dg.ExecuteInProcessResult]:
    """run_data(platform, instance, spec, first, last=None): the data assets in one run of a range or of one day."""

    def run(
        platform: Platform, instance: dg.DagsterInstance, spec: DatasetSpec, first: date, last: date | None = None
    ) -> dg.ExecuteInProcessResult:
        definitions = dg.Definitions(
            assets=build_chain(spec),
            jobs=[dg.define_asset_job("data", selection=dg.AssetSelection.groups(DATA_GROUP))],
            resources={
                "platform": dg.ResourceDefinition.hardcoded_resource(platform),
                "io_manager": RefusingIOManager(),
            },
        )
        days: dict[str, Any] = {"partition_key": first.isoformat()}
        if last is not None:
            start, end = "dagster/asset_partition_range_start", "dagster/asset_partition_range_end"
            days = {"tags": {start: first.isoformat(), end: last.isoformat()}}
        days["run_config"] = {"loggers": {"console": {"config": {"log_level": "CRITICAL"}}}}
        job = definitions.resolve_job_def("data")
        return job.execute_in_process(instance=instance, raise_on_error=False, **days)

    return run


@pytest.fixture(scope="session")
def check_history() -> CheckHistory:
    """check_history(instance, asset, check) → the recorded verdicts by partition, newest first: what the UI shows."""

    def history(instance: dg.DagsterInstance, asset: str, check: str) -> dict[str | None, list[bool]]:
        key = dg.AssetCheckKey(dg.AssetKey(asset), check)
        verdicts: dict[str | None, list[bool]] = {}
        for record in instance.event_log_storage.get_asset_check_execution_history(key, limit=1000):
            event = record.event.dagster_event if record.event else None
            if event is not None and event.event_type_value == "ASSET_CHECK_EVALUATION":
                evaluation = event.asset_check_evaluation_data
                verdicts.setdefault(evaluation.partition, []).append(evaluation.passed)
        return verdicts

    return history


@pytest.fixture
def publish_day(platform: Platform, tmp_path: Path) -> Callable[..., Receipt]:
    """publish_day(day, verdict=…, content=…): a validated day without running the data assets."""

    def publish(day: date, *, verdict: str = "admitted", content: bytes = b"rows", admitted: int = 10) -> Receipt:
        folder = tmp_path / "published" / day.isoformat()
        folder.mkdir(parents=True, exist_ok=True)
        samples, receipt_file = folder / "samples.parquet", folder / "receipt.json"
        samples.write_bytes(content)
        receipt = make_receipt(day, verdict=verdict, content=content, admitted=admitted)
        receipt_file.write_bytes(receipt.canonical_json())
        files = {"samples.parquet": samples, "receipt.json": receipt_file}
        platform.artifacts.publish(f"validated_samples/{day}", files, metadata={"receipt_id": receipt.receipt_id})
        return receipt

    return publish


def make_receipt(day: date, *, verdict: str = "admitted", content: bytes = b"rows", admitted: int = 10) -> Receipt:
    return Receipt.model_validate(
        {
            "dataset": "tiny",
            "day": day,
            "input_version": "v1",
            "rules_version": "r1",
            "label_horizon": None,
            "events": None,
            "rows_in": admitted,
            "impressions": admitted,
            "admitted": admitted,
            "quarantined": 0,
            "bad_share": 0,
            "max_bad_share": 0.05,
            "clicks": 4,
            "conversions": 2,
            "mature": admitted,
            "verdict": verdict,
            "reasons": ("too few rows",) if verdict == "refused" else (),
            "rules": (),
            "content_sha256": hashlib.sha256(content).hexdigest(),
            "quarantine_sha256": hashlib.sha256(b"").hexdigest(),
        }
    )


@pytest.fixture
def at() -> Callable[[int], datetime]:
    """at(minute): a moment at which reviewers decide."""
    return lambda minute: datetime(2026, 1, 20, 9, minute, tzinfo=UTC)
