"""Experiments whose folder goes with the machine: what the store has of them is gone on with, whoever began it."""

import dataclasses
from collections.abc import Callable
from datetime import date
from typing import Any

import pytest

from assets.resources import DataRefused, Platform
from infra.leases import LeaseRecord
from ml.evaluation.measurement import Measured
from ml.experiments.scheduling import CoreBudget
from tests.assets.experiment_bench import Bench, figure
from tests.assets.kept_work import ON_BOTH, Killed, Listener, Mortal

KEY = "experiments/2026-01-09"
Machine = Callable[[str], Platform]


@pytest.fixture
def platform(machine: Machine) -> Platform:
    """In the place of a platform that keeps nothing; days are published into its store."""
    return machine("here")


@pytest.fixture
def bench(make_bench: Callable[[type[Bench]], Bench]) -> Bench:
    return make_bench(Bench)


@ON_BOTH
def test_a_fresh_home_goes_on_where_another_ended(bench: Bench, machine: Machine):
    bench.fail("esmm")
    first = bench.run()
    bench.calls()
    bench.fail()
    there = bench.on_another_machine(machine("there"))
    outcome = there.run()
    assert bench.calls() == ["score  1"] * 2 + ["train esmm 1"] * 2
    assert (outcome.cells, outcome.failures) == (4, ())
    assert figure(outcome.tables[0], "MLP") == figure(first.tables[0], "MLP") == Measured(value=0.75)
    runs = {run.run for row in outcome.tables[0].rows for run in row.runs}
    assert all((there.out / str(run) / name).exists() for run in runs for name in ("train/exit.json", "output.log"))
    # And where it began.
    assert (bench.run().tables, bench.calls()) == (outcome.tables, [])


def test_the_tables_are_where_the_outcome_says(bench: Bench):
    outcome = bench.run(models=("mlp",), seeds=1, keep_models=True)
    location = bench.platform.objects.location.rstrip("/")
    assert outcome.page.startswith(f"{location}/{KEY}/pages/")
    page = bench.platform.objects.get_bytes(outcome.page.removeprefix(f"{location}/")).data
    assert page == (bench.out / "index.html").read_bytes()
    kept = set(bench.platform.artifacts.open(f"{KEY}/pages").manifest.files)
    assert kept == {path.name for path in bench.out.iterdir() if path.is_file() and not path.name.startswith(".")}
    # Models are kept where they were asked for, and nowhere else.
    assert list(bench.out.rglob("weights"))
    assert not [key for key in bench.platform.objects.list_keys(KEY) if "weights" in key or "bundle" in key]


def test_each_cell_is_stored_when_it_ends(bench: Bench, machine: Machine):
    """Killed after the first of four: the three others are run elsewhere."""
    mortal = Mortal(bench.platform.objects)

    def tell(line: str) -> None:
        if line.startswith("[1/4]"):
            mortal.die()
            raise Killed

    bench.platform, bench.told = dataclasses.replace(bench.platform, objects=mortal), Listener(tell)
    with pytest.raises(Killed):
        bench.run(budget=CoreBudget(cores=1))
    bench.calls()
    there = bench.on_another_machine(machine("there"))
    there.platform.objects.delete(f"leases/{KEY}")
    assert there.run().cells == 4
    assert len([call for call in bench.calls() if call.startswith("train")]) == 3


@ON_BOTH
def test_graphs_that_were_built_are_those_of_finished_cells(bench: Bench, machine: Machine):
    """Another machine's arithmetic may give other last digits, and those would make other cells."""
    request: dict[str, Any] = {"tables": ("f",), "models": ("cstwa",), "seeds": 1}
    bench.run(**request)
    built = [call for call in bench.calls() if call.startswith("graph")]
    assert len(built) == 6
    there = bench.on_another_machine(machine("there"))
    there.run(**request)
    assert bench.calls() == []


def test_who_is_taken_over_stores_nothing_and_says_so(bench: Bench):
    def tell(line: str) -> None:
        if line.startswith("[1/"):
            record = LeaseRecord(token=9, holder="run 9 on elsewhere")
            bench.platform.objects.put_bytes(f"leases/{KEY}", record.encoded())

    bench.told = Listener(tell)
    with pytest.raises(DataRefused, match=f"run 9 on elsewhere has gone on with {KEY}"):
        bench.run()
    assert len({key.split("/")[2] for key in bench.platform.objects.list_keys(f"{KEY}/runs.")}) == 1
    assert bench.platform.artifacts.find(f"{KEY}/pages") is None


def test_days_are_apart(bench: Bench):
    assert date.fromisoformat(KEY.rpartition("/")[2]) == date(2026, 1, 9)
    bench.run(models=("mlp",), seeds=1)
    assert {key.split("/")[1] for key in bench.platform.objects.list_keys("experiments/")} == {"2026-01-09"}
