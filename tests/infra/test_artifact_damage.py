"""Artifacts whose bytes or manifests were damaged: named before they are read, mended by publishing again."""

import hashlib
import json
from pathlib import Path

import pytest

from infra.artifacts import ArtifactDamaged, ArtifactStore
from infra.local_object_store import LocalObjectStore
from infra.object_store import ObjectStore
from tests.infra.artifact_files import KEY, read, sources


def test_an_assembled_directory_that_was_damaged_is_built_again(s3_store: ObjectStore, tmp_path: Path):
    artifacts = ArtifactStore(s3_store)
    artifacts.publish("models/m", sources(tmp_path / "s", a=b"one", b=b"two"), metadata={})
    directory = artifacts.open("models/m").directory()
    (directory / "a").unlink()
    (directory / "b").write_bytes(b"TWO")
    again = artifacts.open("models/m").directory()
    assert {name: (again / name).read_bytes() for name in "ab"} == {"a": b"one", "b": b"two"}


def test_a_damaged_file_is_named_and_mended_by_publishing_again(store: ObjectStore, tmp_path: Path):
    artifacts = ArtifactStore(store)
    files = sources(tmp_path / "s", a=b"one", b=b"two")
    manifest = artifacts.publish(KEY, files, metadata={})
    assert read(artifacts) == {"a": b"one", "b": b"two"}
    key = f"{KEY}/{manifest.version[:16]}/a"
    store.put_bytes(key, b"ONE")
    with pytest.raises(ArtifactDamaged, match="materialize") as caught:
        artifacts.open(KEY).path("a")
    for part in (key, manifest.files["a"].sha256, hashlib.sha256(b"ONE").hexdigest(), store.location):
        assert part in str(caught.value)
    with pytest.raises(ArtifactDamaged):
        artifacts.open(KEY).directory()
    store.delete(f"{KEY}/{manifest.version[:16]}/b")
    with pytest.raises(ArtifactDamaged, match="no such object"):
        artifacts.open(KEY).path("b")
    assert artifacts.publish(KEY, files, metadata={}) == manifest
    assert read(artifacts) == {"a": b"one", "b": b"two"}


def test_a_damaged_local_copy_of_a_remote_file_is_fetched_again(s3_store: ObjectStore, tmp_path: Path):
    artifacts = ArtifactStore(s3_store)
    artifacts.publish(KEY, sources(tmp_path / "s", a=b"one"), metadata={})
    artifacts.open(KEY).path("a").write_bytes(b"ONE")
    assert artifacts.open(KEY).path("a").read_bytes() == b"one"


@pytest.mark.parametrize("damage", [b"", b"{}", b"not json", b'{"key": 1}'])
def test_an_unreadable_manifest_is_damage_not_absence(local: LocalObjectStore, damage: bytes):
    local.put_bytes(f"{KEY}/manifest.json", damage)
    with pytest.raises(ArtifactDamaged, match="materialize again"):
        ArtifactStore(local).find(KEY)


def test_a_manifest_moved_or_edited_is_damage(local: LocalObjectStore, tmp_path: Path):
    artifacts = ArtifactStore(local)
    artifacts.publish(KEY, sources(tmp_path / "s", a=b"one"), metadata={})
    data = local.get_bytes(f"{KEY}/manifest.json").data
    local.put_bytes("elsewhere/manifest.json", data)
    with pytest.raises(ArtifactDamaged, match="elsewhere"):
        artifacts.find("elsewhere")
    edited = json.loads(data)
    edited["files"]["a"]["sha256"] = "0" * 64
    local.put_bytes(f"{KEY}/manifest.json", json.dumps(edited).encode())
    with pytest.raises(ArtifactDamaged, match="version"):
        artifacts.find(KEY)
