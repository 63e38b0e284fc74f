"""What another pod goes on from: the checkpoint of a training, and the pool's places of a run."""

import json
import os
import signal
from pathlib import Path
from typing import Any

import dagster as dg
import pytest

pytest.importorskip("dagster_k8s", reason="dagster-k8s is not installed: pip install -e .[k8s]")

from dagster._core.events import EngineEventData
from dagster._core.execution.plan.objects import StepRetryData, StepSuccessData
from dagster._core.executor.step_delegating import StepDelegatingExecutor
from dagster_shared.error import SerializableErrorInfo

import orchestration.kubernetes_executor
from infra.local_object_store import LocalObjectStore
from tests.orchestration.step_bench import ROOT, STEP_RETRY, Bench, wait_until

#: Told to end, it takes longer than a look at the pods to write where it was, and goes on from there on any machine.
TRAINER = """
import argparse, json, pathlib, signal, sys, time
from ml.training.checkpoint_files import CheckpointFiles
parser = argparse.ArgumentParser()
parser.add_argument("verb"); parser.add_argument("--spec"); parser.add_argument("--out")
given = parser.parse_args()
files = CheckpointFiles(pathlib.Path(json.loads(pathlib.Path(given.spec).read_text())["checkpoints"]), "i" * 64)
files.folder.mkdir(parents=True, exist_ok=True)
found = files.read()
def end(*_):
    time.sleep(2)
    files.write({"position": {"epoch": 0, "step": 7}}, lambda path: path.write_text("weights"))
    sys.exit(143)
signal.signal(signal.SIGTERM, end)
print("goes on from step", found[0]["position"]["step"] if found else 0, flush=True)
if not found:
    pathlib.Path("BESIDE", "attempts").write_text("0")
    time.sleep(600)
out = pathlib.Path(given.out)
out.mkdir()
(out / "weights").write_text("w")
"""


def test_a_training_that_is_told_to_end_keeps_its_checkpoint_for_the_next_machine(bench: Bench, tmp_path: Path):
    stand_in = tmp_path / "python" / "ml"
    stand_in.mkdir(parents=True)
    (stand_in / "__init__.py").write_text(f"__path__.append({str(ROOT / 'ml')!r})\n")
    (stand_in / "__main__.py").write_text(TRAINER.replace("BESIDE", str(tmp_path)))
    path = f"{stand_in.parent}{os.pathsep}{ROOT}"
    # `python -m` looks into the working folder first.
    bench.cluster.environment.update(PYTHONPATH=path, PWD=str(tmp_path))

    def delete() -> None:
        bench.wait_for_attempts(1)
        # What a child has said and nobody has read is lost with its parent.
        wait_until(lambda: "goes on from step 0" in bench.messages())
        bench.cluster.take_away(bench.cluster.job(), signal.SIGTERM)

    assert bench.run(delete, job="trains_in_store")
    said = [line for line in bench.messages().splitlines() if line.startswith("goes on from step")]
    assert said == ["goes on from step 0", "goes on from step 7"]
    store = LocalObjectStore(tmp_path / "store")
    assert [key for key in store.list_keys("checkpoints/") if key.endswith("manifest.json")] == []
    assert store.exists("models/m/manifest.json")
    lease = json.loads(store.get_bytes(f"leases/training/{'i' * 64}")[0])
    assert (lease["token"], lease["holder"]) == (2, None)


def test_a_resumed_run_gives_back_the_places_of_steps_that_it_did_not_begin(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
):
    def event(kind: dg.DagsterEventType, step_key: str, data: Any = None) -> dg.DagsterEvent:
        return dg.DagsterEvent(kind.value, job_name="job", step_key=step_key, event_specific_data=data)

    begun, ended = dg.DagsterEventType.STEP_START, dg.DagsterEventType.STEP_SUCCESS
    # What a resumed run's executor reads first: one step ended, one begun again after a retry, one still at work.
    prior = [
        event(begun, "embeddings"),
        event(ended, "embeddings", StepSuccessData(duration_ms=1.0)),
        event(begun, "again"),
        event(STEP_RETRY, "again", StepRetryData(error=SerializableErrorInfo("lost", [], None))),
        event(dg.DagsterEventType.STEP_WORKER_STARTING, "again", EngineEventData()),
        event(begun, "works"),
    ]
    monkeypatch.setattr(StepDelegatingExecutor, "_pop_events", lambda *_: prior)
    storage = bench.instance.event_log_storage
    storage.set_concurrency_slots("gpu", 3)
    for step_key in ("embeddings", "again", "works"):
        assert storage.claim_concurrency_slot("gpu", "run", step_key).is_claimed
    executor: Any = orchestration.kubernetes_executor.ResumableExecutor
    assert executor._pop_events(executor.__new__(executor), bench.instance, "run", set()) == prior
    held = {slot.step_key for slot in storage.get_concurrency_info("gpu").claimed_slots}
    assert held == {"again", "works"}
