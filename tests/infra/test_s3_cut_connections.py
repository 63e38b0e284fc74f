"""Connections before moto and Ceph that break off: the work ends right or with a clear error, and leaves nothing."""

from collections.abc import Callable
from pathlib import Path

import pytest

from infra.s3_object_store import S3ObjectStore, S3Refused
from tests.infra.fault_proxy import Fault, FaultProxy, a_get, a_part, times
from tests.infra.large_uploads import MEBIBYTE, litter, uploads

pytestmark = pytest.mark.usefixtures("small_parts")


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
