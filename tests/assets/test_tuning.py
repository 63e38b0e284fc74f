"""Searches: trials of an as-of day in children (a stand-in for `python -m ml`), watched, failed, refused."""

import csv
import json
from collections.abc import Callable

import pytest

from assets.tuning import train_line
from infra.artifacts import ArtifactMissing
from ml.experiments.scheduling import CoreBudget
from ml.tuning.search_space import read_space
from tests.assets.tuning_bench import AS_OF, DAYS, Bench


@pytest.fixture
def bench(make_bench: Callable[[type[Bench]], Bench]) -> Bench:
    return make_bench(Bench)


def test_trials_are_trained_on_the_window_and_the_study_is_gone_on_with(bench: Bench):
    record = bench.run()
    calls = bench.calls()
    assert [call[0] for call in calls] == ["0", "1", "2"]
    assert [trial.state for trial in record.trials] == ["complete"] * 3
    best = max(calls, key=lambda call: float(call[1]))
    assert record.best == int(best[0])
    assert record.best_trial is not None
    assert record.best_trial.value == pytest.approx(1.0 + float(best[1]))
    assert record.best_trial.settings == {"embedding_size": int(best[2]), "learning_rate": float(best[1])}
    train = json.loads((bench.out / "trials" / "0000" / "train.json").read_text())
    assert [day["day"] for day in train["days"]] == [day.isoformat() for day in DAYS]
    assert (train["as_of"], train["calibration"], train["epochs"]) == (AS_OF.isoformat(), "none", 3)
    assert not list(bench.out.rglob("bundle"))
    assert not list(bench.out.rglob("kept"))
    assert {"index.html", "study.json", "trials.csv", "parallel_coordinates.png", "journal.jsonl"} <= {
        path.name for path in bench.out.iterdir()
    }

    again = bench.run()
    assert (again, bench.calls()) == (record, [])
    more = bench.run(trials=4, budget=CoreBudget(cores=4, threads=2))
    assert [call[0::3] for call in bench.calls()] == [["3", "2"]]
    assert more.trials[:3] == record.trials


def test_trials_that_fall_behind_are_ended_and_failed_ones_say_why(bench: Bench):
    # Trial 5 would wait for two minutes after its second epoch.
    bench.plan(bad=[5], failing=[1])
    record = bench.run(trials=6)
    assert [trial.state for trial in record.trials] == ["complete", "failed", *["complete"] * 3, "pruned"]
    assert record.trials[5].epochs == 2
    assert record.trials[1].reason == "train ended with exit code 1: the loss is no number"
    assert not list(bench.out.rglob("kept"))
    rows = list(csv.DictReader((bench.out / "trials.csv").read_text().splitlines()))
    assert [row["state"] for row in rows] == [trial.state for trial in record.trials]


def test_without_a_complete_trial_there_is_no_best_one(bench: Bench):
    bench.plan(failing=[0, 1])
    record = bench.run(trials=2)
    assert (record.best, record.command, record.count("failed")) == (None, None, 2)
    assert "the loss is no number" in (bench.out / "index.html").read_text()


def test_settings_that_a_trial_cannot_have_fail_that_trial_alone(bench: Bench):
    space = read_space({"weight_decay": [0, 0.1]}, model="esmm")
    record = bench.run(space=space, trials=4)
    assert {(trial.state, trial.settings["weight_decay"]) for trial in record.trials} == {
        ("complete", 0.0),
        ("failed", 0.1),
    }
    assert "weight_decay 0.1 is adamw's" in str([trial.reason for trial in record.trials])
    assert len(bench.calls()) == record.count("complete")


def test_without_embeddings_it_is_refused(bench: Bench):
    with pytest.raises(ArtifactMissing, match="materialize ctr_embeddings of 2026-01-08"):
        bench.run(as_of=DAYS[2])


def test_the_best_trials_command_repeats_what_was_set(bench: Bench):
    line = train_line(bench.platform, bench.request(), {"learning_rate": 1e-5, "tower_widths": [64, 32]})
    assert line == (
        "postclick run --days 2026-01-09 --as-of 2026-01-09 --model esmm --set epochs=3 --set learning_rate=1.0e-05 "
        "--set 'tower_widths=[64, 32]'"
    )


def test_what_is_searched_is_not_set_at_once(bench: Bench):
    with pytest.raises(ValueError, match="learning_rate is searched and set at once"):
        bench.request(given={"learning_rate": 0.1})
    with pytest.raises(ValueError, match="the space is model mlp's"):
        bench.request(space=read_space({"l2": [0.1]}, model="mlp"))
