"""Who may work in a kept folder: one process at a time, a dead one replaced, an orphan stopped and never heard of."""

import dataclasses
import fcntl
from collections.abc import Callable

import pytest

from assets.resources import DataRefused, Platform
from assets.training_children import ORPHANED
from infra.child_process import ChildInterrupted
from infra.leases import LEASE_SECONDS, LeaseRecord, Leases
from tests.assets.kept_work import KEY, ON_BOTH, Mortal, Worker, killed, works

Machine = Callable[[str], Platform]


def taken_over(worker: Worker) -> None:
    """What everyone else sees of a process that stood still: its lease has run out."""
    record = LeaseRecord(token=9, holder="run 9 on elsewhere")
    worker.platform.objects.put_bytes(f"leases/{KEY}", record.encoded())


@ON_BOTH
def test_a_dead_process_is_replaced_and_its_work_gone_on_with(machine: Machine):
    here, there = Worker(machine("here")), Worker(machine("there"), run_id="2")
    # The lease, the claim, the lease again, a's record, two files of the state, and their manifests.
    assert killed(here, "ab", dies_at=8)
    with there.at_work():
        assert there.done() == ["a"]
        assert there.clock.now == LEASE_SECONDS
    assert there.told[0].startswith("waiting for process ")


def test_another_run_that_lives_is_named_and_not_waited_for_long(machine: Machine):
    here, there = Worker(machine("here"), run_id="1"), Worker(machine("there"), run_id="2")
    with here.at_work() as kept:
        lease = here.platform.objects.get_bytes(f"leases/{KEY}")
        assert b"run 1 on " in lease.data
        there.clock.on_sleep = lambda: renews(here)
        with pytest.raises(DataRefused, match=r"run 1 on \S+ is at work on studies/s: wait for it to end"):
            works(there, "b")
        assert there.clock.now == 2 * LEASE_SECONDS
        here.does("a")
        kept.keep("runs/a")
    works(there, "b")
    assert there.done() == ["a", "b"]


def renews(worker: Worker) -> None:
    """What the living do three times in a lease's seconds."""
    objects = worker.platform.objects
    record = LeaseRecord.model_validate_json(objects.get_bytes(f"leases/{KEY}").data)
    changed = record.model_copy(update={"renewals": record.renewals + 1})
    objects.put_bytes(f"leases/{KEY}", changed.encoded())


def test_an_earlier_attempt_of_the_same_run_is_waited_for(machine: Machine):
    here, there = (Worker(machine(name), run_id="1") for name in ("here", "there"))
    # Two pods of a run have names of their own.
    leases = Leases(here.platform.objects, clock=here.clock, sleep=here.clock.sleep)
    lease = leases.acquire(KEY, holder="run 1 on another-pod")
    assert lease is not None

    def goes_on() -> None:
        if there.clock.now < 1000:
            leases.renew(lease)
        else:
            leases.release(lease)

    there.clock.on_sleep = goes_on
    works(there, "a")
    assert there.clock.now >= 1000
    assert there.told[0].startswith("waiting for run 1 on another-pod")


@ON_BOTH
def test_an_orphan_stores_nothing_more_and_says_who_goes_on(machine: Machine):
    here, there = Worker(machine("here"), run_id="1"), Worker(machine("there"), run_id="2")

    def goes_on_too_long() -> None:
        with here.at_work() as kept:
            here.does("a")
            kept.keep("runs/a")
            works(there, "b")
            here.does("x")
            kept.keep("runs/x")

    with pytest.raises(DataRefused, match=r"run 2 on \S+ has gone on with studies/s, .*; it was stopped"):
        goes_on_too_long()
    assert here.platform.artifacts.find(f"{KEY}/runs.x") is None
    with here.at_work():
        assert here.done() == ["a", "b"]


def test_an_orphan_that_does_not_ask_is_refused_by_what_it_would_replace(machine: Machine):
    here, there = Worker(machine("here"), run_id="1"), Worker(machine("there"), run_id="2")
    stood_still = LeaseRecord(token=1, holder="run 1 on here")

    def goes_on_too_long() -> None:
        with here.at_work() as kept:
            # It has claimed the state, and done nothing yet.
            assert killed(there, "b", dies_at=2)
            here.platform.objects.put_bytes(f"leases/{KEY}", stood_still.encoded())
            here.does("x")
            kept.keep("runs/x")

    with pytest.raises(DataRefused, match=r"run 2 on \S+ has gone on with studies/s"):
        goes_on_too_long()
    with there.at_work():
        assert there.done() == ["b"]


def test_running_work_is_told_to_end_and_nothing_of_it_is_stored(machine: Machine, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("infra.leases.RENEWALS", 6000)
    here, ended = Worker(machine("here"), run_id="1"), []

    def works_on() -> None:
        with here.at_work() as kept:
            here.does("a")
            ends = kept.stops(lambda: False)
            assert not ends()
            taken_over(here)
            for _ in range(1000):
                if ends():
                    ended.append("a")
                    raise ChildInterrupted("the child was ended")
                Leases(here.platform.objects)._sleep(0.01)
            raise AssertionError("it was never told")

    with pytest.raises(DataRefused, match="run 9 on elsewhere has gone on with studies/s"):
        works_on()
    assert ended == ["a"]
    assert here.platform.artifacts.find(f"{KEY}/runs.a") is None


def test_an_orphan_of_the_same_run_ends_without_a_word(machine: Machine):
    here, there = (Worker(machine(name), run_id="1") for name in ("here", "there"))

    def goes_on_too_long() -> None:
        with here.at_work() as kept:
            works(there, "b")
            here.does("x")
            kept.keep("runs/x")

    # Where the process ends, nothing is raised any more; here it goes on.
    with pytest.raises(DataRefused):
        goes_on_too_long()
    assert here.ended == ORPHANED


def test_two_processes_of_a_machine_do_not_work_in_one_folder(machine: Machine):
    here = Worker(machine("here"))
    here.folder.mkdir(parents=True)
    counted = dataclasses.replace(here.platform, objects=Mortal(here.platform.objects))
    with (here.folder / ".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        with pytest.raises(DataRefused, match="another is here"):
            works(Worker(counted), "a")
    assert isinstance(counted.objects, Mortal)
    assert counted.objects.seen == []
