"""The record of how a run ended: what it cost is measured, and records of older versions still load."""

import json
import subprocess
import sys
import time
from types import SimpleNamespace

import pytest
import torch

from ml.commands import train
from ml.training.exit_record import ExitRecord, cpu_seconds

OLD = {"peak_memory_bytes": 7, "reason": None, "resumes_after": None, "seconds": 1.5, "shortfalls": [], "signal": None}


def test_a_record_of_an_older_version_loads_and_says_that_nothing_was_measured():
    record = ExitRecord.model_validate_json(json.dumps({"status": "ok", **OLD}))
    assert (record.cpu_seconds, record.gpu_seconds, record.peak_gpu_memory_bytes) == (None, None, None)
    assert record.resumed_from is None


def test_cpu_seconds_count_this_process_and_the_children_it_has_waited_for():
    before = cpu_seconds()
    spin = "import time\nend = time.process_time() + 0.5\nwhile time.process_time() < end: pass"
    subprocess.run([sys.executable, "-c", spin], check=True)
    assert cpu_seconds() - before >= 0.5
    before, start = cpu_seconds(), time.process_time()
    while time.process_time() - start < 0.2:
        pass
    # The kernel shares its ticks out between user and system time, and rounds.
    assert cpu_seconds() - before >= 0.15


@pytest.fixture
def ending(tmp_path):
    """ending(device, kept=…) → the record that a run on such a device leaves."""

    def run(device, *, kept=None):
        found = train._Ending(tmp_path)
        checkpoints = None if kept is None else tmp_path / "kept"
        if kept is not None:
            (checkpoints / "model").mkdir(parents=True)
            content = {"content": {"position": kept}}
            (checkpoints / "model" / "checkpoint.json").write_text(json.dumps(content))
        runtime = SimpleNamespace(device=device, checkpoints=checkpoints)
        found.begin(SimpleNamespace(runtime=runtime, identity=lambda: "model"))
        if kept is not None:
            (checkpoints / "model" / "checkpoint.json").unlink()
        found.record("ok")
        return ExitRecord.model_validate_json((tmp_path / "exit.json").read_text())

    return run


def test_a_run_on_a_cpu_holds_no_gpu(ending):
    before = cpu_seconds()
    record = ending("cpu")
    assert (record.gpu_seconds, record.peak_gpu_memory_bytes) == (0.0, None)
    assert record.cpu_seconds is not None
    # The test's own process is older than the run; what it did before is not the run's.
    assert record.cpu_seconds <= cpu_seconds() - before + 0.001


def test_a_run_on_a_gpu_holds_it_all_the_while(ending, monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_initialized", lambda: True)
    monkeypatch.setattr(torch.cuda, "max_memory_allocated", lambda device: 7 if device == "cuda:1" else 0)
    record = ending("cuda:1")
    assert (record.gpu_seconds, record.peak_gpu_memory_bytes) == (record.seconds, 7)


def test_a_gpu_that_was_never_begun_to_be_used_is_not_asked(ending):
    assert not torch.cuda.is_initialized()
    assert ending("cuda").peak_gpu_memory_bytes is None


def test_a_run_that_found_a_checkpoint_says_where_it_went_on(ending):
    record = ending("cpu", kept={"epoch": 2, "step": 30})
    assert (record.resumed_from, record.resumes_after) == ("epoch 2, after step 30 of it", None)
