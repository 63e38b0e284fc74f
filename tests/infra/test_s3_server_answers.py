"""Answers of servers in trouble, before moto and Ceph: tried again where that helps, else named with a remedy."""

import random
import threading
import traceback
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from pathlib import Path

import pytest

from infra.object_keys import ObjectChanged, ObjectMissing
from infra.s3_object_store import ClockSkewed, CredentialsExpired, S3ObjectStore, S3Refused
from tests.infra.fault_proxy import Fault, FaultProxy, Request, a_completion, a_get, times
from tests.infra.large_uploads import uploads

pytestmark = pytest.mark.usefixtures("small_parts")


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


def test_another_s_write_of_the_same_bytes_is_not_taken_for_our_own(proxied: S3ObjectStore, proxy: FaultProxy):
    """Ceph answers 500 to who loses a race; what is sent again meets the winner's object, here of equal bytes."""
    etag = proxied.put_bytes("counter", b"1")
    losing = times(1, Fault(answer=(500, "UnknownError")), when=lambda request: "If-Match" in request.headers)

    def overtake(request: Request) -> Fault | None:
        if fault := losing(request):
            proxied.replace_bytes("counter", b"2", etag=etag)
            return fault
        return None

    proxy.fault = overtake
    with pytest.raises(ObjectChanged):
        proxied.replace_bytes("counter", b"2", etag=etag)


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
