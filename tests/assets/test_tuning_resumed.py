"""Searches that are gone on with, after a kill too; refused where settings or data are others, or another works."""

import fcntl
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from pydantic import JsonValue

from assets.resources import DataRefused
from data_checks.receipts import Receipt
from ml.tuning.search_space import read_space
from tests.assets.tuning_bench import AS_OF, DAYS, Bench


@pytest.fixture
def bench(make_bench: Callable[[type[Bench]], Bench]) -> Bench:
    return make_bench(Bench)


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
    receipts: dict[str, JsonValue] = {
        day.isoformat(): publish_day(day, content=b"restated", admitted=9).receipt_id for day in DAYS
    }
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


def test_a_killed_search_goes_on_with_the_trial_that_was_running(bench: Bench):
    bench.plan(waiting=[2])
    program = (
        "import sys; from pathlib import Path; "
        "from tests.assets.tuning_bench import run_in_another_process; run_in_another_process(Path(sys.argv[1]))"
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
