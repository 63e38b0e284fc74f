"""Copies of a bucket's objects: all of them, one version each, or an error that says what to do; by moto and Ceph."""

import errno
import threading
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretStr

from infra.download_cache import CacheFull
from infra.object_keys import ObjectStoreError
from infra.s3_errors import CredentialsExpired, S3Refused
from infra.s3_feed import FeedObjectRefused, S3Feed
from tests.infra.ceph_server import Ceph, CephUser
from tests.infra.fault_proxy import Fault, FaultProxy, Request, times

Put = Callable[..., None]


class Server:
    """A bucket on a server, and the feed of it."""

    def __init__(self, endpoint: str, *, user: CephUser | None = None) -> None:
        self.endpoint, self.user = endpoint, user
        self.bucket = f"feed-{uuid.uuid4()}"
        self.feed = self.connect()
        self.feed._client.create_bucket(Bucket=self.bucket)

    def connect(self, endpoint: str | None = None, **settings: Any) -> S3Feed:
        return S3Feed(
            endpoint_url=endpoint or self.endpoint,
            path_style=True,
            access_key_id=self.user.access_key_id if self.user else "test-access-key",
            secret_access_key=SecretStr(self.user.secret_access_key if self.user else "test-secret-key"),
            **settings,
        )

    def put(self, name: str, data: bytes = b"content") -> None:
        self.feed._client.put_object(Bucket=self.bucket, Key=name, Body=data)

    def delete(self, name: str) -> None:
        self.feed._client.delete_object(Bucket=self.bucket, Key=name)


@pytest.fixture(params=["s3", pytest.param("ceph", marks=pytest.mark.cluster)])
def server(request: pytest.FixtureRequest) -> Server:
    if request.param == "s3":
        return Server(request.getfixturevalue("s3_endpoint"))
    ceph: Ceph = request.getfixturevalue("ceph")
    return Server(ceph.endpoint, user=request.getfixturevalue("ceph_owner"))


@pytest.fixture
def proxied(server: Server):
    """The feed of the same bucket behind a proxy."""
    with FaultProxy(server.endpoint).running() as proxy:
        yield server.connect(proxy.endpoint, attempts=2), proxy


@pytest.fixture
def into(tmp_path: Path) -> Path:
    (tmp_path / "into").mkdir()
    return tmp_path / "into"


@pytest.fixture(autouse=True)
def short_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("infra.s3_downloads.LONGEST_PAUSE_SECONDS", 0.01)


def a_list(request: Request) -> bool:
    return "list-type" in request.path


def a_get(request: Request) -> bool:
    return request.method == "GET" and not a_list(request)


def test_objects_are_copied_in_the_order_of_paths_under_their_names(server: Server, into: Path):
    names = ["shop/a b/é+%.csv", "shop/a-/x.csv", "shop/a/x.csv", "shop/a/day=1/x.csv", "shop/a/~&?.csv"]
    names += [f"shop/more/{number}.csv" for number in range(7)]
    for number, name in enumerate(names):
        server.put(name, b"%d" * number)
    for other in ("shop/a/x.parquet", "shop/", "shop/a/", "shop/.hidden/x.csv", "other/x.csv"):
        server.put(other, b"" if other.endswith("/") else b"other")
    copies = server.feed.fetch(f"s3://{server.bucket}/shop/**/*.csv", into=into)
    assert [copy.address for copy in copies] == [
        f"s3://{server.bucket}/{name}" for name in sorted(names, key=lambda name: name.split("/"))
    ]
    for copy in copies:
        name = copy.address.removeprefix(f"s3://{server.bucket}/")
        assert copy.path.read_bytes() == b"%d" * names.index(name)
        assert str(copy.path).endswith(f"/{name}")
    assert len({len(str(copy.path)) - len(copy.address) for copy in copies}) == 1
    assert server.feed.fetch(f"s3://{server.bucket}/shop/b*", into=into) == []


@pytest.mark.parametrize("pattern", ["d/*/*.csv", "d/**/*.csv", "d/0/*.csv", "d/*"])
def test_more_objects_than_a_page_and_empty_ones_are_copied(server: Server, into: Path, pattern: str):
    """Pages of two names in the place of a thousand."""
    sizes = {f"d/{folder}/{number}.csv": number for folder in range(3) for number in range(3)} | {"d/1": 1, "d/a": 1}
    for name, size in sizes.items():
        server.put(name, b"x" * size)

    def in_small_pages(params: dict[str, Any], **_: object) -> None:
        params["MaxKeys"] = 2

    server.feed._client.meta.events.register("provide-client-params.s3.ListObjectsV2", in_small_pages)
    copies = server.feed.fetch(f"s3://{server.bucket}/{pattern}", into=into)
    found = {copy.address.removeprefix(f"s3://{server.bucket}/"): copy.path.stat().st_size for copy in copies}
    assert found == {
        "d/*": {name: size for name, size in sizes.items() if name in ("d/1", "d/a")},
        "d/0/*.csv": {name: size for name, size in sizes.items() if name.startswith("d/0")},
    }.get(pattern, {name: size for name, size in sizes.items() if name.endswith(".csv")})


def test_a_large_object_comes_by_ranges(server: Server, into: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("infra.s3_downloads.RANGE_BYTES", 1 << 20)
    data = bytes(range(256)) * (10 << 10)
    client = server.feed._client
    target = {"Bucket": server.bucket, "Key": "parts.bin"}
    upload = client.create_multipart_upload(**target)["UploadId"]
    pieces = [data + bytes(5 << 20), data]
    etags = [
        client.upload_part(**target, UploadId=upload, PartNumber=number, Body=piece)["ETag"]
        for number, piece in enumerate(pieces, start=1)
    ]
    parts = [{"ETag": etag, "PartNumber": number} for number, etag in enumerate(etags, start=1)]
    client.complete_multipart_upload(**target, UploadId=upload, MultipartUpload={"Parts": parts})
    [copy] = server.feed.fetch(f"s3://{server.bucket}/parts.bin", into=into)
    assert copy.path.read_bytes() == b"".join(pieces)


def test_an_object_overwritten_while_it_is_copied_comes_as_it_is_now(
    server: Server, proxied: tuple[S3Feed, FaultProxy], into: Path, monkeypatch: pytest.MonkeyPatch
):
    """Between two ranges of it, and between the listing and the first."""
    monkeypatch.setattr("infra.s3_downloads.RANGE_BYTES", 1_000)
    monkeypatch.setattr("infra.s3_downloads.RANGES_AT_ONCE", 1)
    feed, proxy = proxied
    for begin in ("bytes=2000-", "bytes=0-"):
        server.put("d/a.csv", b"old" * 1_000)
        server.put("d/b.csv", b"kept")
        overwritten = []

        def overwrite(request: Request, begin: str = begin, overwritten: list[bool] = overwritten) -> None:
            ranges = {name.lower(): value for name, value in request.headers.items()}.get("range", "")
            if not overwritten and "a.csv" in request.path and ranges.startswith(begin):
                overwritten.append(True)
                server.put("d/a.csv", b"new" * 1_001)

        proxy.fault = overwrite
        folder = into / begin
        folder.mkdir()
        first, second = feed.fetch(f"s3://{server.bucket}/d/*.csv", into=folder)
        assert overwritten
        assert first.path.read_bytes() == b"new" * 1_001
        assert second.path.read_bytes() == b"kept"
        assert len([path for path in folder.rglob("*") if path.is_file()]) == 2, "no half copy is left"


@pytest.mark.parametrize("change", ["added", "removed", "overwritten with as many bytes"])
def test_a_delivery_that_goes_on_is_looked_at_again(
    server: Server, proxied: tuple[S3Feed, FaultProxy], into: Path, monkeypatch: pytest.MonkeyPatch, change: str
):
    """Each object is whole, but the day would be half of one delivery and half of the next."""
    # One after the other: a.csv has been copied when b.csv is asked for.
    monkeypatch.setattr("infra.s3_feed.OBJECTS_AT_ONCE", 1)
    server.put("d/a.csv", b"old a")
    server.put("d/b.csv", b"old b")
    feed, proxy = proxied
    changed = threading.Event()

    def deliver(request: Request) -> None:
        if a_get(request) and "b.csv" in request.path and not changed.is_set():
            changed.set()
            if change == "added":
                server.put("d/c.csv", b"new c")
            elif change == "removed":
                server.delete("d/a.csv")
            else:
                server.put("d/a.csv", b"new a")

    proxy.fault = deliver
    copies = {copy.path.name: copy.path.read_bytes() for copy in feed.fetch(f"s3://{server.bucket}/d/*", into=into)}
    expected = {
        "added": {"a.csv": b"old a", "b.csv": b"old b", "c.csv": b"new c"},
        "removed": {"b.csv": b"old b"},
        "overwritten with as many bytes": {"a.csv": b"new a", "b.csv": b"old b"},
    }
    assert copies == expected[change]
    assert len([path for path in into.rglob("*") if path.is_file()]) == len(copies), "stale copies are gone"


def test_a_delivery_that_does_not_end_is_refused(server: Server, proxied: tuple[S3Feed, FaultProxy], into: Path):
    server.put("d/0.csv")
    feed, proxy = proxied
    written = iter(range(1, 1_000))
    proxy.fault = lambda request: server.put(f"d/{next(written)}.csv") if a_get(request) else None
    with pytest.raises(
        FeedObjectRefused, match=rf"s3://{server.bucket}/d/\* changed each of the 3 times .* wait until"
    ):
        feed.fetch(f"s3://{server.bucket}/d/*", into=into)


@pytest.mark.parametrize(
    "fault", [Fault(answer=(503, "SlowDown")), Fault(answer=(500, "InternalError")), Fault(cut_answer_after=3)]
)
def test_what_goes_wrong_once_is_not_noticed(
    server: Server, proxied: tuple[S3Feed, FaultProxy], into: Path, fault: Fault
):
    server.put("d/a.csv", b"all of it")
    feed, proxy = proxied
    for when in (a_list, a_get):
        if fault.cut_answer_after and when is a_list:
            continue
        proxy.fault = times(1, fault, when=when)
        folder = into / when.__name__
        folder.mkdir()
        [copy] = feed.fetch(f"s3://{server.bucket}/d/*", into=folder)
        assert copy.path.read_bytes() == b"all of it"
    assert proxy.faults >= 1


@pytest.mark.parametrize(
    ("answer", "when", "kind", "why"),
    [
        ((503, "SlowDown"), a_list, S3Refused, "too busy through all attempts"),
        ((503, "SlowDown"), a_get, S3Refused, "too busy through all attempts"),
        ((403, "AccessDenied"), a_list, S3Refused, r"rights of infra/iam/feed_policy\.json on the bucket"),
        ((403, "AccessDenied"), a_get, FeedObjectRefused, r"cannot get 'd/a\.csv' in s3://feed-.*feed_policy\.json"),
        ((403, "InvalidObjectState"), a_get, FeedObjectRefused, r"'d/a\.csv' .* lies in an archive: restore it"),
        ((400, "ExpiredToken"), a_get, CredentialsExpired, "get new ones"),
        ((403, "InvalidAccessKeyId"), a_list, S3Refused, "correct the credentials"),
        ((400, "AuthorizationHeaderMalformed"), a_list, S3Refused, "another region .* set the region in the settings"),
        ((400, "IllegalLocationConstraintException"), a_list, S3Refused, "another region"),
    ],
)
def test_what_the_server_refuses_is_said_with_what_to_do(
    server: Server,
    proxied: tuple[S3Feed, FaultProxy],
    into: Path,
    answer: tuple[int, str],
    when: Callable[[Request], bool],
    kind: type[Exception],
    why: str,
):
    """One object that cannot be had refuses its day; whatever else fails is no fault of a day."""
    server.put("d/a.csv")
    feed, proxy = proxied
    proxy.fault = lambda request: Fault(answer=answer) if when(request) else None
    with pytest.raises(ObjectStoreError, match=why) as caught:
        feed.fetch(f"s3://{server.bucket}/d/*", into=into)
    assert type(caught.value) is kind


def test_a_server_that_is_away_and_a_bucket_that_is_not_there(server: Server, into: Path):
    away = server.connect("http://127.0.0.1:9", attempts=1)
    with pytest.raises(S3Refused, match=r"cannot list 'd/\*' in s3://.* check the endpoint, the network"):
        away.fetch(f"s3://{server.bucket}/d/*", into=into)
    with pytest.raises(S3Refused, match=r"NoSuchBucket.*create the bucket, or correct the path in the dataset spec"):
        server.feed.fetch("s3://no-such-bucket/d/*", into=into)


def test_an_answer_that_breaks_off_for_good_is_no_file(server: Server, proxied: tuple[S3Feed, FaultProxy], into: Path):
    server.put("d/a.csv", b"all of it")
    feed, proxy = proxied
    proxy.fault = lambda request: Fault(cut_answer_after=3) if a_get(request) else None
    with pytest.raises(S3Refused, match=r"cannot get 'd/a\.csv'"):
        feed.fetch(f"s3://{server.bucket}/d/*", into=into)


def test_a_full_disk_and_a_name_that_no_file_can_have(server: Server, into: Path, monkeypatch: pytest.MonkeyPatch):
    server.put(f"d/{'x' * 300}.csv")
    with pytest.raises(FeedObjectRefused, match="a name that is too long for a file: rename it"):
        server.feed.fetch(f"s3://{server.bucket}/d/*", into=into)
    server.put("e/a.csv", b"12345")

    def full(*arguments: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("infra.s3_downloads.os.posix_fallocate", full)
    with pytest.raises(
        CacheFull, match=rf"no room on the disk for s3://{server.bucket}/e/a\.csv of 5 bytes: .* larger disk"
    ):
        server.feed.fetch(f"s3://{server.bucket}/e/*", into=into)


def test_without_boto3_it_is_said_what_to_install(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(ObjectStoreError, match=r"pip install 'postclick\[s3\]'"):
        S3Feed()
