"""Runs that are killed or terminated at random steps and resumed end bit for bit as one that was left in peace."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from ml.data.vocabulary import Vocabulary
from ml.graphs.graph import CsrGraph, save_graph
from ml.training import trainer
from ml.training.spec import TrainSpec
from ml.training.termination import Termination

ROOT = Path(__file__).parents[3]
MODELS = [
    {"name": "esmm"},
    {"name": "taml"},
    # Few predictions to remember, so that the curse escaper's ring is full and turns.
    {"name": "cstwa", "recent_predictions": 100, "warm_start_ctr": True},
]
EPOCHS, STEPS_PER_EPOCH, CHECKPOINT_EVERY = 3, 9, 3
RECORDED = [9 * epoch + step for epoch in range(EPOCHS) for step in (4, 8, 9)]

MakeSpec = Callable[..., TrainSpec]
Runs = Callable[..., list[int]]


@pytest.fixture
def inputs(make_spec: MakeSpec, tmp_path: Path) -> dict[str, Any]:
    """Vocabulary, table and a ring of neighbours on each side, as ``TrainInputs`` wants them."""
    (tmp_path / "pretraining").mkdir()
    trainer.run(make_spec(days=2, epochs=1), tmp_path / "pretraining", Termination())
    vocabulary = Vocabulary.load(tmp_path / "pretraining" / "vocabulary")
    values: dict[str, Any] = {
        "vocabulary_dir": tmp_path / "pretraining" / "vocabulary",
        "vocabulary_version": "v1",
        "embedding_table": tmp_path / "pretraining" / "table.safetensors",
        "embedding_version": "e1",
    }
    for side in ("user", "item"):
        _write_ring(tmp_path / side, vocabulary, side)
        values |= {f"{side}_graph_dir": tmp_path / side, f"{side}_graph_version": "g1"}
    return values


def _write_ring(directory: Path, vocabulary: Vocabulary, side: str) -> None:
    layout = vocabulary.layout
    nodes = layout.node_count(side)  # type: ignore[arg-type]
    columns = [layout.columns[i] for i in layout.entity_columns(side)]  # type: ignore[arg-type]
    features = np.stack([column.offset + np.arange(nodes) % (column.size - 1) + 1 for column in columns], axis=1)
    graph = CsrGraph(
        indptr=np.arange(nodes + 1, dtype=np.int64),
        indices=((np.arange(nodes) + 1) % nodes).astype(np.int32),
        weights=np.ones(nodes, dtype=np.float32),
        n=nodes,
    )
    save_graph(directory / "graph.safetensors", graph=graph, node_features=features.astype(np.int32))
    sha256 = hashlib.sha256((directory / "graph.safetensors").read_bytes()).hexdigest()
    report = {"graph_sha256": sha256, "vocabulary_digest": vocabulary.digest}
    (directory / "graph.json").write_text(json.dumps(report))


@pytest.fixture
def runs(make_spec: MakeSpec, inputs: dict[str, Any], tmp_path: Path) -> Runs:
    """runs(model, [attempt, …]) → exit codes; "checkpoints" of an attempt is the folder's name, None for none."""

    def start(model: dict[str, Any], attempts: list[dict[str, Any]]) -> list[int]:
        plan = []
        for number, attempt in enumerate(attempts):
            folder = attempt.pop("checkpoints", None)
            spec = make_spec(
                task="cvr", days=2, model=model, inputs=inputs, epochs=EPOCHS, patience=0,
                runtime={"encoded_cache": tmp_path / "encoded", "checkpoints": folder and tmp_path / folder},
            )  # fmt: skip
            path = tmp_path / f"spec-{number}.json"
            path.write_text(spec.model_dump_json())
            plan.append({**attempt, "spec": str(path), "out": str(tmp_path / attempt["out"])})
        (tmp_path / "plan.json").write_text(json.dumps(plan))
        command = [sys.executable, str(Path(__file__).with_name("interrupted_runs.py")), str(tmp_path / "plan.json")]
        environment = {**os.environ, "OMP_NUM_THREADS": "1", "OMP_WAIT_POLICY": "PASSIVE", "PYTHONPATH": str(ROOT)}
        answer = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=True)
        return json.loads(answer.stdout)

    return start


def _bundle(out: Path) -> dict[str, bytes]:
    files = {str(p.relative_to(out)): p.read_bytes() for p in sorted((out / "bundle").rglob("*")) if p.is_file()}
    assert "bundle/weights.safetensors" in files, (out.with_name(f"{out.name}.log")).read_text()
    return files


def _steps_of(out: Path) -> list[int]:
    lines = [json.loads(line) for line in (out / "metrics.jsonl").read_text().splitlines()]
    return [line["step"] for line in lines if line["kind"] == "step"]


@pytest.mark.parametrize(("model", "seed"), [(model, seed) for seed, model in enumerate(MODELS)], ids=str)
def test_a_killed_run_ends_bit_for_bit_as_one_in_peace(
    runs: Runs, tmp_path: Path, model: dict[str, Any], seed: int
) -> None:
    steps = EPOCHS * STEPS_PER_EPOCH
    points = sorted(np.random.default_rng(seed).choice(np.arange(1, steps + 1), 5, replace=False).tolist())
    attempts: list[dict[str, Any]] = [{"out": "peace"}]
    for point in points:
        folder = f"checkpoints-{point}"
        attempts += [
            {"out": f"killed-{point}", "checkpoints": folder, "end_at": point, "checkpoint_every": CHECKPOINT_EVERY},
            {"out": f"resumed-{point}", "checkpoints": folder},
        ]
    assert runs(model, attempts) == [0, *[-9, 0] * 5]
    expected = _bundle(tmp_path / "peace")
    for point in points:
        assert not (tmp_path / f"killed-{point}" / "bundle").exists()
        assert _bundle(tmp_path / f"resumed-{point}") == expected, f"killed at step {point}"
        kept = (point - 1) // CHECKPOINT_EVERY * CHECKPOINT_EVERY
        # After its last step an epoch is still to be judged.
        epoch, step = (kept - 1) // STEPS_PER_EPOCH + 1, (kept - 1) % STEPS_PER_EPOCH + 1
        told = f"resumed in epoch {epoch} after {step} of {STEPS_PER_EPOCH} steps"
        assert (told in (tmp_path / f"resumed-{point}.log").read_text()) == (kept > 0)
        assert _steps_of(tmp_path / f"resumed-{point}") == RECORDED
        assert list((tmp_path / f"checkpoints-{point}").iterdir()) == []


@pytest.mark.parametrize("model", [MODELS[0], MODELS[2]], ids=str)
def test_a_terminated_run_keeps_the_step_and_goes_on_from_it(runs: Runs, tmp_path: Path, model: dict[str, Any]) -> None:
    first, second = np.random.default_rng(7).integers(1, 13, 2).tolist()
    attempts = [
        {"out": "peace"},
        {"out": "one", "checkpoints": "kept", "end_at": first, "signal": "SIGTERM"},
        {"out": "two", "checkpoints": "kept", "end_at": second, "signal": "SIGTERM"},
        {"out": "three", "checkpoints": "kept"},
    ]
    assert runs(model, attempts) == [0, 143, 143, 0]
    for out, steps in (("one", first), ("two", first + second)):
        epoch, step = (steps - 1) // STEPS_PER_EPOCH + 1, (steps - 1) % STEPS_PER_EPOCH + 1
        record = json.loads((tmp_path / out / "exit.json").read_text())
        assert (record["status"], record["signal"]) == ("terminated", "SIGTERM")
        assert record["resumes_after"] == f"epoch {epoch}, after step {step} of it"
    assert _bundle(tmp_path / "three") == _bundle(tmp_path / "peace")
    last = json.loads((tmp_path / "three" / "exit.json").read_text())
    assert (last["resumes_after"], last["resumed_from"]) == (None, record["resumes_after"])
