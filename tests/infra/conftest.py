"""Object stores for the tests of infra: a local folder, a moto S3 server on loopback, and one that dies on demand."""

import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from pydantic import SecretStr

from infra.object_store import LocalObjectStore, ObjectStore
from infra.s3_object_store import S3ObjectStore


@pytest.fixture(scope="session")
def s3_endpoint() -> Iterator[str]:
    server_module = pytest.importorskip("moto.server", reason="moto[server] is not installed: pip install -e .[dev]")
    pytest.importorskip("boto3", reason="boto3 is not installed: pip install -e .[s3]")
    from moto.s3.responses import S3Response

    # Real servers check a condition and write in one step; moto does it in two, on a thread per request.
    one_at_a_time, put_object = threading.Lock(), S3Response.put_object

    def atomic_put_object(self: S3Response) -> object:
        with one_at_a_time:
            return put_object(self)

    server = server_module.ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    S3Response.put_object = atomic_put_object  # type: ignore[method-assign,assignment]
    try:
        host, port = server.get_host_and_port()
        yield f"http://{host}:{port}"
    finally:
        S3Response.put_object = put_object  # type: ignore[method-assign]
        server.stop()


@pytest.fixture
def s3_store(s3_endpoint: str, tmp_path: Path, request: pytest.FixtureRequest) -> S3ObjectStore:
    store = S3ObjectStore(
        f"bucket-{abs(hash(request.node.nodeid))}",
        cache=tmp_path / "cache",
        prefix="team/postclick",
        endpoint_url=s3_endpoint,
        path_style=True,
        access_key_id="test-access-key",
        secret_access_key=SecretStr("test-secret-key"),
    )
    store._client.create_bucket(Bucket=store.bucket)
    return store


@pytest.fixture(params=["local", "s3"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> ObjectStore:
    if request.param == "local":
        return LocalObjectStore(tmp_path / "objects")
    return request.getfixturevalue("s3_store")


@pytest.fixture
def race() -> Callable[[list[Callable[[], object]]], list[object]]:
    """Starts all calls at once, each on a thread; returns each one's result or the exception it raised, in order."""

    def run(calls: list[Callable[[], object]]) -> list[object]:
        start, outcomes = threading.Barrier(len(calls)), [None] * len(calls)

        def contend(place: int) -> None:
            start.wait()
            try:
                outcomes[place] = calls[place]()  # type: ignore[call-overload]
            except Exception as error:
                outcomes[place] = error  # type: ignore[call-overload]

        threads = [threading.Thread(target=contend, args=(place,)) for place in range(len(calls))]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        return list(outcomes)

    return run
