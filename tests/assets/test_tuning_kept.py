"""Studies whose folder goes with the machine: what the store has of them is gone on with, whoever began them."""

import json
from collections.abc import Callable

import pytest

from assets.resources import DataRefused, Platform
from assets.tuning import study_page
from infra.leases import LeaseRecord
from ml.tuning.records import JOURNAL_FILE
from tests.assets.kept_work import ON_BOTH, Listener
from tests.assets.tuning_bench import Bench

KEY = "studies/s"
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
    first = bench.run(trials=2)
    proposed = bench.calls()
    there = bench.on_another_machine(machine("there"))
    record = there.run(trials=4)
    assert [call[0] for call in bench.calls()] == ["2", "3"]
    assert record.trials[:2] == first.trials
    log = there.out / "trials" / "0000" / "output.log"
    assert log.exists()
    assert json.loads((log.parent / "train.json").read_text())["learning_rate"] == float(proposed[0][1])
    # And where it began; the same trials as those of one machine are proposed.
    again = bench.run(trials=4)
    assert (again, bench.calls()) == (record, [])
    assert not [key for key in bench.platform.objects.list_keys(KEY) if "bundle" in key or "checkpoint" in key]


def test_what_is_proposed_depends_on_no_machine(bench: Bench, machine: Machine):
    bench.run(trials=2)
    bench.on_another_machine(machine("there")).run(trials=3)
    elsewhere = bench.calls()
    alone = bench.on_another_machine(machine("third"))
    alone.run(trials=3, name="other")
    assert [call[1:3] for call in bench.calls()] == [call[1:3] for call in elsewhere]


def test_pages_are_in_the_store_and_the_page_says_where(bench: Bench):
    bench.run(trials=1)
    location = bench.platform.objects.location.rstrip("/")
    for name in ("index.html", "trials.csv"):
        address = study_page(bench.platform, bench.request(), name=name)
        assert address.startswith(f"{location}/{KEY}/pages/")
        stored = bench.platform.objects.get_bytes(address.removeprefix(f"{location}/")).data
        assert stored == (bench.out / name).read_bytes()


def test_each_trial_is_stored_when_it_ends_and_the_journal_with_it(bench: Bench, machine: Machine):
    seen: list[tuple[int, list[str]]] = []

    def look(line: str) -> None:
        if line.startswith("["):
            journal = bench.platform.artifacts.open(KEY).path(JOURNAL_FILE).read_bytes()
            assert journal.endswith(b"\n")
            assert all(json.loads(each) for each in journal.splitlines())
            states = [json.loads(each).get("state") for each in journal.splitlines()]
            keys = bench.platform.objects.list_keys(f"{KEY}/trials.")
            seen.append((states.count(1), sorted({key.split("/")[2] for key in keys})))

    bench.told = Listener(look)
    bench.run(trials=2)
    assert seen == [(1, ["trials.0000"]), (2, ["trials.0000", "trials.0001"])]


def test_a_journal_cut_in_mid_line_is_gone_on_with(bench: Bench, machine: Machine):
    """A record that was being written when its machine vanished belongs to a trial that had not ended."""
    first = bench.run(trials=2)
    bench.calls()
    journal = bench.out / JOURNAL_FILE
    whole = journal.read_bytes()
    journal.write_bytes(whole[: whole.rindex(b"\n", 0, -1) + 9])
    bench.run(trials=1)
    there = bench.on_another_machine(machine("there"))
    record = there.run(trials=2)
    assert record.trials[0] == first.trials[0]
    # The second trial's end was lost: its settings were tried again.
    assert record.trials[1].settings == first.trials[1].settings
    assert [call[0] for call in bench.calls()] == ["2"]


def test_a_study_of_other_settings_is_refused_elsewhere_too(bench: Bench, machine: Machine):
    bench.run(trials=1)
    there = bench.on_another_machine(machine("there"))
    with pytest.raises(DataRefused, match="seed is 1 and was 0"):
        there.run(trials=2, seed=1)
    assert there.run(trials=1).count("complete") == 1


def test_who_is_taken_over_ends_its_trial_and_stores_nothing(bench: Bench, machine: Machine):
    def tell(line: str) -> None:
        if line.startswith("[1/"):
            record = LeaseRecord(token=9, holder="run 9 on elsewhere")
            bench.platform.objects.put_bytes(f"leases/{KEY}", record.encoded())

    bench.told = Listener(tell)
    with pytest.raises(DataRefused, match=f"run 9 on elsewhere has gone on with {KEY}"):
        bench.run()
    assert bench.platform.artifacts.find(f"{KEY}/trials.0001") is None
    bench.platform.objects.delete(f"leases/{KEY}")
    there = bench.on_another_machine(machine("there"))
    bench.calls()
    there.run()
    assert [call[0] for call in bench.calls()] == ["1", "2"]


def test_a_name_that_the_store_means_something_else_by_is_refused(bench: Bench):
    with pytest.raises(ValueError, match="16 hexadecimal digits stand for a version in the store"):
        bench.request(name="0123456789abcdef")
