"""Mirroring finished runs to Weights & Biases, never failing or stalling anyone; wandb_mirror calls wandb."""

import contextlib
import sys
import tempfile
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, JsonValue

from infra.child_process import ChildInterrupted, run_child

SECRET_WORDS = ("KEY", "TOKEN", "SECRET", "PASSWORD", "CREDENTIAL")
MIN_SECRET_CHARACTERS = 6
DETAIL_CHARACTERS = 1_000
KEPT_LINES = 10
PATHS = ("curves", "artifact_dir", "directory")

Status = Literal["recorded", "failed", "timed_out"]


class TrackedRun(BaseModel):
    """A finished run, as W&B shall show it.

    Attributes:
        project: W&B project.
        run_id: deterministic id, such as the model_id; the same run mirrored twice is one run online.
        name, group, job_type: how W&B titles and groups it.
        config: hyper-parameters and inputs.
        curves: metrics.jsonl, one JSON object a line; "step" where a line has it, never going back.
        table_rows: the final table, one dictionary a row.
        artifact_dir: directory to log as the artifact `artifact_name`.
        mode: offline writes below `directory` only; online needs WANDB_API_KEY in the environment.
        directory: where wandb keeps everything it writes (runs, caches, staged artifacts).
        wait_seconds: how long online initialisation and finishing may each take.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    project: str
    run_id: str = Field(pattern=r"^[A-Za-z0-9_-]{1,128}$")
    name: str
    group: str
    job_type: str
    config: dict[str, JsonValue]
    curves: Path | None = None
    table_rows: list[dict[str, JsonValue]] | None = None
    artifact_dir: Path | None = None
    artifact_name: str = "model"
    mode: Literal["offline", "online"] = "offline"
    directory: Path
    wait_seconds: float = 60


class TrackingOutcome(BaseModel):
    """What became of a mirrored run; `detail` says in a line or two why it was not recorded, without secrets."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    status: Status
    detail: str


def record(
    run: TrackedRun,
    *,
    command: Sequence[str] | None = None,
    timeout_seconds: float,
    environment: Mapping[str, str],
    log: Callable[[str], None],
) -> TrackingOutcome:
    """Mirror a run in a child process that is ended with its whole process group after `timeout_seconds`.

    Never raises an Exception: trouble is one line to `log` and the outcome. (Ctrl-C passes through, the child ended.)

    Args:
        run: what to mirror.
        command: program to run instead of `python -m infra.wandb_mirror`; gets the run's JSON file as last argument.
        timeout_seconds: for all of it.
        environment: the child's environment; wandb's own directories are set below `run.directory`.
        log: takes the one line.
    """
    try:
        status, detail = _mirror(run, command, timeout_seconds, environment)
    except Exception as error:
        status, detail = "failed", f"{type(error).__name__}: {error}"
    outcome = TrackingOutcome(status=status, detail=_told(detail, environment))
    if outcome.status != "recorded":
        with contextlib.suppress(Exception):
            log(
                f"W&B mirror of run {run.run_id} {status.replace('_', ' ')}, nothing else is affected: {outcome.detail}"
            )
    return outcome


def _mirror(
    run: TrackedRun, command: Sequence[str] | None, timeout_seconds: float, environment: Mapping[str, str]
) -> tuple[Status, str]:
    deadline = time.monotonic() + timeout_seconds
    lines: deque[str] = deque(maxlen=KEPT_LINES)
    run.directory.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="postclick-tracking-") as folder:
        file = Path(folder) / "run.json"
        paths = {name: path.absolute() for name in PATHS if (path := getattr(run, name))}
        file.write_text(run.model_copy(update=paths).model_dump_json())
        try:
            result = run_child(
                [*(command or (sys.executable, "-m", "infra.wandb_mirror")), str(file)],
                environment=_with_directories(environment, run.directory.absolute()),
                on_line=lines.append,
                cwd=Path(__file__).absolute().parents[1],
                grace_seconds=2,
                check_interrupt=lambda: time.monotonic() >= deadline,
            )
        except ChildInterrupted:
            return (
                "timed_out",
                f"not done after {timeout_seconds:g} s and ended; last lines: {' | '.join(lines) or 'none'}",
            )
    if result.exit_code == 0:
        return "recorded", f"{run.mode}, files below {run.directory}"
    return "failed", f"exit code {result.exit_code}; last lines: {' | '.join(lines) or 'none'}"


def _with_directories(environment: Mapping[str, str], directory: Path) -> dict[str, str]:
    # offline artifacts are staged in the user's data directory unless told otherwise
    names = {"DIR": "", "DATA_DIR": "data", "CACHE_DIR": "cache", "CONFIG_DIR": "config", "ARTIFACT_DIR": "artifacts"}
    own = {f"WANDB_{name}": str(directory / folder) for name, folder in names.items()}
    quiet = {"WANDB_SILENT": "true", "WANDB_CONSOLE": "off", "WANDB_ERROR_REPORTING": "false"}
    return {**environment, **quiet, **own}


def _told(text: str, environment: Mapping[str, str]) -> str:
    """The text in one line without any secret of the environment, scrubbed before it is cut: no half of one is left."""
    for name, value in environment.items():
        if len(value) >= MIN_SECRET_CHARACTERS and any(word in name.upper() for word in SECRET_WORDS):
            text = text.replace(value, f"<{name}>")
    return " ".join(text.split())[:DETAIL_CHARACTERS]
