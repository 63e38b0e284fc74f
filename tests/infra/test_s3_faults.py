"""Faults of servers and networks before moto and Ceph: the work ends right or with a clear error, and never by half."""

import contextlib
import hashlib
import random
import threading
import time
import traceback
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from pathlib import Path

import pytest

from infra.object_keys import ObjectDamaged, ObjectMissing
from infra.s3_object_store import ClockSkewed, CredentialsExpired, S3ObjectStore, S3Refused
from infra.s3_uploads import FileChanged
from tests.infra.fault_proxy import Fault, FaultProxy, Request, times

MEBIBYTE = 1 << 20


@pytest.fixture(autouse=True)
def small_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    """The smallest parts that S3 takes, and no long pauses."""
    monkeypatch.setattr("infra.s3_object_store.SINGLE_PUT_BYTES", 5 * MEBIBYTE)
    monkeypatch.setattr("infra.s3_uploads.PART_BYTES", 5 * MEBIBYTE)
    monkeypatch.setattr("infra.s3_downloads.RANGE_BYTES", 5 * MEBIBYTE)
    monkeypatch.setattr("infra.s3_downloads.LONGEST_PAUSE_SECONDS", 0.01)


@pytest.fixture
def large(tmp_path: Path) -> Path:
    """Four parts, the last one short."""
    path = tmp_path / "large.bin"
    path.write_bytes(random.Random(3).randbytes(17 * MEBIBYTE))
    return path


def a_put(request: Request) -> bool:
    return request.method == "PUT"


def a_get(request: Request) -> bool:
    return request.method == "GET" and "list-type" not in request.path


def a_part(request: Request) -> bool:
    return "partNumber=" in request.path


def a_completion(request: Request) -> bool:
    return request.method == "POST" and "uploadId=" in request.path


def uploads(store: S3ObjectStore) -> list[str]:
    answer = store._client.list_multipart_uploads(Bucket=store.bucket, Prefix=store.prefix)
    return [upload["Key"] for upload in answer.get("Uploads", ())]


def litter(store: S3ObjectStore) -> list[Path]:
    return [path for path in store.cache.rglob("*") if path.is_file() and path.name != ".lock"]


def test_five_percent_of_503_are_not_noticed(proxied: S3ObjectStore, proxy: FaultProxy):
    chance, drawing = random.Random(4), threading.Lock()

    def now_and_then(request: Request) -> Fault | None:
        with drawing:
            return Fault(answer=(503, "SlowDown")) if chance.random() < 0.05 else None

    proxy.fault = now_and_then

    def work(number: int) -> bool:
        key, data = f"many/{number:03}", str(number).encode() * 50
        etag = proxied.create_bytes(key, data)
        return (
            proxied.get_bytes(key) == (data, etag)
            and proxied.exists(key)
            and proxied.fetch_file(key).read_bytes() == data
        )

    with ThreadPoolExecutor(8) as pool:
        assert all(pool.map(work, range(100)))
    assert len(list(proxied.list_keys("many/"))) == 100
    assert proxy.faults > 10


@pytest.mark.parametrize("fault", [Fault(cut_after=1_000_000), Fault(answer=(500, "InternalError"))])
def test_a_part_that_fails_once_is_sent_again(proxied: S3ObjectStore, proxy: FaultProxy, large: Path, fault: Fault):
    proxy.fault = times(1, fault, when=a_part)
    proxied.put_file("large", large)
    assert proxy.faults == 1
    assert proxied.fetch_file("large").read_bytes() == large.read_bytes()
    assert uploads(proxied) == []


def test_an_upload_that_is_cut_for_good_leaves_the_old_object_and_no_parts(
    reconnect: Callable[..., S3ObjectStore], proxy: FaultProxy, large: Path
):
    store = reconnect(attempts=2)
    store.put_bytes("large", b"old")
    proxy.fault = times(1_000, Fault(cut_after=1_000_000), when=lambda request: "partNumber=3" in request.path)
    with pytest.raises(S3Refused, match=r"cannot put 'large' in s3://.*check the endpoint, the network"):
        store.put_file("large", large)
    assert uploads(store) == []
    assert store.get_bytes("large").data == b"old"


def test_a_completion_whose_answer_was_lost_is_a_success(proxied: S3ObjectStore, proxy: FaultProxy, large: Path):
    proxy.fault = times(1, Fault(lose_answer=True), when=a_completion)
    proxied.put_file("large", large)
    assert proxy.faults == 1
    assert proxied.fetch_file("large").read_bytes() == large.read_bytes()


def test_a_second_completion_that_finds_the_upload_gone_looks_at_the_object(
    proxied: S3ObjectStore, proxy: FaultProxy, large: Path
):
    """AWS forgets an upload some time after it was put together; moto and Ceph remember it."""
    faults = iter([Fault(lose_answer=True), Fault(answer=(404, "NoSuchUpload"))])
    proxy.fault = lambda request: next(faults) if a_completion(request) else None
    proxied.put_file("large", large)
    assert proxied.fetch_file("large").read_bytes() == large.read_bytes()
    proxy.fault = lambda request: Fault(answer=(404, "NoSuchUpload")) if a_completion(request) else None
    for key in ("never-put-together", "of-other-bytes"):
        proxied.put_bytes("of-other-bytes", b"old")
        with pytest.raises(S3Refused, match="NoSuchUpload"):
            proxied.put_file(key, large)
    assert proxied.get_bytes("of-other-bytes").data == b"old"
    assert not proxied.exists("never-put-together")


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


@pytest.mark.parametrize("after", [0, 1_000, 3 * MEBIBYTE])
def test_answers_that_break_off_are_asked_for_again(proxied: S3ObjectStore, proxy: FaultProxy, large: Path, after: int):
    proxied.put_file("large", large)
    proxied.put_bytes("small", large.read_bytes()[: 4 * MEBIBYTE])
    proxy.fault = times(3, Fault(cut_answer_after=after), when=a_get)
    assert proxied.fetch_file("large").read_bytes() == large.read_bytes()
    assert proxy.faults == 3
    proxy.fault = times(1, Fault(cut_answer_after=after), when=a_get)
    assert proxied.get_bytes("small").data == large.read_bytes()[: 4 * MEBIBYTE]
    proxy.fault = times(1, Fault(cut_answer_after=after), when=a_get)
    with proxied.open_file("large") as file:
        assert file.read(4 * MEBIBYTE) == large.read_bytes()[: 4 * MEBIBYTE]
    assert proxy.faults == 5


def test_a_download_that_is_cut_for_good_leaves_nothing_in_the_cache(
    proxied: S3ObjectStore, proxy: FaultProxy, large: Path
):
    proxied.put_file("large", large)
    proxy.fault = times(1_000, Fault(cut_answer_after=1_000), when=a_get)
    with pytest.raises(S3Refused, match="cannot get 'large'"):
        proxied.fetch_file("large")
    assert litter(proxied) == []


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


@pytest.mark.parametrize("code", ["ExpiredToken", "RequestExpired"])
def test_credentials_that_expire_are_said_to_have_expired(
    proxied: S3ObjectStore, proxy: FaultProxy, large: Path, code: str
):
    proxied.put_bytes("key", b"1")
    proxy.fault = lambda request: Fault(answer=(400, code)) if "partNumber=2" in request.path else None
    with pytest.raises(CredentialsExpired, match=r"credentials have expired: get new ones") as caught:
        proxied.put_file("large", large)
    assert not proxied.exists("large")
    assert uploads(proxied) == []
    told = "".join(traceback.format_exception(caught.value))
    credentials = proxied._client._request_signer._credentials
    assert credentials.access_key not in told
    assert credentials.secret_key not in told


@pytest.mark.parametrize("apart", [timedelta(hours=1), timedelta(hours=-1)])
def test_a_wrong_clock_is_named_with_its_difference(proxied: S3ObjectStore, proxy: FaultProxy, apart: timedelta):
    date = format_datetime(datetime.now(UTC) - apart, usegmt=True)
    proxy.fault = lambda request: Fault(answer=(403, "RequestTimeTooSkewed"), date=date)
    for call in (proxied.get_bytes, proxied.exists, proxied.delete):  # HEAD's answer has no code, but a date
        with pytest.raises(ClockSkewed, match=r"differ by 3(600|599|601) s.*set the clock"):
            call("key")


def test_a_missing_object_is_missing_even_where_the_server_says_denied(proxied: S3ObjectStore, proxy: FaultProxy):
    """As AWS does to those who may list a prefix only."""
    proxied.put_bytes("there", b"1")
    denied = Fault(answer=(403, "AccessDenied"))
    proxy.fault = lambda request: denied if request.method == "HEAD" or a_get(request) else None
    assert not proxied.exists("absent")
    with pytest.raises(ObjectMissing):
        proxied.get_bytes("absent")
    for read in (proxied.get_bytes, proxied.exists):
        with pytest.raises(S3Refused, match=r"give these credentials the rights of"):
            read("there")
    proxy.fault = lambda request: denied
    with pytest.raises(S3Refused, match="AccessDenied"):
        proxied.get_bytes("absent")


def test_encryption_is_asked_for_and_must_be_confirmed(
    request: pytest.FixtureRequest, reconnect: Callable[..., S3ObjectStore], proxy: FaultProxy, large: Path
):
    """moto confirms; Ceph 16 knows no AES256 of its own and says nothing: silence is no encryption."""
    asked: list[str | None] = []

    def note(request: Request) -> None:
        headers = {name.lower(): value for name, value in request.headers.items()}
        if (a_put(request) and not a_part(request)) or (request.method == "POST" and "uploads" in request.path):
            asked.append(headers.get("x-amz-server-side-encryption"))
            asked.append(headers.get("x-amz-server-side-encryption-aws-kms-key-id"))

    proxy.fault = note
    store = reconnect(sse="AES256")
    if request.node.callspec.params["proxy"] == "ceph":
        with pytest.raises(S3Refused, match="encryption AES256 was asked for, the server confirmed None"):
            store.put_bytes("key", b"1")
        assert asked == ["AES256", None]
        return
    store.put_bytes("key", b"1")
    store.put_file("large", large)
    store = reconnect(sse="aws:kms", sse_kms_key_id="key-1")
    store.create_bytes("other", b"1")
    assert asked == ["AES256", None, "AES256", None, "aws:kms", "key-1"]
    assert store.get_bytes("other").data == b"1"


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
