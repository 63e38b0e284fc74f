"""The contract that every object store keeps for small objects and keys; for files it is in test_object_store_files."""

from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

import pytest

from infra.local_object_store import LocalObjectStore
from infra.object_keys import KeyRefused, ObjectChanged, ObjectExists, ObjectMissing
from infra.object_store import ObjectStore
from infra.s3_object_store import S3ObjectStore
from tests.infra.every_store import EVERY_STORE

pytestmark = EVERY_STORE


def test_put_overwrites_and_etags_follow_the_bytes(store: ObjectStore):
    first = store.put_bytes("days/2026-01-01/a.json", b"one")
    assert store.get_bytes("days/2026-01-01/a.json") == (b"one", first)
    second = store.put_bytes("days/2026-01-01/a.json", b"two")
    assert store.get_bytes("days/2026-01-01/a.json") == (b"two", second)
    assert first != second
    assert '"' not in first


def test_a_missing_object_is_named_with_store_and_remedy(store: ObjectStore, tmp_path: Path):
    store.put_bytes("folder/object", b"x")
    for key in ("absent", "folder", "folder/absent"):
        assert not store.exists(key)
        for read in (store.get_bytes, store.fetch_file, store.open_file):
            with pytest.raises(ObjectMissing, match="write it first") as caught:
                read(key)
            assert repr(key) in str(caught.value)
            assert store.location in str(caught.value)
    assert store.exists("folder/object")


def test_create_writes_only_where_nothing_is(store: ObjectStore):
    etag = store.create_bytes("pointer.json", b"first")
    with pytest.raises(ObjectExists, match=r"pointer\.json"):
        store.create_bytes("pointer.json", b"second")
    assert store.get_bytes("pointer.json") == (b"first", etag)


def test_replace_needs_the_present_etag(store: ObjectStore):
    old = store.put_bytes("pointer.json", b"first")
    new = store.replace_bytes("pointer.json", b"second", etag=old)
    with pytest.raises(ObjectChanged) as caught:
        store.replace_bytes("pointer.json", b"third", etag=old)
    assert old in str(caught.value)
    assert new in str(caught.value)
    assert store.get_bytes("pointer.json") == (b"second", new)
    with pytest.raises(ObjectChanged, match="no object"):
        store.replace_bytes("absent.json", b"third", etag=old)
    assert not store.exists("absent.json")


def test_of_twenty_racing_creators_one_wins(store: ObjectStore, race):
    outcomes = race([partial(store.create_bytes, "race", str(writer).encode()) for writer in range(20)])
    winners = [writer for writer, outcome in enumerate(outcomes) if isinstance(outcome, str)]
    assert len(winners) == 1
    assert all(isinstance(outcome, str | ObjectExists) for outcome in outcomes)
    assert store.get_bytes("race") == (str(winners[0]).encode(), outcomes[winners[0]])


def test_of_twenty_racing_replacers_one_wins(store: ObjectStore, race):
    old = store.put_bytes("race", b"old")
    outcomes = race([partial(store.replace_bytes, "race", str(writer).encode(), etag=old) for writer in range(20)])
    winners = [writer for writer, outcome in enumerate(outcomes) if isinstance(outcome, str)]
    assert len(winners) == 1
    assert all(isinstance(outcome, str | ObjectChanged) for outcome in outcomes)
    assert store.get_bytes("race") == (str(winners[0]).encode(), outcomes[winners[0]])


def test_racing_increments_lose_none(store: ObjectStore, race):
    store.put_bytes("counter", b"0")

    def increment() -> None:
        while True:
            data, etag = store.get_bytes("counter")
            try:
                store.replace_bytes("counter", str(int(data) + 1).encode(), etag=etag)
            except ObjectChanged:
                continue
            return

    assert race([increment] * 8) == [None] * 8
    assert store.get_bytes("counter").data == b"8"


def test_keys_are_listed_sorted_by_prefix_of_characters(store: ObjectStore):
    keys = ["a", "b/c", "b-d/e", "b.f", "b/c2/x", "b/c-1", "bc", "z=1/y@2+3"]
    for key in keys:
        store.put_bytes(key, b"")
    assert list(store.list_keys()) == sorted(keys)
    assert list(store.list_keys("b/")) == ["b/c", "b/c-1", "b/c2/x"]
    assert list(store.list_keys("b")) == sorted(key for key in keys if key.startswith("b"))
    assert list(store.list_keys("b/c2/x")) == ["b/c2/x"]
    assert list(store.list_keys("absent/")) == []


def test_more_than_a_page_of_keys_is_listed(store: ObjectStore, s3_endpoint: str):
    keys = [f"many/{number:04}" for number in range(1100)]
    if isinstance(store, LocalObjectStore):
        folder = store.root / "many"
        folder.mkdir(parents=True)
        for key in keys:
            (folder / key.rpartition("/")[2]).touch()
    elif (
        isinstance(store, S3ObjectStore) and store._client.meta.endpoint_url == s3_endpoint
    ):  # moto's own memory: its PUTs would take half a minute
        from moto.s3.models import s3_backends

        backend = next(iter(s3_backends.values()))["aws"]
        for key in keys:
            backend.put_object(store.bucket, store.prefix + key, b"")  # type: ignore[attr-defined]
    else:
        with ThreadPoolExecutor(8) as pool:
            list(pool.map(lambda key: store.put_bytes(key, b""), keys))
    assert list(store.list_keys("many/")) == keys


def test_delete_removes_and_does_not_mind_absence(store: ObjectStore):
    store.put_bytes("days/1/a", b"x")
    store.put_bytes("days/2/a", b"x")
    store.delete("days/1/a")
    store.delete("days/1/a")
    store.delete("never/there")
    assert list(store.list_keys()) == ["days/2/a"]
    store.put_bytes("days/1/a", b"again")
    assert store.get_bytes("days/1/a").data == b"again"


@pytest.mark.parametrize(
    "key",
    [
        "",
        "/absolute",
        "../up",
        "a/../b",
        "a//b",
        "a/",
        ".hidden",
        "a/.b",
        "back\\slash",
        "spa ce",
        "ümlaut",
        "a\n",
    ],
)
def test_keys_that_no_store_would_carry_are_refused(store: ObjectStore, key: str, tmp_path: Path):
    for call in (store.get_bytes, store.exists, store.delete, store.fetch_file, store.open_file):
        with pytest.raises(KeyRefused, match="relative keys"):
            call(key)
    for write in (store.put_bytes, store.create_bytes, partial(store.replace_bytes, etag="x")):
        with pytest.raises(KeyRefused):
            write(key, b"x")
    with pytest.raises(KeyRefused):
        store.put_file(key, tmp_path / "source")
    assert list(store.list_keys()) == []


def test_long_keys_and_foreign_prefixes_are_refused(store: ObjectStore):
    for key in ("x" * 201, "/".join(["x" * 100] * 10)):
        with pytest.raises(KeyRefused):
            store.put_bytes(key, b"")
    for prefix in ("/a", "../a", "a//b", "a b"):
        with pytest.raises(KeyRefused):
            list(store.list_keys(prefix))
