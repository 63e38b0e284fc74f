"""Every line on standard error of Postclick's and Dagster's own processes is one JSON object, tracebacks included."""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import dagster as dg
import pytest
from dagster._core.definitions.reconstruct import ReconstructableJob
from dagster._core.execution.retries import RetryMode
from dagster._grpc.types import ExecuteRunArgs, ExecuteStepArgs

ROOT = Path(__file__).parents[2]
TINY = ROOT / "tests" / "assets" / "tiny.yaml"
SECRET = "a-secret-key"
POSTCLICK = [sys.executable, "-c", "from orchestration.command_line import main; main()"]
STEP_SAID = ("of two\nlines", "of a library", "%d of a library ('one',)", "ZeroDivisionError: division by zero")

Lines = list[dict[str, Any]]


def lines_of(command: list[str], folder: Path, *, code: int, **variables: str) -> Lines:
    environment = {
        "PATH": os.environ["PATH"],
        "HOME": str(folder),
        "PYTHONPATH": str(ROOT),
        "POSTCLICK_HOME": str(folder / "home"),
        "POSTCLICK_DATASET": str(TINY),
        "POSTCLICK_LOG_FORMAT": "json",
        "WANDB_API_KEY": SECRET,
        **variables,
    }
    done = subprocess.run(
        command, cwd=folder, env=environment, capture_output=True, text=True, check=False, timeout=300
    )
    assert done.returncode == code, done.stderr
    assert SECRET not in done.stderr
    lines = []
    for line in done.stderr.splitlines():
        assert line.startswith("{"), f"{line!r} in\n{done.stderr}"
        lines.append(json.loads(line))
    assert all({"time", "level", "logger", "message"} <= set(line) for line in lines)
    return lines


@pytest.fixture
def dagster_process(tmp_path: Path) -> Callable[[str, str], Lines]:
    """What `dagster api KIND` writes for a run of logging_job, in an instance of the shipped dagster.yaml."""
    shutil.copy(ROOT / "infra" / "dagster.yaml", tmp_path / "dagster.yaml")

    def run(kind: str, executor: str) -> Lines:
        job = ReconstructableJob.for_file(str(Path(__file__).with_name("logging_job.py")), executor)
        with dg.DagsterInstance.from_config(str(tmp_path)) as instance:
            made = instance.create_run_for_job(job.get_definition(), job_code_origin=job.get_python_origin())
            named = {"job_origin": job.get_python_origin(), "run_id": made.run_id, "instance_ref": instance.get_ref()}
            if kind == "execute_run":
                command = ExecuteRunArgs(**named, set_exit_code_on_failure=True).get_command_args()
            else:
                step = ExecuteStepArgs(
                    **named, step_keys_to_execute=["speaks"], retry_mode=RetryMode.DISABLED, known_state=None
                )
                command = step.get_command_args(skip_serialized_namedtuple=False)
        program = [sys.executable, "-m", *command] if command[0] == "dagster" else [sys.executable, *command[1:]]
        return lines_of(program, tmp_path, code=int(kind == "execute_run"), DAGSTER_HOME=str(tmp_path))

    return run


def said(lines: Lines) -> list[str]:
    return [line["message"] for line in lines]


@pytest.mark.parametrize("executor", ["in_process", "multiprocess"])
def test_of_a_run_of_the_ui(dagster_process: Callable[[str, str], Lines], executor: str):
    lines = dagster_process("execute_run", executor)
    for words in STEP_SAID:
        assert words in said(lines)
    assert sum("careful" in words for words in said(lines)) == 1
    assert any("Unraisable" in words for words in said(lines))
    (failure,) = [line for line in lines if line.get("event") == "STEP_FAILURE"]
    assert "ValueError: of two\nlines, and a traceback" in failure["error"]
    assert (failure["job"], failure["step"]) == ("logging_job", "fails")
    (trace,) = [line for line in lines if line["message"].startswith("ZeroDivisionError")]
    assert "Traceback" in trace["error"]
    started = [line["step"] for line in lines if line.get("event") == "STEP_WORKER_STARTED"]
    assert started == (["speaks", "fails"] if executor == "multiprocess" else [])


def test_of_a_step_s_pod(dagster_process: Callable[[str, str], Lines]):
    lines = dagster_process("execute_step", "in_process")
    assert lines[0]["event"] == "STEP_WORKER_STARTED"
    assert lines[0]["step"] == "speaks"
    for words in STEP_SAID:
        assert words in said(lines)


def test_of_a_run_of_the_command_line(tmp_path: Path):
    """It runs in its own process, whatever the executor."""
    command = [*POSTCLICK, "run", "--days", "2026-01-05", "--data-only"]
    lines = lines_of(command, tmp_path, code=0, POSTCLICK_EXECUTOR="multiprocess")
    assert {line["dataset"] for line in lines} == {"tiny"}
    assert {"raw_events", "validated_samples"} <= {name for line in lines for name in line.get("asset", "").split(",")}
    assert {line["partition"] for line in lines if "asset" in line} == {"2026-01-05"}


@pytest.mark.parametrize(
    ("arguments", "variables", "told"),
    [
        (["--days", "some"], {}, "Invalid value: 'some' is neither a day"),
        ([], {}, "Missing option '--days'"),
        (["--days", "2026-01-05"], {"POSTCLICK_THREADS": "no"}, "POSTCLICK_THREADS: "),
        (["--days", "2026-01-05"], {"POSTCLICK_DATASET": "nowhere.yaml"}, "'nowhere.yaml' is neither a file"),
    ],
    ids=["wrong value", "missing option", "wrong setting", "no such dataset"],
)
def test_of_what_was_wrongly_asked_for(tmp_path: Path, arguments: list[str], variables: dict[str, str], told: str):
    (line,) = lines_of([*POSTCLICK, "run", *arguments], tmp_path, code=2, **variables)
    assert line["message"].startswith(told) or told in line["message"]
    assert line["level"] == "ERROR"


def test_wrong_arguments_are_still_shown_as_text_where_lines_are_text(tmp_path: Path):
    environment = {"PATH": os.environ["PATH"], "HOME": str(tmp_path), "PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        [*POSTCLICK, "run"], cwd=tmp_path, env=environment, capture_output=True, text=True, check=False, timeout=300
    )
    assert done.returncode == 2
    assert "Usage:" in done.stderr
    assert "Missing option '--days'" in done.stderr
