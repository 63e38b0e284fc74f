"""Checkpoints in the store: two machines that share nothing else, one of which dies, is paused, or finishes."""

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from assets.kept_checkpoints import checkpoints_key, kept_checkpoints
from assets.resources import Platform
from infra.leases import Lease, Leases
from infra.local_object_store import LocalObjectStore
from infra.object_keys import ObjectStoreError
from ml.training.checkpoint_files import CheckpointFiles
from tests.infra.slept_clock import SleptClock

RUN = "r" * 64


class Machine:
    """A platform with a cache of its own over the shared store, and the trainer's hand on its checkpoints."""

    def __init__(self, platform: Platform, folder: Path) -> None:
        self.platform = dataclasses.replace(platform, cache_root=folder)
        self.clock, self.told = SleptClock(), []
        self.leases = Leases(platform.objects, seconds=60, clock=self.clock, sleep=self.clock.sleep)

    def trains(self, epoch: int, step: int, text: str = "weights") -> None:
        """What the child does when a checkpoint is due."""
        files = CheckpointFiles(self.platform.checkpoints, RUN)
        files.folder.mkdir(parents=True, exist_ok=True)
        content = {"position": {"epoch": epoch, "step": step}}
        files.write(content, lambda path: path.write_text(f"{text} {epoch} {step}"))

    def position(self) -> Any:
        found = CheckpointFiles(self.platform.checkpoints, RUN).read()
        return None if found is None else tuple(found[0]["position"].values())

    def begins(self, holder: str) -> Any:
        """A run that nobody ends: its process has vanished, and neither renews nor gives back."""
        self.abandoned = self.keeping(holder)
        kept = self.abandoned.__enter__()
        kept.finish()
        return kept

    def keeping(self, holder: str, *, is_done: Callable[[], bool] = lambda: False) -> Any:
        return kept_checkpoints(
            self.platform, RUN, holder=holder, is_done=is_done, log=self.told.append, leases=self.leases
        )


@pytest.fixture
def machines(platform: Platform, tmp_path: Path) -> list[Machine]:
    return [Machine(platform, tmp_path / name) for name in ("here", "there")]


def stored(machine: Machine) -> Any:
    manifest = machine.platform.artifacts.find(checkpoints_key(RUN))
    return None if manifest is None else manifest.metadata


def test_a_run_that_is_killed_goes_on_on_another_machine(machines: list[Machine]):
    here, there = machines
    keeping = here.keeping("pod 1")
    keeping.__enter__()
    here.trains(2, 30)
    keeping.__exit__(KeyboardInterrupt, KeyboardInterrupt(), None)
    with there.keeping("pod 2"):
        assert there.position() == (2, 30)
        assert stored(there)["token"] == 2
    assert any("pod 1" in line for line in there.told)


def test_a_machine_that_vanished_without_a_word_is_waited_for_and_replaced(machines: list[Machine]):
    here, there = machines
    lost = here.begins("gone")
    here.trains(1, 5)
    lost.keep()
    with there.keeping("pod 2"):
        assert there.position() == (1, 5)
    assert there.clock.now == 60
    assert there.told[0].startswith("waiting for gone")


def test_an_orphan_can_neither_overwrite_nor_go_on(machines: list[Machine]):
    here, there = machines
    orphan = here.begins("orphan")
    here.trains(1, 5)
    orphan.keep()
    with there.keeping("pod 2") as kept:
        there.trains(3, 1)
        kept.keep()
        here.trains(9, 9)
        orphan.keep()
        assert orphan.lost()
        assert not kept.lost()
        assert stored(there)["position"] == {"epoch": 3, "step": 1}
    assert any("another goes on with it" in line for line in here.told)


def test_an_orphan_is_fenced_off_before_the_new_holder_has_trained_a_step(machines: list[Machine]):
    here, there = machines
    orphan = here.begins("orphan")
    here.trains(1, 5)
    orphan.keep()
    with there.keeping("pod 2"):
        here.trains(2, 1)
        orphan.keep()
        assert orphan.lost()
        assert stored(there)["position"] == {"epoch": 1, "step": 5}


def test_a_checkpoint_here_that_is_further_is_not_replaced(machines: list[Machine]):
    here, there = machines
    with here.keeping("a"):
        here.trains(1, 5)
    there.trains(1, 8)
    with there.keeping("b"):
        assert there.position() == (1, 8)
    assert stored(here)["position"] == {"epoch": 1, "step": 8}


def test_whoever_waits_for_one_who_finishes_trains_nothing(machines: list[Machine]):
    here, there = machines
    working = here.begins("a")
    with there.keeping("b", is_done=lambda: True) as kept:
        assert kept is None
    assert not working.lost()


def test_what_ended_well_is_removed_with_its_files(machines: list[Machine]):
    here, _ = machines
    with here.keeping("a") as kept:
        here.trains(1, 5)
        kept.keep()
        CheckpointFiles(here.platform.checkpoints, RUN).remove()
        kept.remove()
    assert stored(here) is None
    assert list(here.platform.objects.list_keys("checkpoints/")) == []


def test_a_store_that_fails_is_told_and_the_training_goes_on(machines: list[Machine], monkeypatch: pytest.MonkeyPatch):
    here, _ = machines

    def fail(*_: Any) -> None:
        raise ObjectStoreError("503 SlowDown")

    with here.keeping("a") as kept:
        here.trains(1, 5)
        with monkeypatch.context() as patched:
            patched.setattr(LocalObjectStore, "put_file", fail)
            kept.keep()
        assert any("503 SlowDown" in line for line in here.told)
        assert stored(here) is None
        kept.keep()
        assert stored(here)["position"] == {"epoch": 1, "step": 5}


def test_the_same_checkpoint_is_not_hashed_twice(machines: list[Machine], monkeypatch: pytest.MonkeyPatch):
    here, _ = machines
    with here.keeping("a") as kept:
        here.trains(1, 5)
        kept.keep()
        monkeypatch.setattr(CheckpointFiles, "read", lambda _: pytest.fail("read again"))
        kept.keep()
        monkeypatch.undo()


def test_watching_publishes_what_is_new_and_stops_when_the_lease_is_lost(machines: list[Machine]):
    here, _ = machines
    leases = Leases(here.platform.objects, seconds=0.06)
    with kept_checkpoints(
        here.platform, RUN, holder="a", is_done=lambda: False, log=here.told.append, leases=leases
    ) as kept:
        assert kept is not None
        here.trains(1, 5)
        deadline = 400
        while stored(here) is None and (deadline := deadline - 1):
            leases._sleep(0.02)
        assert stored(here)["position"] == {"epoch": 1, "step": 5}
        record = here.platform.objects.get_bytes(f"leases/training/{RUN}")
        taken = Leases(here.platform.objects, seconds=0.0, sleep=lambda _: None).acquire(f"training/{RUN}", holder="b")
        assert isinstance(taken, Lease), record
        deadline = 400
        while not kept.lost() and (deadline := deadline - 1):
            leases._sleep(0.02)
        assert kept.lost()
