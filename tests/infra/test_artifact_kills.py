"""Artifacts whose publishers are killed or race: all or nothing, and the next run repairs."""

import itertools
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from infra.artifacts import ArtifactContested, ArtifactStore, Manifest
from infra.local_object_store import LocalObjectStore
from infra.object_store import ObjectStore
from tests.infra.artifact_files import KEY, read, sources


class Killed(BaseException):
    """What a kill looks like to the code: nothing catches it."""


class DyingStore:
    """An object store whose n-th operation (1, 2, …) does not happen, nor any after it."""

    def __init__(self, objects: ObjectStore, *, dies_at: int) -> None:
        self._objects, self._left = objects, dies_at

    def __getattr__(self, name: str) -> Any:
        found = getattr(self._objects, name)
        if not callable(found):
            return found

        def operation(*args: Any, **keywords: Any) -> Any:
            self._left -= 1
            if self._left <= 0:
                raise Killed(name)
            return found(*args, **keywords)

        return operation


@pytest.mark.parametrize("earlier_versions", [0, 1, 2, 3])
def test_a_kill_at_any_step_leaves_the_old_or_the_new(earlier_versions: int, tmp_path: Path):
    new = {"a": b"new a", "b": b"new b"}
    for dies_at in itertools.count(1):
        folder = tmp_path / str(dies_at)
        objects = LocalObjectStore(folder / "objects")
        artifacts = ArtifactStore(objects)
        for version in range(earlier_versions):
            artifacts.publish(KEY, sources(folder / "old", a=f"old {version}".encode()), metadata={})
        old = read(artifacts)
        files = sources(folder / "new", **new)
        try:
            ArtifactStore(DyingStore(objects, dies_at=dies_at)).publish(KEY, files, metadata={"m": 1})  # type: ignore[arg-type]
        except Killed:
            assert read(artifacts) in (old, new)
        else:
            break
        artifacts.publish(KEY, files, metadata={"m": 1})
        assert read(artifacts) == new, "the next run repairs it"
        artifacts.publish(KEY, sources(folder / "next", c=b"c"), metadata={})
        versions = {key.split("/")[2] for key in objects.list_keys(f"{KEY}/")} - {"manifest.json"}
        assert len(versions) == 2, "litter of the killed run is gone"
    assert dies_at >= 6, "lookup, listing, two files and the manifest were each interrupted"
    assert read(artifacts) == new


def test_racing_publishers_leave_one_whole_artifact(store: ObjectStore, race, tmp_path: Path):
    artifacts = ArtifactStore(store)
    contents = [{"a": f"a{number}".encode(), "b": f"b{number}".encode()} for number in range(8)]
    files = [sources(tmp_path / str(number), **content) for number, content in enumerate(contents)]
    outcomes = race([partial(artifacts.publish, KEY, each, metadata={}) for each in files])
    assert all(isinstance(outcome, Manifest | ArtifactContested) for outcome in outcomes), outcomes
    assert any(isinstance(outcome, Manifest) for outcome in outcomes)
    assert read(artifacts) in contents


def test_racing_publishers_of_the_same_content_all_succeed(store: ObjectStore, race, tmp_path: Path):
    artifacts, files = ArtifactStore(store), sources(tmp_path / "s", a=b"one")
    outcomes = race([partial(artifacts.publish, KEY, files, metadata={})] * 8)
    assert {outcome.version for outcome in outcomes} == {artifacts.find(KEY).version}  # type: ignore[union-attr]
