"""Searches: trials of an as-of day in children (a stand-in for `python -m ml`), watched, resumed, refused."""

import csv
import dataclasses
import fcntl
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import pytest

from assets.resources import DataRefused, Platform
from assets.tuning import run_tuning, train_line
from assets.tuning_trials import TuningRequest
from data_checks.receipts import Receipt
from infra.artifacts import ArtifactMissing
from ml.data.dataset import DatasetSpec
from ml.experiments.scheduling import CoreBudget
from ml.tuning.records import StudyRecord
from ml.tuning.search_space import read_space

AS_OF = date(2026, 1, 9)
DAYS = [AS_OF - timedelta(days=age) for age in (3, 2, 1)]

#: It writes epoch lines as the trainer does, each as good as the learning rate is high, and waits where it is told to.
STAND_IN = """
import argparse, json, os, pathlib, sys, time
parser = argparse.ArgumentParser()
parser.add_argument("verb"); parser.add_argument("--spec"); parser.add_argument("--out")
given = parser.parse_args()
here = pathlib.Path(__file__).parent
spec, out = json.loads(pathlib.Path(given.spec).read_text()), pathlib.Path(given.out)
out.mkdir(parents=True)
plan = json.loads((here / "plan").read_text())
number = int(out.parent.name)
with (here / "calls").open("a") as file:
    print(number, spec["learning_rate"], spec["model"]["embedding_size"], os.environ["OMP_NUM_THREADS"], file=file)
checkpoint = pathlib.Path(spec["runtime"]["checkpoints"])
checkpoint.mkdir(parents=True, exist_ok=True)
(checkpoint / "kept").write_text(str(number))
if number in plan["failing"]:
    (out / "exit.json").write_text(json.dumps({"reason": "the loss is no number"}))
    sys.exit(1)
(out / "bundle").mkdir()
for epoch in range(1, spec["epochs"] + 1):
    value = 1.0 + spec["learning_rate"] - (0.5 if number in plan["bad"] else 0)
    line = {"kind": "epoch", "epoch": epoch, "validation": {"score": value, "score_is": "auc_ctr + auc_ctcvr"}}
    with (out / "metrics.jsonl").open("a") as file:
        print(json.dumps(line), file=file)
    if number in plan["bad"] and epoch == 2 or number in plan["waiting"]:
        time.sleep(120)
"""


class Bench:
    """A platform with the artifacts that a search reads, and a stand-in for its children."""

    def __init__(self, platform: Platform, spec: DatasetSpec, folder: Path) -> None:
        self.spec, self.folder, self.told = spec, folder, []
        self.out = folder / "study"
        self.stand_in = folder / "python" / "ml"
        self.stand_in.mkdir(parents=True)
        (self.stand_in / "__main__.py").write_text(STAND_IN)
        self.plan()
        self.platform = dataclasses.replace(platform, child_environment={"PYTHONPATH": str(self.stand_in.parent)})

    def publish_inputs(self, receipts: dict[str, str]) -> None:
        source = self.folder / "inputs"
        source.mkdir()
        for name in ("table.safetensors", "graph.safetensors", "vocabulary.json"):
            (source / name).write_text(name)
        publish, day = self.platform.artifacts.publish, AS_OF.isoformat()
        embeddings = {"table.safetensors": source / "table.safetensors", "vocabulary/v": source / "vocabulary.json"}
        publish(f"ctr_embeddings/{day}", embeddings, metadata={"identity": "e", "receipts": receipts})
        for side in ("user", "item"):
            graph = {"graph.safetensors": source / "graph.safetensors"}
            publish(f"{side}_graph/{day}", graph, metadata={"embedding_id": "e"})

    def plan(self, **numbers: list[int]) -> None:
        """Trials by number that fail, fall behind after their second epoch, or never end."""
        (self.stand_in / "plan").write_text(json.dumps({"failing": [], "bad": [], "waiting": [], **numbers}))

    def request(self, **changes: Any) -> TuningRequest:
        content = {"learning_rate": {"low": 1e-4, "high": 1e-2}, "embedding_size": [4, 8]}
        values = {
            "as_of": AS_OF,
            "name": "s",
            "out": self.out,
            "training": {**self.spec.training.training_settings(), "epochs": 3},
            "model": {"embedding_size": 5, **self.spec.training.model},
            "given": {"epochs": 3},
            "space": read_space(content, model="esmm"),
            "trials": 3,
            "budget": CoreBudget(cores=1),
            **changes,
        }
        return TuningRequest.model_validate(values)

    def run(self, **changes: Any) -> StudyRecord:
        return run_tuning(self.platform, self.spec, self.request(**changes), tell=self.told.append)

    def calls(self) -> list[list[str]]:
        """What the stand-in was called with since the last question."""
        file = self.stand_in / "calls"
        lines = file.read_text().splitlines() if file.exists() else []
        file.unlink(missing_ok=True)
        return [line.split() for line in lines]


@pytest.fixture
def bench(
    platform: Platform,
    spec: DatasetSpec,
    tmp_path: Path,
    publish_day: Callable[..., Receipt],
    monkeypatch: pytest.MonkeyPatch,
) -> Bench:
    # `python -m` looks in the working folder first, which is the repository.
    monkeypatch.chdir(tmp_path)
    bench = Bench(platform, spec, tmp_path)
    # The as-of day itself has no receipt: nothing of it is read.
    bench.publish_inputs(
        {day.isoformat(): publish_day(day, content=day.isoformat().encode()).receipt_id for day in DAYS}
    )
    return bench


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


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"seed": 1}, "seed is 1 and was 0"),
        ({"objective": "auc_cvr"}, "objective is auc_cvr and was score"),
        ({"space": read_space({"l2": [0.1]}, model="esmm")}, "space is"),
    ],
)
def test_a_study_of_other_settings_is_refused(bench: Bench, changes: dict[str, Any], said: str):
    bench.run(trials=1)
    with pytest.raises(DataRefused, match=said):
        bench.run(trials=2, **changes)


def test_a_study_of_other_data_is_refused(bench: Bench, publish_day: Callable[..., Receipt]):
    bench.run(trials=1)
    receipts = {day.isoformat(): publish_day(day, content=b"restated", admitted=9).receipt_id for day in DAYS}
    source = bench.folder / "inputs" / "again"
    source.write_text("t")
    embeddings = {"table.safetensors": source, "vocabulary/v": source}
    bench.platform.artifacts.publish(
        f"ctr_embeddings/{AS_OF.isoformat()}", embeddings, metadata={"identity": "e", "receipts": receipts}
    )
    with pytest.raises(DataRefused, match=r"data \(receipts, embeddings, graphs\) or the code is another"):
        bench.run(trials=2)


def test_two_searches_do_not_work_on_one_study(bench: Bench):
    bench.out.mkdir()
    with (bench.out / ".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        with pytest.raises(DataRefused, match="another search is at work"):
            bench.run()
    assert bench.calls() == []


def test_without_embeddings_it_is_refused(bench: Bench):
    with pytest.raises(ArtifactMissing, match="materialize ctr_embeddings of 2026-01-08"):
        bench.run(as_of=DAYS[2])


def test_a_killed_search_goes_on_with_the_trial_that_was_running(bench: Bench):
    bench.plan(waiting=[2])
    program = (
        "import sys; from pathlib import Path; "
        "from tests.assets.test_tuning import run_in_another_process; run_in_another_process(Path(sys.argv[1]))"
    )
    (bench.folder / "request.json").write_text(bench.request(trials=4).model_dump_json())
    (bench.folder / "spec.json").write_text(bench.spec.model_dump_json(by_alias=True))
    root = Path(__file__).parents[2]
    process = subprocess.Popen(
        [sys.executable, "-c", program, str(bench.folder)],
        cwd=bench.folder,
        env={**os.environ, "PYTHONPATH": str(root)},
    )
    try:
        deadline = time.monotonic() + 120
        while not (bench.out / "trials" / "0002" / "train" / "metrics.jsonl").exists():
            assert process.poll() is None
            assert time.monotonic() < deadline
            time.sleep(0.05)
        # The first epoch of the third trial has been reported.
        time.sleep(0.5)
    finally:
        process.send_signal(signal.SIGKILL)
        process.wait()
    first = bench.calls()
    bench.plan()
    record = bench.run(trials=4)
    again = bench.calls()
    assert [trial.number for trial in record.trials] == [0, 1, 3, 4]
    assert [call[0] for call in again] == ["3", "4"]
    assert again[0][1:3] == first[2][1:3]
    assert not list(bench.out.rglob("kept"))


def run_in_another_process(folder: Path) -> None:
    from infra.local_object_store import LocalObjectStore
    from tests.assets.conftest import Tracking

    tracking = Tracking(project="t", online=False, timeout_seconds=1, folder=folder / "tracking", environment={})
    platform = Platform(
        objects=LocalObjectStore(folder / "store"),
        feed_root=folder / "feed",
        cache_root=folder / "cache",
        child_environment={"PYTHONPATH": str(folder / "python")},
        threads=1,
        device="cpu",
        tracking=tracking,
    )
    spec = DatasetSpec.model_validate_json((folder / "spec.json").read_text())
    request = TuningRequest.model_validate_json((folder / "request.json").read_text())
    run_tuning(platform, spec, request, tell=lambda _: None)


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
