"""Object stores for the tests of infra: a local folder, moto and Ceph on loopback, and faults before them."""

import json
import uuid
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from pydantic import SecretStr

from infra.local_object_store import LocalObjectStore
from infra.object_store import ObjectStore
from infra.s3_object_store import S3ObjectStore
from infra.s3_policy import as_bucket_policy, object_store_policy
from tests.infra.ceph_server import KMS_KEY_IDS, Ceph, CephUser, ceph_server, missing_parts
from tests.infra.fault_proxy import FaultProxy
from tests.infra.large_uploads import SMALL_PART_BYTES, four_parts
from tests.infra.moto_server import moto_server
from tests.infra.racing import all_at_once

if TYPE_CHECKING:
    from tests.infra.kubernetes_server import KubernetesServer

PREFIX = "team/postclick"


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """A test that asks for Ceph is the cluster's: it takes half a minute to start."""
    for item in items:
        if "ceph" in getattr(item, "fixturenames", ()):
            item.add_marker(pytest.mark.cluster)


@pytest.fixture(scope="session")
def s3_endpoint() -> Iterator[str]:
    pytest.importorskip("moto.server", reason="moto[server] is not installed: pip install -e .[dev]")
    pytest.importorskip("boto3", reason="boto3 is not installed: pip install -e .[s3]")
    with moto_server() as endpoint:
        yield endpoint


@pytest.fixture(scope="session")
def ceph(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Ceph]:
    pytest.importorskip("boto3", reason="boto3 is not installed: pip install -e .[s3]")
    if missing := missing_parts():
        pytest.skip(f"no Ceph on this machine: {', '.join(missing)} not found (Debian: ceph radosgw)")
    with ceph_server(tmp_path_factory.mktemp("ceph")) as server:
        yield server


@pytest.fixture(scope="session")
def ceph_owner(ceph: Ceph) -> CephUser:
    """Owns the buckets."""
    return ceph.user("owner")


@pytest.fixture(scope="session")
def ceph_worker(ceph: Ceph) -> CephUser:
    """Has no rights but those that a bucket's policy gives."""
    return ceph.user("worker")


@pytest.fixture
def connect(tmp_path: Path) -> Callable[..., S3ObjectStore]:
    """A store on an endpoint; a bucket of its own unless `bucket` is given."""

    def make(endpoint: str, *, bucket: str | None = None, user: CephUser | None = None, **settings: Any):
        store = S3ObjectStore(
            bucket or f"bucket-{uuid.uuid4()}",
            cache=settings.pop("cache", tmp_path / "cache"),
            prefix=settings.pop("prefix", PREFIX),
            endpoint_url=endpoint,
            path_style=True,
            access_key_id=user.access_key_id if user else "test-access-key",
            secret_access_key=SecretStr(user.secret_access_key if user else "test-secret-key"),
            **settings,
        )
        if bucket is None:
            store._client.create_bucket(Bucket=store.bucket)
        return store

    return make


@pytest.fixture
def s3_store(s3_endpoint: str, connect: Callable[..., S3ObjectStore]) -> S3ObjectStore:
    return connect(s3_endpoint)


@pytest.fixture(scope="session")
def ceph_bucket(ceph: Ceph, ceph_owner: CephUser, ceph_worker: CephUser) -> str:
    """The owner's bucket, in which the worker has the shipped policy's rights below PREFIX, and no more."""
    import boto3

    client = boto3.client(
        "s3",
        endpoint_url=ceph.endpoint,
        region_name="us-east-1",
        aws_access_key_id=ceph_owner.access_key_id,
        aws_secret_access_key=ceph_owner.secret_access_key,
    )
    client.create_bucket(Bucket="owners")
    policy = as_bucket_policy(object_store_policy("owners", PREFIX), principal_arn=ceph_worker.arn)
    client.put_bucket_policy(Bucket="owners", Policy=json.dumps(policy))
    return "owners"


@pytest.fixture
def on_ceph(
    ceph: Ceph, ceph_bucket: str, ceph_worker: CephUser, connect: Callable[..., S3ObjectStore]
) -> Callable[..., S3ObjectStore]:
    """One place below PREFIX, as the worker, with other settings."""
    return partial(connect, ceph.endpoint, bucket=ceph_bucket, user=ceph_worker, prefix=f"{PREFIX}/{uuid.uuid4()}")


@pytest.fixture
def ceph_store(on_ceph: Callable[..., S3ObjectStore]) -> S3ObjectStore:
    return on_ceph()


@pytest.fixture
def encrypted_ceph_store(on_ceph: Callable[..., S3ObjectStore]) -> S3ObjectStore:
    return on_ceph(sse="aws:kms", sse_kms_key_id=KMS_KEY_IDS[0])


@pytest.fixture
def local(tmp_path: Path) -> LocalObjectStore:
    return LocalObjectStore(tmp_path / "objects")


@pytest.fixture(params=["local", "s3", pytest.param("ceph", marks=pytest.mark.cluster)])
def store(request: pytest.FixtureRequest) -> ObjectStore:
    return request.getfixturevalue("local" if request.param == "local" else f"{request.param}_store")


@pytest.fixture
def small_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    """The smallest parts that S3 takes, and no long pauses."""
    monkeypatch.setattr("infra.s3_object_store.SINGLE_PUT_BYTES", SMALL_PART_BYTES)
    monkeypatch.setattr("infra.s3_uploads.PART_BYTES", SMALL_PART_BYTES)
    monkeypatch.setattr("infra.s3_downloads.RANGE_BYTES", SMALL_PART_BYTES)
    monkeypatch.setattr("infra.s3_downloads.LONGEST_PAUSE_SECONDS", 0.01)


@pytest.fixture
def large(tmp_path: Path) -> Path:
    """Four small parts, the last one short."""
    return four_parts(tmp_path)


@pytest.fixture(params=["s3", pytest.param("ceph", marks=pytest.mark.cluster)])
def proxy(request: pytest.FixtureRequest) -> Iterator[FaultProxy]:
    """Plays faults before moto and before Ceph."""
    endpoint = (
        request.getfixturevalue("s3_endpoint") if request.param == "s3" else request.getfixturevalue("ceph").endpoint
    )
    with FaultProxy(endpoint).running() as proxy:
        yield proxy


@pytest.fixture
def reconnect(
    request: pytest.FixtureRequest, proxy: FaultProxy, connect: Callable[..., S3ObjectStore]
) -> Callable[..., S3ObjectStore]:
    """The same store through `proxy`, with other settings."""
    if proxy.upstream == request.getfixturevalue("s3_endpoint"):
        return partial(connect, proxy.endpoint, bucket=connect(proxy.upstream).bucket)
    bucket, worker = request.getfixturevalue("ceph_bucket"), request.getfixturevalue("ceph_worker")
    return partial(connect, proxy.endpoint, bucket=bucket, user=worker, prefix=f"{PREFIX}/{uuid.uuid4()}")


@pytest.fixture
def proxied(reconnect: Callable[..., S3ObjectStore]) -> S3ObjectStore:
    """A store through `proxy`."""
    return reconnect()


@pytest.fixture
def race() -> Callable[[list[Callable[[], object]]], list[object]]:
    return all_at_once


@pytest.fixture(scope="session")
def kubernetes(tmp_path_factory: pytest.TempPathFactory) -> Iterator["KubernetesServer"]:
    """A control plane with the accounts of the manifests; tests leave nothing in its namespace `postclick`."""
    from tests.infra.kubernetes_manifests import needs_kubectl
    from tests.infra.kubernetes_objects import with_accounts
    from tests.infra.kubernetes_server import missing_part

    if reason := missing_part():
        pytest.skip(reason)
    needs_kubectl()
    with with_accounts(tmp_path_factory.mktemp("kubernetes")) as server:
        yield server
