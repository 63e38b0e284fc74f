"""Folders in the store whose process is killed at any of its operations, or whose disk has what the store has not."""

import dataclasses
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from assets.resources import DataRefused, Platform
from infra.local_object_store import LocalObjectStore
from tests.assets.kept_work import KEY, ON_BOTH, Killed, Worker, killed, works

Machine = Callable[[str], Platform]


def on_disk(platform: Platform, folder: Path) -> list[Worker]:
    """Two machines before a store in a folder: quick enough to be killed at every operation in turn."""
    kept = dataclasses.replace(platform, objects=LocalObjectStore(folder / "objects"), folders_in_store=True)
    return [Worker(dataclasses.replace(kept, cache_root=folder / name)) for name in ("here", "there")]


def test_killed_anywhere_it_leaves_what_the_next_one_goes_on_from(platform: Platform, tmp_path: Path):
    ends: set[str] = set()
    for dies_at in range(200):
        here, there = on_disk(platform, tmp_path / f"{dies_at}")
        was_killed = killed(here, "ab", dies_at=dies_at)
        with there.at_work() as kept:
            done = "".join(there.done())
            assert done in ("", "a", "ab")
            assert there.has().get("index.html") in (None, "ab")
            ends.add(done)
            there.does("z")
            kept.keep("runs/z")
        # The machine itself, where its disk has outlived the process, goes on from what the other did.
        with here.at_work():
            assert here.done() == [*done, "z"]
        if not was_killed:
            assert ends == {"", "a", "ab"}
            return
    raise AssertionError("it never came to its end")


def test_killed_while_it_fetches_it_fetches_again(platform: Platform, tmp_path: Path):
    for dies_at in range(200):
        here, there = on_disk(platform, tmp_path / f"{dies_at}")
        works(here, "a")
        if not killed(there, "", dies_at=dies_at, operations=("get_bytes", "fetch_file")):
            assert dies_at > 5
            return
        with there.at_work():
            assert there.done() == ["a"]
    raise AssertionError("it never came to its end")


def test_killed_while_it_writes_what_it_fetched_it_fetches_again(
    platform: Platform, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    replace, left = os.replace, 0

    def replaces(*names: Path) -> None:
        nonlocal left
        left -= 1
        if left < 0:
            raise Killed
        replace(*names)

    for dies_at in range(200):
        here, there = on_disk(platform, tmp_path / f"{dies_at}")
        works(here, "a")
        left = dies_at
        with monkeypatch.context() as patched:
            patched.setattr(os, "replace", replaces)
            was_killed = killed(there, "")
        if not was_killed:
            assert dies_at > 5
            return
        with there.at_work():
            assert there.done() == ["a"]
    raise AssertionError("it never came to its end")


def test_what_was_not_stored_yet_on_the_same_machine_is_not_lost(machine: Machine):
    here, there = Worker(machine("here")), Worker(machine("there"))
    works(here, "a")
    # After the lease and the claim (two files and their manifest), before the new record.
    assert killed(here, "b", dies_at=4)
    assert here.platform.artifacts.find(f"{KEY}/runs.b") is None
    with here.at_work():
        assert here.done() == ["a", "b"]
    with there.at_work():
        assert there.done() == ["a", "b"]


@ON_BOTH
def test_what_another_machine_did_since_takes_the_place_of_what_is_here(machine: Machine):
    here, there = Worker(machine("here")), Worker(machine("there"))
    works(here, "a")
    works(there, "b")
    here.does("x")
    here.writes(runs__a__output_log="of a process that nobody heard of\n", runs__a__failure_json="its failure")
    with there.at_work() as kept:
        there.writes(runs__a__result_json="a", runs__a__output_log="a second time\n")
        kept.keep("runs/a")
    with here.at_work():
        assert here.done() == ["a", "b"]
        assert here.has()["runs/a/output.log"] == "a second time\n"
        assert "runs/a/failure.json" not in here.has()


def test_a_state_that_was_never_the_stores_is_not_overwritten(machine: Machine):
    here, there = Worker(machine("here")), Worker(machine("there"))
    there.does("mine")
    works(here, "a")
    with pytest.raises(
        DataRefused, match=r"journal\.jsonl in .*there.* were not made from .*studies/s: move the folder"
    ):
        works(there, "b")
    assert there.done() == ["mine"]
    with here.at_work():
        assert here.done() == ["a"]


def test_results_from_before_there_was_a_store_are_stored(machine: Machine):
    here, there = Worker(machine("here")), Worker(machine("there"))
    here.does("old")
    # It has the lease and claims an empty state, and nothing else.
    assert killed(there, "n", dies_at=4)
    works(here, "a")
    with Worker(machine("third")).at_work():
        pass
    third = Worker(machine("third"))
    assert third.done() == ["old", "a"]
