"""What a killed process leaves in a bucket: no half object ever, no parts after SIGTERM, parts swept after SIGKILL."""

import json
import random
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from datetime import timedelta
from functools import partial
from pathlib import Path

import pytest

from infra.s3_object_store import S3ObjectStore
from infra.s3_uploads import sweep_abandoned
from tests.infra.fault_proxy import FaultProxy, Request
from tests.infra.large_uploads import SMALL_PART_BYTES, uploads

PROGRAM = """
import json, signal, sys
from pathlib import Path
from pydantic import SecretStr
from infra import s3_object_store, s3_uploads
s3_object_store.SINGLE_PUT_BYTES = s3_uploads.PART_BYTES = 5 << 20
signal.signal(signal.SIGINT, signal.default_int_handler)  # what a shell starts behind it ignores it
settings = json.loads(sys.stdin.readline())
store = s3_object_store.S3ObjectStore(
    settings.pop("bucket"), cache=Path(settings.pop("cache")), secret_access_key=SecretStr(settings.pop("secret")),
    path_style=True, **settings,
)
for path in sys.argv[1:]:
    store.put_file("large", Path(path))
"""


@pytest.fixture
def upload(proxied: S3ObjectStore, proxy: FaultProxy, tmp_path: Path) -> Callable[..., subprocess.Popen[str]]:
    """Starts a process that puts files as the object `large`, one after the other."""

    def start(*paths: Path) -> subprocess.Popen[str]:
        credentials = proxied._client._request_signer._credentials
        settings = {
            "bucket": proxied.bucket,
            "prefix": proxied.prefix,
            "cache": str(tmp_path / "other-cache"),
            "endpoint_url": proxy.endpoint,
            "access_key_id": credentials.access_key,
            "secret": credentials.secret_key,
        }
        process = subprocess.Popen(
            [sys.executable, "-c", PROGRAM, *map(str, paths)],
            cwd=Path(__file__).parents[2],
            stdin=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        assert process.stdin is not None
        process.stdin.write(json.dumps(settings) + "\n")
        process.stdin.flush()
        return process

    return start


def kill_within_a_part(process: subprocess.Popen[str], number: signal.Signals, reached: threading.Event) -> int:
    assert reached.wait(60), "the upload never began"
    process.send_signal(number)
    time.sleep(0.1)
    return process.wait(60)


def slow_fourth_part(proxy: FaultProxy) -> threading.Event:
    """Holds the upload's fourth part up for a while; the event tells that it has come."""
    reached = threading.Event()

    def slow_part(sent: Request) -> None:
        if "partNumber=4" in sent.path:
            reached.set()
            time.sleep(0.5)

    proxy.fault = slow_part
    return reached


def test_sigterm_leaves_no_parts(proxied: S3ObjectStore, proxy: FaultProxy, large: Path, upload):
    proxied.put_bytes("large", b"old")
    reached = slow_fourth_part(proxy)
    assert kill_within_a_part(upload(large), signal.SIGTERM, reached) == 128 + signal.SIGTERM
    assert uploads(proxied) == []
    assert proxied.get_bytes("large").data == b"old"


def test_ctrl_c_leaves_no_parts(proxied: S3ObjectStore, proxy: FaultProxy, large: Path, upload):
    reached = slow_fourth_part(proxy)
    assert kill_within_a_part(upload(large), signal.SIGINT, reached) != 0
    assert uploads(proxied) == []
    assert not proxied.exists("large")


def test_what_sigkill_leaves_is_swept_once_it_is_old(
    request: pytest.FixtureRequest, proxied: S3ObjectStore, proxy: FaultProxy, large: Path, upload
):
    proxied.put_bytes("large", b"old")
    reached = slow_fourth_part(proxy)
    assert kill_within_a_part(upload(large), signal.SIGKILL, reached) == -signal.SIGKILL
    assert uploads(proxied) == [f"{proxied.prefix}large"]
    assert proxied.get_bytes("large").data == b"old"
    sweep = partial(sweep_abandoned, proxied._client, bucket=proxied.bucket, prefix=proxied.prefix)
    if request.node.callspec.params["proxy"] == "ceph":  # moto says of every upload that it began in 2010
        assert sweep() == 0, "it may still be running"
    assert sweep(older_than=timedelta(seconds=-5)) == 1
    assert uploads(proxied) == []


def test_a_store_sweeps_before_its_first_upload_in_parts(
    proxied: S3ObjectStore, large: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr("infra.s3_object_store.SINGLE_PUT_BYTES", SMALL_PART_BYTES)
    monkeypatch.setattr(sweep_abandoned, "__kwdefaults__", {"older_than": timedelta(seconds=-5)})
    abandoned = {"Bucket": proxied.bucket, "Key": f"{proxied.prefix}of-a-killed-process"}
    proxied._client.create_multipart_upload(**abandoned)
    proxied.put_file("large", large)
    assert uploads(proxied) == []
    proxied._client.create_multipart_upload(**abandoned)
    proxied.put_file("large", large)
    assert uploads(proxied) == [abandoned["Key"]], "once is enough"


def test_a_reader_sees_no_half_object_of_killed_writers(proxied: S3ObjectStore, proxy: FaultProxy, large: Path, upload):
    contents = [large.read_bytes(), large.read_bytes()[::-1]]
    other = large.with_name("other.bin")
    other.write_bytes(contents[1])
    proxied.put_file("large", large)
    pauses, seen, done = random.Random(7), [], threading.Event()

    def poll() -> None:
        while not done.is_set():
            seen.append(proxied.fetch_file("large", fresh=True).read_bytes() in contents)

    reader = threading.Thread(target=poll)
    reader.start()
    try:
        for _ in range(3):
            reached = threading.Event()
            proxy.fault = lambda request, reached=reached: reached.set() if "partNumber=" in request.path else None
            process = upload(other, large, other, large)
            assert reached.wait(60)
            time.sleep(pauses.uniform(0, 0.6))
            process.kill()
            process.wait()
    finally:
        done.set()
        reader.join()
    assert seen
    assert all(seen)
