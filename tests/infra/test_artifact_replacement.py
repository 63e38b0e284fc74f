"""Refusing to replace an artifact, and removing one: what a lease's fencing token and a finished checkpoint need."""

import pytest

from infra.artifacts import ArtifactContested, ArtifactMissing, ArtifactStore, Manifest
from infra.object_store import ObjectStore

KEY = "checkpoints/m"


@pytest.fixture
def publish(store: ObjectStore, tmp_path):
    def run(content: bytes, *, token: int, replacing=lambda _: None, key: str = KEY) -> Manifest:
        path = tmp_path / content.decode()
        path.write_bytes(content)
        return ArtifactStore(store).publish(key, {"a": path}, metadata={"token": token}, replacing=replacing)

    return run


def test_what_would_be_replaced_is_shown_and_can_be_kept(store, publish):
    seen: list[Manifest | None] = []
    publish(b"one", token=1, replacing=seen.append)
    publish(b"two", token=2, replacing=seen.append)
    assert [found and found.metadata["token"] for found in seen] == [None, 1]

    def refuse(_: Manifest | None) -> None:
        raise PermissionError("newer")

    with pytest.raises(PermissionError):
        publish(b"three", token=0, replacing=refuse)
    assert ArtifactStore(store).open(KEY).path("a").read_bytes() == b"two"


def test_nothing_comes_between_the_look_and_the_swap(store, publish):
    publish(b"one", token=1)

    def overtaken(_: Manifest | None) -> None:
        publish(b"two", token=2)

    with pytest.raises(ArtifactContested):
        publish(b"three", token=1, replacing=overtaken)
    assert ArtifactStore(store).open(KEY).path("a").read_bytes() == b"two"


def test_a_removed_artifact_leaves_no_object_and_neighbours_stay(store, publish):
    for content in (b"one", b"two"):
        publish(content, token=1)
        publish(content, token=1, key=f"{KEY}/below")
        publish(content, token=1, key=f"{KEY}2")
    artifacts = ArtifactStore(store)
    artifacts.remove(KEY)
    artifacts.remove(KEY)
    assert artifacts.find(KEY) is None
    with pytest.raises(ArtifactMissing):
        artifacts.open(KEY)
    assert sorted(artifacts.keys("checkpoints/")) == [f"{KEY}/below", f"{KEY}2"]
    assert not any(key.removeprefix(f"{KEY}/")[16:17] == "/" for key in store.list_keys(f"{KEY}/"))
