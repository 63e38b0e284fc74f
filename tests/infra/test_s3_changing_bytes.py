"""Bytes that change or are lost while they go to and from moto and Ceph: found, or whole in one version."""

import contextlib
import hashlib
import random
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from infra.object_keys import ObjectDamaged
from infra.s3_object_store import S3ObjectStore, S3Refused
from infra.s3_uploads import FileChanged
from tests.infra.fault_proxy import Fault, FaultProxy, Request, a_completion, a_get, a_part, a_put, times
from tests.infra.large_uploads import litter, uploads

pytestmark = pytest.mark.usefixtures("small_parts")


def test_a_file_that_grows_while_it_is_uploaded_is_refused(proxied: S3ObjectStore, proxy: FaultProxy, large: Path):
    def grow(request: Request) -> None:
        if "partNumber=2" in request.path:
            with large.open("ab") as file:
                file.write(b"more")

    proxy.fault = grow
    with pytest.raises(FileChanged, match=r"large\.bin was written to while"):
        proxied.put_file("large", large)
    assert uploads(proxied) == []
    assert not proxied.exists("large")


def test_a_body_that_changed_on_its_way_in_is_found(proxied: S3ObjectStore, proxy: FaultProxy, large: Path):
    """Ceph checks the signed sha256 and refuses; moto, which checks no signature, stores it, and reading finds it."""
    proxied.put_bytes("kept", b"before")
    proxy.fault = times(1_000, Fault(flip=True), when=a_put)

    def put_and_get() -> None:
        proxied.put_bytes("kept", b"after")
        proxied.get_bytes("kept")

    with pytest.raises((S3Refused, ObjectDamaged), match=r"XAmzContentSHA256Mismatch|is damaged") as caught:
        put_and_get()
    if caught.type is S3Refused:
        assert proxied.get_bytes("kept").data == b"before"
        with pytest.raises(S3Refused, match="nothing was written"):
            proxied.put_file("large", large)
        assert uploads(proxied) == []


def test_bytes_that_the_server_lost_are_missed(proxied: S3ObjectStore):
    """An answer that is whole by its own account, of an object that is shorter than what was written."""
    digest = hashlib.sha256(b"all of it").hexdigest()
    proxied._client.put_object(
        Bucket=proxied.bucket, Key=proxied.prefix + "key", Body=b"all", Metadata={"sha256": digest}
    )
    for read in (proxied.get_bytes, proxied.fetch_file):
        with pytest.raises(ObjectDamaged, match=f"expected sha256 {digest}"):
            read("key")
    assert litter(proxied) == []


def test_an_object_overwritten_while_it_is_fetched_comes_whole(
    proxied: S3ObjectStore, proxy: FaultProxy, large: Path, connect: Callable[..., S3ObjectStore]
):
    proxied.put_file("large", large)
    overwriting = times(1, Fault(), when=lambda request: a_get(request) and "large" in request.path)

    def overwrite(request: Request) -> Fault | None:
        if fault := overwriting(request):
            proxied.put_bytes("large", b"new")
            return fault
        return None

    proxy.fault = overwrite
    assert proxied.fetch_file("large").read_bytes() == b"new"


def test_a_reader_never_sees_half_an_object(proxied: S3ObjectStore, proxy: FaultProxy, large: Path):
    """One writer alternates two contents while every third request for a part or its end fails."""
    contents = [large.read_bytes(), large.read_bytes()[::-1]]
    other = large.with_name("other.bin")
    other.write_bytes(contents[1])
    proxied.put_file("large", large)
    chance = random.Random(5)

    def cut(request: Request) -> Fault | None:
        if not (a_part(request) or a_completion(request)) or chance.random() > 0.3:
            return None
        return chance.choice([Fault(cut_after=100_000), Fault(answer=(503, "SlowDown")), Fault(lose_answer=True)])

    proxy.fault = cut
    done, seen = threading.Event(), []

    def poll() -> None:
        while not done.is_set():
            seen.append(proxied.fetch_file("large", fresh=True).read_bytes() in contents)
            time.sleep(0.01)

    reader = threading.Thread(target=poll)
    reader.start()
    try:
        for number in range(4):
            with contextlib.suppress(S3Refused):  # all attempts failed: that happens, half an object does not
                proxied.put_file("large", (large, other)[number % 2])
    finally:
        done.set()
        reader.join()
    assert seen
    assert all(seen)
