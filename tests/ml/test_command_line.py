"""``python -m ml`` as child processes: the chain from samples to predictions, exit codes, refusals and SIGTERM."""

from __future__ import annotations

import errno
import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from datetime import date, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pyarrow.parquet as pq
import pytest
import torch

from ml.__main__ import main
from ml.commands.specs import Refused, prepare_out, read_spec
from ml.data.fields import FieldSpec
from ml.training import trainer
from ml.training.diagnosis import TrainingDiverged
from ml.training.exit_record import ExitRecord
from ml.training.spec import TrainSpec

ROOT = Path(__file__).parents[2]
FIRST_DAY = date(2026, 11, 1)
DAYS = 2

WriteSamples = Callable[..., tuple[Path, str]]


def _environment() -> dict[str, str]:
    return {**{k: v for k, v in os.environ.items() if k != "OMP_WAIT_POLICY"}, "OMP_NUM_THREADS": "1"}


def _ml(verb: str, spec: dict[str, Any] | Path, out: Path) -> subprocess.CompletedProcess[str]:
    if isinstance(spec, dict):
        path = out.with_name(f"{out.name}.spec.json")
        path.write_text(json.dumps(spec, default=str))
        spec = path
    command = [sys.executable, "-m", "ml", verb, "--spec", str(spec), "--out", str(out)]
    return subprocess.run(command, cwd=ROOT, env=_environment(), capture_output=True, text=True, check=False)


@pytest.fixture
def train_spec(
    tmp_path: Path, sample_fields: tuple[FieldSpec, ...], write_samples: WriteSamples
) -> Callable[..., dict[str, Any]]:
    def make(*, rows: int = 300, **changes: Any) -> dict[str, Any]:
        days = []
        for offset in range(DAYS):
            day = FIRST_DAY + timedelta(days=offset)
            path, sha256 = write_samples(day, rows)
            days.append({"day": day, "samples": path, "receipt_id": f"r{offset}", "content_sha256": sha256})
        return {
            "task": "ctr_pretraining",
            "fields": [field.model_dump(mode="json") for field in sample_fields],
            "user_key": "user",
            "item_key": "item",
            "model": {"name": "ctr"},
            "epochs": 2,
            "batch_size": 64,
            "min_count": 2,
            "as_of": FIRST_DAY + timedelta(days=DAYS),
            "days": days,
            "runtime": {"encoded_cache": tmp_path / "encoded", "progress_seconds": 0.01},
            **changes,
        }

    return make


def test_the_chain_from_samples_to_predictions(
    tmp_path: Path, train_spec: Callable[..., dict[str, Any]], write_samples: WriteSamples
) -> None:
    pretraining = tmp_path / "pretraining"
    answer = _ml("train", train_spec(), pretraining)
    assert answer.returncode == 0, answer.stderr
    assert "samples/s" in answer.stdout
    record = ExitRecord.model_validate_json((pretraining / "exit.json").read_text())
    assert (record.status, record.gpu_seconds, record.resumed_from) == ("ok", 0.0, None)
    assert record.cpu_seconds
    inputs = {"vocabulary_dir": pretraining / "vocabulary", "vocabulary_version": "v1"}
    for side in ("user", "item"):
        days = [
            {"day": day["day"], "samples": day["samples"], "content_id": day["content_sha256"]}
            for day in train_spec()["days"]
        ]
        graph = {
            "side": side,
            "table": pretraining / "table.safetensors",
            "vocabulary_dir": pretraining / "vocabulary",
            "days": days,
            "encoded_cache": tmp_path / "encoded",
        }
        answer = _ml("graph", graph, tmp_path / side)
        assert answer.returncode == 0, answer.stderr
        inputs |= {f"{side}_graph_dir": tmp_path / side, f"{side}_graph_version": "g1"}
    spec = train_spec(task="cvr", model={"name": "cstwa", "recent_predictions": 100}, inputs=inputs)
    for name in ("model", "again"):
        answer = _ml("train", spec, tmp_path / name)
        assert answer.returncode == 0, answer.stderr
    weights = [(tmp_path / name / "bundle" / "weights.safetensors").read_bytes() for name in ("model", "again")]
    assert weights[0] == weights[1]

    judged, sha256 = write_samples(FIRST_DAY + timedelta(days=DAYS), 500)
    score = {
        "bundle_dir": tmp_path / "model" / "bundle",
        "samples": judged,
        "content_sha256": sha256,
        "batch_size": 64,
        "encoded_cache": tmp_path / "encoded",
    }
    answer = _ml("score", score, tmp_path / "scored")
    assert answer.returncode == 0, answer.stderr
    summary = json.loads((tmp_path / "scored" / "score.json").read_text())
    assert summary["rows"] == 500
    assert summary["smoke_test_max_difference"] <= 1e-6
    predictions, samples = pq.read_table(tmp_path / "scored" / "predictions.parquet"), pq.read_table(judged)
    assert predictions.column_names[5:8] == ["p_ctr", "p_cvr", "p_ctcvr"]
    for name in ("impression_id", "unit_key", "click", "conversion", "value"):
        assert predictions.column(name).to_pylist() == samples.column(name).to_pylist(), name
    for name in ("p_ctr", "p_cvr", "p_ctcvr"):
        assert all(0 < p <= 1 for p in predictions.column(name).to_pylist())


def test_a_wrong_spec_exits_2_with_path_value_and_reason(
    tmp_path: Path, train_spec: Callable[..., dict[str, Any]]
) -> None:
    answer = _ml("train", train_spec(learning_rate=-1, model={"name": "esmn"}), tmp_path / "out")
    assert answer.returncode == 2
    assert "learning_rate: Input should be greater than 0; got -1" in answer.stderr
    assert "model: Value error, model name 'esmn' is unknown; use one of" in answer.stderr
    assert "Traceback" not in answer.stderr
    record = ExitRecord.model_validate_json((tmp_path / "out" / "exit.json").read_text())
    assert record.status == "failed"
    assert "esmn" in str(record.reason)


def test_an_empty_window_exits_2(tmp_path: Path, train_spec: Callable[..., dict[str, Any]]) -> None:
    answer = _ml("train", train_spec(rows=0), tmp_path / "empty")
    assert answer.returncode == 2
    assert "holds no row to train on" in answer.stderr
    assert "Traceback" not in answer.stderr


@pytest.mark.parametrize(
    ("fault", "reason", "with_traceback"),
    [
        (TrainingDiverged("the loss is not finite"), "the loss is not finite", False),
        (KeyError("surprise"), "KeyError: 'surprise'", True),
        (MemoryError("Unable to allocate 3 GiB"), "likely out of memory: peak ", True),
        (RuntimeError("DefaultCPUAllocator: can't allocate memory"), "likely out of memory: peak ", True),
        (OSError(errno.ENOSPC, "No space left on device", "/full/file"), "the disk is full: /full/file ", True),
    ],
)
def test_a_failed_run_exits_1_and_says_why(
    tmp_path: Path,
    train_spec: Callable[..., dict[str, Any]],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    fault: Exception,
    reason: str,
    with_traceback: bool,
) -> None:
    def fail(*_: object) -> None:
        raise fault

    monkeypatch.setattr(trainer, "run", fail)
    (tmp_path / "spec.json").write_text(json.dumps(train_spec(rows=10), default=str))
    out = tmp_path / "out"
    assert main(["train", "--spec", str(tmp_path / "spec.json"), "--out", str(out)]) == 1
    record = ExitRecord.model_validate_json((out / "exit.json").read_text())
    assert record.status == "failed"
    assert str(record.reason).startswith(reason)
    told = capsys.readouterr().err
    assert str(record.reason) in told
    assert ("Traceback" in told) == with_traceback


def test_a_want_of_gpu_memory_is_told_in_the_gpus_figures(
    tmp_path: Path,
    train_spec: Callable[..., dict[str, Any]],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def fail(*_: object) -> None:
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB")

    monkeypatch.setattr(trainer, "run", fail)
    monkeypatch.setattr(torch.cuda, "max_memory_allocated", lambda _: 7 * 2**30)
    monkeypatch.setattr(torch.cuda, "get_device_properties", lambda _: SimpleNamespace(total_memory=8 * 2**30))
    spec = train_spec(rows=10, runtime={"encoded_cache": tmp_path / "encoded", "device": "cuda"})
    (tmp_path / "spec.json").write_text(json.dumps(spec, default=str))
    assert main(["train", "--spec", str(tmp_path / "spec.json"), "--out", str(tmp_path / "out")]) == 1
    record = ExitRecord.model_validate_json((tmp_path / "out" / "exit.json").read_text())
    assert "peak 7.00 GiB of 8.00 GiB (the GPU's memory)" in str(record.reason)


def test_an_exit_record_that_cannot_be_written_is_said_on_stderr(
    tmp_path: Path,
    train_spec: Callable[..., dict[str, Any]],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    def fail(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(trainer, "run", fail)
    monkeypatch.setattr(ExitRecord, "save", fail)
    (tmp_path / "spec.json").write_text(json.dumps(train_spec(rows=10), default=str))
    assert main(["train", "--spec", str(tmp_path / "spec.json"), "--out", str(tmp_path / "out")]) == 1
    told = capsys.readouterr().err
    assert "exit.json could not be written: [Errno 28]" in told
    assert f"the disk is full: {tmp_path}" in told


def test_sigterm_exits_143_and_says_so(tmp_path: Path, train_spec: Callable[..., dict[str, Any]]) -> None:
    spec, out = tmp_path / "spec.json", tmp_path / "out"
    runtime = {"encoded_cache": tmp_path / "encoded", "progress_seconds": 0.01, "checkpoints": tmp_path / "kept"}
    spec.write_text(json.dumps(train_spec(epochs=1000, patience=0, rows=2000, runtime=runtime), default=str))
    command = [sys.executable, "-u", "-m", "ml", "train", "--spec", str(spec), "--out", str(out)]
    with subprocess.Popen(
        command, cwd=ROOT, env=_environment(), stdout=subprocess.PIPE, text=True, start_new_session=True
    ) as process:
        assert process.stdout is not None
        for line in process.stdout:
            if "samples/s" in line:
                # As the platform does it: the worker has it twice, from here and from its supervisor.
                os.killpg(process.pid, signal.SIGTERM)
                break
        process.stdout.read()
        assert process.wait(timeout=60) == 143
    record = ExitRecord.model_validate_json((out / "exit.json").read_text())
    assert (record.status, record.signal) == ("terminated", "SIGTERM")
    assert record.peak_memory_bytes > 2**20
    assert not (out / "table.safetensors").exists()
    assert str(record.resumes_after).startswith("epoch ")
    (kept,) = (tmp_path / "kept").iterdir()
    assert (kept / "checkpoint.json").exists()


def test_an_output_directory_that_is_not_empty_is_refused(tmp_path: Path) -> None:
    (tmp_path / "something").touch()
    with pytest.raises(Refused, match=r"is not empty \(it holds something\)"):
        prepare_out(tmp_path)
    with pytest.raises(Refused, match="is a file"):
        prepare_out(tmp_path / "something")
    prepare_out(tmp_path / "new" / "folder")
    assert (tmp_path / "new" / "folder").is_dir()


def test_a_spec_file_that_is_none_is_refused(tmp_path: Path) -> None:
    with pytest.raises(Refused, match="there is no such file"):
        read_spec(tmp_path / "spec.json", TrainSpec)
    (tmp_path / "spec.json").write_text("{")
    with pytest.raises(Refused, match="Invalid JSON"):
        read_spec(tmp_path / "spec.json", TrainSpec)


def test_the_process_waits_passively_for_its_threads() -> None:
    shown = "import os; print(os.environ['OMP_WAIT_POLICY'])"
    code = f"import sys, ml.__main__ as m; sys.orig_argv = ['', '-c', {shown!r}]; m.with_passive_threads()"
    answer = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, env=_environment(), capture_output=True, text=True, check=True
    )
    assert answer.stdout.strip() == "PASSIVE"
