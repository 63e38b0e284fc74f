"""How a child ended, in the words that a run shows: a table of endings, each as its child leaves it behind."""

import dataclasses
import json
from pathlib import Path
from typing import Any

import dagster as dg
import pytest
from pydantic import BaseModel

from assets.child_endings import CAUSE
from assets.resources import Platform
from assets.training_runs import final_refusals, run_child

OOM = "killed by SIGKILL, likely out of memory: peak 3.9 GiB of 4.0 GiB (the cgroup's limit); give it more"
DISK = "/data is full: 0 bytes are free"
DIVERGED = "the loss or its gradient is not finite in epoch 1"
POSITION = "epoch 2 after 40 steps"

# exit code, exit.json (None: none was left), cause, parts of the description, whether a retry is worth it
ENDINGS: dict[str, tuple[int, dict[str, Any] | None, str | None, tuple[str, ...], bool]] = {
    "refused": (2, {"cause": "refused", "reason": "days is empty"}, None, ("days is empty",), False),
    "out of memory": (137, {"cause": "out_of_memory", "reason": OOM}, "out_of_memory", ("out of memory", OOM), True),
    "killed, nothing left": (137, None, "out_of_memory", ("out of memory", "last words", "137"), True),
    "preempted": (
        143,
        {"cause": "terminated", "reason": "terminated by SIGTERM", "resumes_after": POSITION},
        "terminated",
        ("SIGTERM", "preemption", f"a retry goes on in {POSITION}"),
        True,
    ),
    "preempted, nothing left": (143, None, "terminated", ("SIGTERM", "last words"), True),
    "diverged": (1, {"cause": "diverged", "reason": DIVERGED}, "diverged", ("diverged", DIVERGED), False),
    "disk full": (1, {"cause": "disk_full", "reason": DISK}, "disk_full", ("a disk is full", DISK), True),
    "a fault": (1, {"cause": "fault", "reason": "KeyError: 'x'"}, "fault", ("a fault", "KeyError: 'x'"), True),
    "a record of an older version": (1, {"reason": "boom"}, "fault", ("boom",), True),
    "a torn record": (139, {"status": "??"}, "killed", ("killed", "last words", "139"), True),
}


class Spec(BaseModel):
    """Stands in for a training spec."""


@pytest.fixture
def step(platform: Platform, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dg.JobDefinition:
    """A job of one step whose child ends as `ending.json` beside the stand-in says."""
    folder = tmp_path / "python" / "ml"
    folder.mkdir(parents=True)
    (folder / "__main__.py").write_text(
        "import json, os, pathlib, sys\n"
        "given = json.loads(pathlib.Path(__file__).with_name('ending.json').read_text())\n"
        "out = pathlib.Path(sys.argv[sys.argv.index('--out') + 1]); out.mkdir()\n"
        "if given['record'] is not None:\n"
        "    (out / 'exit.json').write_text(json.dumps(given['record']))\n"
        "print((given['record'] or {}).get('reason') or 'last words', flush=True)\n"
        "os.kill(os.getpid(), 11) if given['code'] == 139 else os._exit(given['code'])\n"
    )
    monkeypatch.chdir(tmp_path)
    own = dataclasses.replace(platform, child_environment={"PYTHONPATH": str(folder.parent)})

    @dg.op
    def train() -> None:
        with final_refusals(), own.scratch("train") as scratch:
            run_child(own, "train", Spec(), folder=scratch, log=lambda line: None)

    @dg.job(op_retry_policy=dg.RetryPolicy(max_retries=1))
    def training() -> None:
        train()

    return training


@pytest.mark.parametrize("name", ENDINGS)
def test_the_step_s_failure_says_what_kind_of_ending_and_why(name: str, step: dg.JobDefinition, tmp_path: Path):
    code, left, cause, parts, may_retry = ENDINGS[name]
    record = None if left is None else {"status": "failed", "peak_memory_bytes": 7, "seconds": 1.0, **left}
    (tmp_path / "python" / "ml" / "ending.json").write_text(json.dumps({"code": code, "record": record}))
    result = step.execute_in_process(raise_on_error=False)
    [failure] = [event.step_failure_data for event in result.all_events if event.is_step_failure]
    said = failure.user_failure_data
    assert said is not None
    for part in parts:
        assert part in (said.description or "")
    assert (said.metadata[CAUSE].value if CAUSE in said.metadata else None) == cause
    # What would end the same way is not tried again.
    assert any(event.event_type_value == "STEP_RESTARTED" for event in result.all_events) is may_retry
