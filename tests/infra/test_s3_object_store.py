"""What the S3 store promises beyond the contract: lost answers, dialects, its cache, silence about secrets."""

import logging
from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretStr

from infra.object_keys import ObjectChanged, ObjectExists
from infra.s3_object_store import S3ObjectStore, S3Refused


def lose_the_first_answer(store: S3ObjectStore) -> None:
    """The first conditional PUT reaches the server, but botocore sees a 500 and sends it again."""
    from botocore.awsrequest import AWSResponse

    lost: list[str] = []

    def before_send(request: Any, **_: Any) -> AWSResponse | None:
        if lost:
            return None
        lost.append(request.url)
        answer = store._client._endpoint.http_session.send(request)
        assert answer.status_code == 200
        return AWSResponse(request.url, 500, {}, answer.raw)

    store._client.meta.events.register("before-send.s3.PutObject", before_send)


def test_a_create_whose_answer_was_lost_is_a_success(s3_store: S3ObjectStore):
    lose_the_first_answer(s3_store)
    etag = s3_store.create_bytes("pointer", b"mine")
    assert s3_store.get_bytes("pointer") == (b"mine", etag)


def test_a_replace_whose_answer_was_lost_is_a_success(s3_store: S3ObjectStore):
    old = s3_store.put_bytes("pointer", b"old")
    lose_the_first_answer(s3_store)
    etag = s3_store.replace_bytes("pointer", b"mine", etag=old)
    assert s3_store.get_bytes("pointer") == (b"mine", etag)


def answer_puts(store: S3ObjectStore, status: int, code: str, *, when: Any, times: int = 1_000) -> list[str]:
    """Answers conditional PUTs for which `when(headers)` holds with an error, at most `times`."""
    import io

    from botocore.awsrequest import AWSResponse

    seen: list[str] = []

    def before_send(request: Any, **_: Any) -> AWSResponse | None:
        if not when(request.headers) or len(seen) >= times:
            return None
        seen.append(request.url)
        raw = io.BytesIO(f"<Error><Code>{code}</Code><Message>no</Message></Error>".encode())
        raw.stream = lambda amount=1024, decode_content=None: iter([raw.read()])  # type: ignore[attr-defined]
        return AWSResponse(request.url, status, {}, raw)

    store._client.meta.events.register("before-send.s3.PutObject", before_send)
    return seen


def test_a_server_that_wants_unquoted_etags_is_served(s3_store: S3ObjectStore):
    def quoted(headers: Any) -> bool:
        return headers.get("If-Match", b"").startswith(b'"') if "If-Match" in headers else False

    old = s3_store.put_bytes("pointer", b"1")
    refused = answer_puts(s3_store, 412, "PreconditionFailed", when=quoted)
    second = s3_store.replace_bytes("pointer", b"2", etag=old)
    s3_store.replace_bytes("pointer", b"3", etag=second)
    assert len(refused) == 1, "the form that the server wants is remembered"
    with pytest.raises(ObjectChanged):
        s3_store.replace_bytes("pointer", b"4", etag=second)
    assert s3_store.get_bytes("pointer").data == b"3"


def test_overlapping_conditional_writes_are_tried_again(s3_store: S3ObjectStore, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("infra.s3_bucket.CONFLICT_PAUSES_SECONDS", (0.0, 0.0))
    answer_puts(s3_store, 409, "ConditionalRequestConflict", when=lambda headers: True, times=2)
    s3_store.create_bytes("pointer", b"1")
    assert s3_store.get_bytes("pointer").data == b"1"
    answer_puts(s3_store, 409, "ConditionalRequestConflict", when=lambda headers: True)
    with pytest.raises(ObjectExists):
        s3_store.create_bytes("pointer", b"2")


def test_downloads_are_cached_by_etag_and_mended_on_request(s3_store: S3ObjectStore):
    s3_store.put_bytes("a/data.parquet", b"one")
    first = s3_store.fetch_file("a/data.parquet")
    first.write_bytes(b"damaged on this disk")
    assert s3_store.fetch_file("a/data.parquet").read_bytes() == b"damaged on this disk"
    assert s3_store.fetch_file("a/data.parquet", fresh=True).read_bytes() == b"one"
    s3_store.put_bytes("a/data.parquet", b"two")
    second = s3_store.fetch_file("a/data.parquet")
    assert (first.read_bytes(), second.read_bytes()) == (b"one", b"two")
    assert not list(s3_store.cache.rglob("*.tmp"))


def test_a_missing_bucket_says_what_to_do(s3_endpoint: str, tmp_path: Path):
    store = S3ObjectStore(
        "no-such-bucket",
        cache=tmp_path,
        endpoint_url=s3_endpoint,
        path_style=True,
        access_key_id="a",
        secret_access_key=SecretStr("b"),
    )
    with pytest.raises(S3Refused, match=r"no-such-bucket.*create the bucket"):
        store.get_bytes("key")
    with pytest.raises(S3Refused, match="NoSuchBucket"):
        list(store.list_keys())


def test_secrets_are_neither_shown_nor_logged(tmp_path: Path, caplog: pytest.LogCaptureFixture):
    pytest.importorskip("boto3")
    caplog.set_level(logging.INFO)
    store = S3ObjectStore(
        "bucket",
        cache=tmp_path,
        endpoint_url="http://127.0.0.1:9",
        path_style=True,
        access_key_id="visible-to-none",
        secret_access_key=SecretStr("hidden-from-all"),
        attempts=1,
    )
    with pytest.raises(S3Refused, match="check the endpoint") as caught:
        store.get_bytes("key")
    told = f"{store!r} {store.location} {caught.value} {caplog.text} {vars(store)}"
    assert "hidden-from-all" not in told
    assert "visible-to-none" not in told
