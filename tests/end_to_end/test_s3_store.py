"""The same chain with its store on an S3 server: only a setting differs, and the models are the same bit for bit."""

import os
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import pytest

from assets.models import model_key, read_pointer
from infra.s3_object_store import S3ObjectStore

pytestmark = pytest.mark.end_to_end
AS_OF = date(2026, 1, 8)
SECRET = "secret-of-the-tests-0123456789"


@pytest.fixture
def bucket(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """The endpoint of a moto server that has the bucket `team`."""
    boto3 = pytest.importorskip("boto3", reason="boto3 is not installed: pip install -e .[s3]")
    moto = pytest.importorskip("moto.server", reason="moto[server] is not installed: pip install -e .[dev]")
    credentials = {"ACCESS_KEY_ID": "tests", "SECRET_ACCESS_KEY": SECRET, "DEFAULT_REGION": "us-east-1"}
    for name, value in credentials.items():
        monkeypatch.setenv(f"AWS_{name}", value)
    server = moto.ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    endpoint = f"http://{host}:{port}"
    boto3.client("s3", endpoint_url=endpoint).create_bucket(Bucket="team")
    yield endpoint
    server.stop()


def test_the_chain_on_s3_makes_the_same_models(
    chain: tuple[Any, Any], make_home: Callable[[str], Any], bucket: str, tmp_path: Path
) -> None:
    local, remote = chain[0], make_home("on-s3")
    store = S3ObjectStore("team", cache=tmp_path / "cache", prefix="shop", endpoint_url=bucket, path_style=True)
    remote.platform = replace(remote.platform, objects=store)

    assert remote.data([AS_OF - timedelta(days=age) for age in (3, 2, 1, 0)]).fault is None
    assert remote.models(AS_OF).fault is None

    model_id = read_pointer(remote.platform, AS_OF)
    assert model_id == read_pointer(local.platform, AS_OF)
    weights = [
        home.platform.artifacts.open(model_key(model_id)).path("weights.safetensors").read_bytes()
        for home in (local, remote)
    ]
    assert weights[0] == weights[1]
    assert not list(remote.platform.cache_root.rglob("receipt.json")), "what is stored went to the bucket"


def test_no_credential_lands_in_a_file(make_home: Callable[[str], Any], bucket: str, tmp_path: Path) -> None:
    home = make_home("secretive")
    store = S3ObjectStore("team", cache=tmp_path / "cache", prefix="secretive", endpoint_url=bucket, path_style=True)
    home.platform = replace(home.platform, objects=store)
    assert home.data([AS_OF]).fault is None
    assert os.environ["AWS_SECRET_ACCESS_KEY"] == SECRET
    folders = [home.settings.home, tmp_path]
    written = [path for folder in folders for path in folder.rglob("*") if path.is_file()]
    assert written
    assert not [path for path in written if SECRET.encode() in path.read_bytes()]
