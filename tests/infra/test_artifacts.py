"""Artifacts: what is published is what is read, listed, and pruned; names and metadata that are refused."""

import itertools
import tempfile
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from infra.artifacts import ArtifactDamaged, ArtifactMissing, ArtifactStore
from infra.local_object_store import LocalObjectStore
from infra.object_keys import KeyRefused
from infra.object_store import ObjectStore
from tests.infra.artifact_files import KEY, read, sources


def test_what_is_published_is_what_is_read(store: ObjectStore, tmp_path: Path):
    artifacts = ArtifactStore(store)
    files = sources(tmp_path / "source", samples=b"rows", quarantine=b"")
    manifest = artifacts.publish(KEY, files, metadata={"rows": 2, "nested": {"why": ["a", None, 0.5]}})
    assert read(artifacts) == {"samples": b"rows", "quarantine": b""}
    assert artifacts.find(KEY) == manifest == artifacts.open(KEY).manifest
    assert manifest.files["samples"].bytes == 4
    assert manifest.metadata == {"rows": 2, "nested": {"why": ["a", None, 0.5]}}
    assert store.exists(f"{KEY}/{manifest.version[:16]}/samples")


def test_a_missing_artifact_names_key_and_remedy(store: ObjectStore):
    artifacts = ArtifactStore(store)
    assert artifacts.find(KEY) is None
    with pytest.raises(ArtifactMissing, match=r"2026-01-01.*materialize raw_events of 2026-01-01") as caught:
        artifacts.open(KEY, remedy="materialize raw_events of 2026-01-01")
    assert store.location in str(caught.value)


def test_directories_come_back_whole_with_nested_names(store: ObjectStore, tmp_path: Path):
    source = tmp_path / "bundle"
    sources(source / "vocabulary", **{"layout.json": b"{}", "vocabulary.parquet": b"PAR1"})
    sources(source, **{"bundle.json": b"1", "weights.safetensors": b"w" * 1000})
    artifacts = ArtifactStore(store)
    artifacts.publish_directory("models/m", source, metadata={})
    artifact = artifacts.open("models/m")
    directory = artifact.directory()
    found = {path.relative_to(directory).as_posix() for path in directory.rglob("*") if path.is_file()}
    assert found == {"bundle.json", "weights.safetensors", "vocabulary/layout.json", "vocabulary/vocabulary.parquet"}
    assert all((directory / name).read_bytes() == (source / name).read_bytes() for name in found)
    assert artifacts.open("models/m").directory() == directory


def test_publishing_a_directory_that_is_none_fails(local: LocalObjectStore, tmp_path: Path):
    with pytest.raises(NotADirectoryError, match="absent"):
        ArtifactStore(local).publish_directory(KEY, tmp_path / "absent", metadata={})


def test_the_same_content_again_writes_nothing(local: LocalObjectStore, tmp_path: Path):
    ticks = (datetime(2026, 1, 1, tzinfo=UTC) + timedelta(hours=hour) for hour in itertools.count())
    artifacts = ArtifactStore(local, clock=lambda: next(ticks))
    files = sources(tmp_path / "s", a=b"one", b=b"two")
    first = artifacts.publish(KEY, files, metadata={"x": [1]})
    before = {path: path.stat().st_mtime_ns for path in local.root.rglob("*") if path.is_file()}
    assert artifacts.publish(KEY, dict(reversed(files.items())), metadata={"x": [1]}) == first
    after = {path: path.stat().st_mtime_ns for path in local.root.rglob("*") if path.is_file()}
    assert after == before
    changed = artifacts.publish(KEY, files, metadata={"x": [2]})
    assert (changed.version, changed.metadata) == (first.version, {"x": [2]})
    assert artifacts.find(KEY) == changed


def test_the_version_before_stays_and_older_ones_go(store: ObjectStore, tmp_path: Path):
    artifacts = ArtifactStore(store)
    artifacts.publish("samples/other", sources(tmp_path / "other", a=b"other"), metadata={})
    opened = []
    for round_ in range(4):
        artifacts.publish(KEY, sources(tmp_path / "s", a=f"{round_}".encode()), metadata={})
        opened.append(artifacts.open(KEY))
        if round_ > 0:
            assert opened[round_ - 1].path("a").read_bytes() == f"{round_ - 1}".encode()
    versions = {key.split("/")[2] for key in store.list_keys(f"{KEY}/")} - {"manifest.json"}
    assert versions == {artifact.manifest.version[:16] for artifact in opened[2:]}
    assert read(artifacts, "samples/other") == {"a": b"other"}
    with pytest.raises(ArtifactDamaged):
        opened[0].path("a")


def test_an_artifact_within_an_artifacts_folder_survives_its_parents_pruning(local: LocalObjectStore, tmp_path: Path):
    artifacts = ArtifactStore(local)
    artifacts.publish("models/m", sources(tmp_path / "s", a=b"child"), metadata={})
    for round_ in range(3):
        artifacts.publish("models", sources(tmp_path / "s", a=f"{round_}".encode()), metadata={})
    assert read(artifacts, "models/m") == {"a": b"child"}


def test_keys_lists_artifacts_and_not_files_named_like_manifests(store: ObjectStore, tmp_path: Path):
    artifacts = ArtifactStore(store)
    files = sources(tmp_path / "s", **{"manifest.json": b"{}"})
    for key in ("a/2026-01-02", "a/2026-01-01", "b"):
        artifacts.publish(key, files, metadata={})
    assert list(artifacts.keys()) == ["a/2026-01-01", "a/2026-01-02", "b"]
    assert list(artifacts.keys("a/2026-01-01")) == ["a/2026-01-01"]
    assert list(artifacts.keys("c")) == []


def test_an_unknown_file_name_lists_the_known(local: LocalObjectStore, tmp_path: Path):
    artifacts = ArtifactStore(local)
    artifacts.publish(KEY, sources(tmp_path / "s", a=b"one"), metadata={})
    with pytest.raises(KeyError, match="no file 'c', only a"):
        artifacts.open(KEY).path("c")


def test_bad_names_and_metadata_are_refused_before_anything_is_written(local: LocalObjectStore, tmp_path: Path):
    artifacts, files = ArtifactStore(local), sources(tmp_path / "s", a=b"one")
    for key in ("../x", "", "a b"):
        with pytest.raises(KeyRefused):
            artifacts.publish(key, files, metadata={})
    with pytest.raises(ValueError, match="16 hexadecimal"):
        artifacts.publish("models/0123456789abcdef", files, metadata={})
    with pytest.raises(KeyRefused):
        artifacts.publish(KEY, {"../a": files["a"]}, metadata={})
    with pytest.raises(ValueError, match="a file and a folder"):
        artifacts.publish(KEY, {"a": files["a"], "a/b": files["a"]}, metadata={})
    for metadata in ({"x": float("nan")}, {"x": {1, 2}}):
        with pytest.raises(ValueError, match="plain JSON"):
            artifacts.publish(KEY, files, metadata=metadata)  # type: ignore[arg-type]
    assert list(local.list_keys()) == []


NAME_PARTS = st.text("abAB01_=+@-", min_size=1, max_size=6)


NAMES = st.lists(NAME_PARTS, min_size=1, max_size=3).map("/".join)


@st.composite
def file_sets(draw: st.DrawFn) -> dict[str, bytes]:
    files = draw(st.dictionaries(NAMES, st.binary(max_size=64), max_size=5))
    return {name: data for name, data in files.items() if not any(other.startswith(name + "/") for other in files)}


@settings(max_examples=40, deadline=None)
@given(first=file_sets(), second=file_sets())
def test_any_files_round_trip_and_versions_tell_contents_apart(first: dict[str, bytes], second: dict[str, bytes]):
    with tempfile.TemporaryDirectory() as temporary:
        artifacts = ArtifactStore(LocalObjectStore(Path(temporary) / "objects"))
        manifests = []
        for folder, files in (("first", first), ("second", second)):
            source = Path(temporary) / folder
            source.mkdir()
            for name, data in files.items():
                (source / name).parent.mkdir(parents=True, exist_ok=True)
                (source / name).write_bytes(data)
            manifests.append(artifacts.publish_directory(KEY, source, metadata={}))
            assert read(artifacts) == files
            directory = artifacts.open(KEY).directory()
            assert {name: (directory / name).read_bytes() for name in files} == files
        assert (manifests[0].version == manifests[1].version) == (first == second)
