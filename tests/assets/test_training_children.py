"""Training once among all who want the same model: what is found, what is waited for, and a child that is stopped."""

import dataclasses
import threading
import time
from pathlib import Path
from typing import Any

import dagster as dg
import pytest
from pydantic import BaseModel

from assets import training_children
from assets.kept_checkpoints import checkpoints_key
from assets.resources import Platform
from assets.training_children import ORPHANED, trained
from infra.leases import Leases

# Writes what it made; a file `slow` beside it makes it wait to be ended, having said that it works.
STAND_IN = """
import argparse, pathlib, sys, time
parser = argparse.ArgumentParser()
parser.add_argument("verb"); parser.add_argument("--spec"); parser.add_argument("--out")
given = parser.parse_args()
pathlib.Path(given.out).mkdir(parents=True)
print("working", flush=True)
beside = pathlib.Path(__file__)
with beside.with_name("calls").open("a") as calls:
    print(given.verb, file=calls)
if beside.with_name("slow").exists():
    time.sleep(600)
(pathlib.Path(given.out) / "weights").write_text("w")
"""


class Spec(BaseModel):
    """Stands in for a training spec: something that is written as JSON and has an identity."""

    def identity(self) -> str:
        return "i" * 64


@pytest.fixture
def bench(platform: Platform, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    stand_in = tmp_path / "python" / "ml"
    stand_in.mkdir(parents=True)
    (stand_in / "__main__.py").write_text(STAND_IN)
    monkeypatch.chdir(tmp_path)

    class Bench:
        slow = stand_in / "slow"
        objects = platform.objects
        told: list[str] = []  # noqa: RUF012

        def calls(self) -> int:
            file = stand_in / "calls"
            return len(file.read_text().splitlines()) if file.exists() else 0

        def taken_over_by(self, holder: str) -> threading.Thread:
            """Another takes the lease as soon as the child works."""

            def take_over() -> None:
                while "working" not in self.told:
                    time.sleep(0.02)
                taker = Leases(self.objects, seconds=0.0, sleep=lambda _: None)
                assert taker.acquire(f"training/{'i' * 64}", holder=holder) is not None

            thread = threading.Thread(target=take_over)
            thread.start()
            return thread

        def train(self, *, in_store: bool, run_id: str = "r1", **changes: Any) -> Any:
            own = dataclasses.replace(
                platform,
                child_environment={"PYTHONPATH": str(stand_in.parent)},
                checkpoints_in_store=in_store,
                cache_root=tmp_path / run_id,
            )
            folder = tmp_path / f"scratch-{run_id}-{time.monotonic_ns()}"
            folder.mkdir()
            return trained(
                own,
                Spec(),  # pyright: ignore[reportArgumentType]
                find=lambda: own.artifacts.find("models/m"),
                publish=lambda out: own.artifacts.publish_directory("models/m", out, metadata={}),
                run_id=run_id,
                folder=folder,
                log=self.told.append,
                **changes,
            )

    return Bench()


@pytest.mark.parametrize("in_store", [False, True])
def test_what_exists_is_not_trained_again(bench: Any, in_store: bool):
    manifest, is_new = bench.train(in_store=in_store)
    assert (list(manifest.files), is_new) == (["weights"], True)
    again, is_new = bench.train(in_store=in_store)
    assert (again, is_new, bench.calls()) == (manifest, False, 1)
    assert list(bench.objects.list_keys("checkpoints/")) == []


def test_the_second_run_waits_for_the_first_and_trains_nothing(bench: Any, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(Leases.__init__, "__kwdefaults__", {**Leases.__init__.__kwdefaults__, "seconds": 0.3})
    answers: list[Any] = []
    racing = [
        threading.Thread(target=lambda run=run: answers.append(bench.train(in_store=True, run_id=run)))
        for run in ("r1", "r2")
    ]
    for thread in racing:
        thread.start()
    for thread in racing:
        thread.join(timeout=60)
    assert sorted(is_new for _, is_new in answers) == [False, True]
    assert bench.calls() == 1


def test_a_child_whose_lease_was_taken_is_ended_and_the_run_is_not_retried(bench: Any, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(Leases.__init__, "__kwdefaults__", {**Leases.__init__.__kwdefaults__, "seconds": 0.3})
    bench.slow.touch()

    thread = bench.taken_over_by("another")
    with pytest.raises(dg.Failure, match="another run has taken over") as failure:
        bench.train(in_store=True)
    thread.join()
    assert failure.value.allow_retries is False
    assert bench.objects.exists(f"{checkpoints_key('i' * 64)}/manifest.json") is False


def test_a_child_that_finishes_after_its_lease_was_taken_stores_nothing(bench: Any, monkeypatch: pytest.MonkeyPatch):
    def taken_meanwhile(*_: Any, **__: Any) -> Path:
        taker = Leases(bench.objects, seconds=0.0, sleep=lambda _: None)
        assert taker.acquire(f"training/{'i' * 64}", holder="another") is not None
        return Path("never read")

    monkeypatch.setattr(training_children, "run_child", taken_meanwhile)
    with pytest.raises(dg.Failure, match="another run has taken over"):
        bench.train(in_store=True)
    assert list(bench.objects.list_keys("models/")) == []


def test_an_orphan_of_the_same_run_ends_without_a_word(bench: Any, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(Leases.__init__, "__kwdefaults__", {**Leases.__init__.__kwdefaults__, "seconds": 0.3})
    bench.slow.touch()
    ended: list[int] = []

    class Ended(BaseException):
        pass

    def end(code: int) -> None:
        ended.append(code)
        raise Ended

    thread = bench.taken_over_by("run r1 on another-node")
    with pytest.raises(Ended):
        bench.train(in_store=True, end_process=end)
    thread.join()
    assert ended == [ORPHANED]


def test_an_orphan_of_a_run_whose_later_attempt_has_ended_ends_without_a_word(
    bench: Any, monkeypatch: pytest.MonkeyPatch
):
    def ended_meanwhile(*_: Any, **__: Any) -> Path:
        later = Leases(bench.objects, seconds=0.0, sleep=lambda _: None)
        lease = later.acquire(f"training/{'i' * 64}", holder="run r1 on another-node")
        assert lease is not None
        later.release(lease)
        return Path("never read")

    class Ended(BaseException):
        pass

    def end(code: int) -> None:
        assert code == ORPHANED
        raise Ended

    monkeypatch.setattr(training_children, "run_child", ended_meanwhile)
    with pytest.raises(Ended):
        bench.train(in_store=True, end_process=end)
    assert list(bench.objects.list_keys("models/")) == []


def test_a_training_that_fails_gives_its_lease_back(bench: Any, monkeypatch: pytest.MonkeyPatch):
    def broken(*_: Any, **__: Any) -> Any:
        raise OSError("disk full")

    with monkeypatch.context() as patched:
        patched.setattr("assets.training_children.run_child", broken)
        with pytest.raises(OSError, match="disk full"):
            bench.train(in_store=True, run_id="r1")
    waited: list[str] = []
    lease = Leases(bench.objects).acquire(f"training/{'i' * 64}", holder="r2", waiting=waited.append)
    assert lease is not None
    assert (lease.token, waited) == (2, [])
