"""Encryption by the server: on Ceph, whose keys are real, and on moto, which confirms whatever it is asked for."""

import hashlib
import random
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest

from infra.object_keys import ObjectChanged, ObjectDamaged, ObjectExists
from infra.s3_object_store import S3ObjectStore, S3Refused
from tests.infra.ceph_server import KMS_KEY_IDS, Ceph, CephUser
from tests.infra.fault_proxy import Fault, FaultProxy, Request
from tests.infra.large_uploads import MEBIBYTE, uploads

FIRST_KEY, SECOND_KEY = KMS_KEY_IDS


pytestmark = pytest.mark.usefixtures("small_parts")


def written_with(store: S3ObjectStore, key: str) -> tuple[str | None, str | None]:
    """Encryption and key of an object, by the server's account."""
    answer = store._client.head_object(Bucket=store.bucket, Key=store.prefix + key)
    return answer.get("ServerSideEncryption"), answer.get("SSEKMSKeyId")


def test_encryption_is_asked_for_and_must_be_confirmed(
    request: pytest.FixtureRequest, reconnect: Callable[..., S3ObjectStore], proxy: FaultProxy, large: Path
):
    """moto confirms; Ceph 16 knows no AES256 of its own and says nothing: silence is no encryption."""
    asked: list[tuple[str, str | None, str | None]] = []

    def note(request: Request) -> None:
        headers = {name.lower(): value for name, value in request.headers.items()}
        begins = request.method == "POST" and request.path.endswith("?uploads")
        if begins or (request.method == "PUT" and "partNumber=" not in request.path):
            key = headers.get("x-amz-server-side-encryption-aws-kms-key-id")
            asked.append((request.method, headers.get("x-amz-server-side-encryption"), key))

    plain = reconnect()
    plain.put_bytes("pointer", b"old")
    proxy.fault = note
    store = reconnect(sse="AES256", prefix=plain.prefix)
    if request.node.callspec.params["proxy"] == "ceph":
        for write in (
            partial(store.put_bytes, "key", b"1"),
            partial(store.create_bytes, "key", b"1"),
            partial(store.put_file, "key", large),
            partial(store.replace_bytes, "pointer", b"1", etag=plain.get_bytes("pointer").etag),
        ):
            with pytest.raises(S3Refused, match="encryption AES256 was asked for, the server confirmed None"):
                write()
        assert set(asked) == {("POST", "AES256", None)}, "nothing was sent that could have been kept in the clear"
        assert not store.exists("key")
        assert plain.get_bytes("pointer").data == b"old"
        assert uploads(plain) == []
        return
    store.put_bytes("key", b"1")
    store.put_file("large", large)
    assert asked == [("POST", "AES256", None), ("PUT", "AES256", None), ("POST", "AES256", None)]
    asked.clear()
    store = reconnect(sse="aws:kms", sse_kms_key_id="key-1")
    store.create_bytes("other", b"1")
    assert asked == [(method, "aws:kms", "key-1") for method in ("POST", "PUT")]
    assert store.get_bytes("other").data == b"1"
    assert uploads(store) == []


def test_a_server_that_has_stopped_to_encrypt_is_refused_before_the_first_part(
    on_ceph: Callable[..., S3ObjectStore], large: Path, monkeypatch: pytest.MonkeyPatch
):
    store = on_ceph(sse="AES256")
    monkeypatch.setattr(store._bucket, "confirm_encryption", lambda key: None)  # it did when it was asked first
    sent: list[str] = []
    store._client.meta.events.register("before-send.s3.UploadPart", lambda request, **_: sent.append(request.url))
    with pytest.raises(S3Refused, match="the server confirmed None"):
        store.put_file("key", large)
    assert sent == []
    assert not store.exists("key")
    assert uploads(store) == []


def test_what_ceph_keeps_on_its_disks_is_encrypted(ceph: Ceph, on_ceph: Callable[..., S3ObjectStore]):
    store, text = on_ceph(sse="aws:kms", sse_kms_key_id=FIRST_KEY), b"nobody else's business" * 10
    store.put_bytes("encrypted", text)
    on_ceph().put_bytes("in-the-clear", text)
    assert ceph.on_disk(f"{store.prefix}in-the-clear") == text
    on_disk = ceph.on_disk(f"{store.prefix}encrypted")
    assert on_disk != text
    assert b"business" not in on_disk
    assert written_with(store, "encrypted") == ("aws:kms", FIRST_KEY)
    assert store.get_bytes("encrypted").data == text == on_ceph().get_bytes("encrypted").data


def test_conditional_writes_of_encrypted_objects_keep_their_word(on_ceph: Callable[..., S3ObjectStore]):
    store = on_ceph(sse="aws:kms", sse_kms_key_id=FIRST_KEY)
    first = store.create_bytes("pointer", b"first")
    with pytest.raises(ObjectExists):
        store.create_bytes("pointer", b"again")
    second = store.replace_bytes("pointer", b"second", etag=first)
    with pytest.raises(ObjectChanged):
        store.replace_bytes("pointer", b"third", etag=first)
    assert store.get_bytes("pointer") == (b"second", second)
    assert written_with(store, "pointer") == ("aws:kms", FIRST_KEY)


def test_a_pointer_moves_into_encryption_and_on_to_another_key(on_ceph: Callable[..., S3ObjectStore]):
    """The champion's pointer is older than the setting: its etag counts all the same."""
    etag = on_ceph().create_bytes("pointer", b"in the clear")
    for key, data in ((FIRST_KEY, b"one"), (SECOND_KEY, b"two")):
        etag = on_ceph(sse="aws:kms", sse_kms_key_id=key).replace_bytes("pointer", data, etag=etag)
        assert written_with(on_ceph(), "pointer") == ("aws:kms", key)
        assert on_ceph().get_bytes("pointer") == (data, etag)


def test_encrypted_files_are_fetched_whole_and_read_in_parts(
    ceph: Ceph, on_ceph: Callable[..., S3ObjectStore], large: Path
):
    store, content, positions = on_ceph(sse="aws:kms", sse_kms_key_id=FIRST_KEY), large.read_bytes(), random.Random(2)
    store.put_file("large.bin", large, sha256=hashlib.sha256(content).hexdigest())
    assert written_with(store, "large.bin") == ("aws:kms", FIRST_KEY)
    assert store.fetch_file("large.bin").read_bytes() == content
    with store.open_file("large.bin") as file:
        for _ in range(12):
            start, length = positions.randrange(len(content)), positions.choice([1, 17, 4096, 2 * MEBIBYTE])
            file.seek(start)
            assert file.read(length) == content[start : start + length]
    store.put_file("other.bin", large, sha256="0" * 64)
    with pytest.raises(ObjectDamaged, match=f"sha256 {'0' * 64}"):
        store.fetch_file("other.bin")


@pytest.mark.parametrize(
    ("key", "told"),
    [
        ("no-such-key", r"InvalidAccessKeyId \(HTTP 403\): check the key of aws:kms \('no-such-key'\): its id"),
        (None, r"InvalidArgument \(HTTP 400\): check the key of aws:kms \(none given, hence the server's default\)"),
    ],
    ids=["unknown", "none"],
)
def test_a_key_that_the_server_does_not_have_is_named(
    on_ceph: Callable[..., S3ObjectStore], large: Path, key: str | None, told: str
):
    etag = on_ceph().put_bytes("pointer", b"old")
    store = on_ceph(sse="aws:kms", sse_kms_key_id=key)
    for write in (
        partial(store.put_bytes, "key", b"1"),
        partial(store.create_bytes, "key", b"1"),
        partial(store.put_file, "key", large),
        partial(store.replace_bytes, "pointer", b"1", etag=etag),
    ):
        with pytest.raises(S3Refused, match=told):
            write()
    assert not store.exists("key")
    assert store.get_bytes("pointer") == (b"old", etag)
    assert uploads(store) == []


def test_what_aws_says_of_a_key_is_understood(reconnect: Callable[..., S3ObjectStore], proxy: FaultProxy):
    store = reconnect()
    store.put_bytes("key", b"1")
    proxy.fault = lambda request: Fault(answer=(400, "KMS.DisabledException"))
    with pytest.raises(
        S3Refused, match=r"KMS\.DisabledException \(HTTP 400\): check the key of aws:kms \(the object's\)"
    ):
        store.get_bytes("key")
    with pytest.raises(S3Refused, match=r"check the key of aws:kms \('a-key'\): its id, that it is enabled"):
        reconnect(sse="aws:kms", sse_kms_key_id="a-key").put_bytes("key", b"2")


def test_wrong_credentials_are_not_blamed_on_a_key_where_none_is_used(
    ceph: Ceph, ceph_worker: CephUser, connect: Callable[..., S3ObjectStore]
):
    stranger = ceph_worker._replace(access_key_id="STRANGER")
    for settings in ({}, {"sse": "AES256"}):
        store = connect(ceph.endpoint, bucket="owners", user=stranger, **settings)
        with pytest.raises(S3Refused, match="InvalidAccessKeyId") as caught:
            store.put_bytes("key", b"1")
        assert "kms" not in str(caught.value)
