"""How a run ended, as exit.json: for whoever started the process and finds it gone."""

from __future__ import annotations

import resource
import sys
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict

from ml.atomic_files import write_json

EXIT_FILE = "exit.json"

Cause = Literal["refused", "out_of_memory", "disk_full", "diverged", "terminated", "killed", "fault"]
"""Why a run did not end well, as far as a program can act on it; ``reason`` says it in words."""


class ExitRecord(BaseModel):
    """``status``; ``reason`` in words unless ok; ``signal`` the name if one ended it; peak resident memory in bytes;
    wall seconds; ``shortfalls``: what the run was asked for and did not do, and why; ``resumes_after``: where the same
    spec would go on, in words, None where it would start anew. ``cpu_seconds`` of all cores, its own children's
    included; ``gpu_seconds``: wall seconds with a GPU held, 0 on a CPU; peak of the tensors on it, None without one.
    All of this process alone: ``resumed_from`` says in words which checkpoint of an earlier attempt it found, whose own
    cost is not counted here. ``cause``: of an ending that is not ok. None in records of older versions."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    status: Literal["ok", "failed", "terminated"]
    reason: str | None = None
    signal: str | None = None
    peak_memory_bytes: int
    seconds: float
    shortfalls: tuple[str, ...] = ()
    resumes_after: str | None = None
    resumed_from: str | None = None
    cpu_seconds: float | None = None
    gpu_seconds: float | None = None
    peak_gpu_memory_bytes: int | None = None
    cause: Cause | None = None

    def save(self, out: Path) -> None:
        """Writes ``out``/exit.json."""
        write_json(out / EXIT_FILE, self.model_dump(mode="json"))


def peak_memory_bytes() -> int:
    """Largest resident memory of this process so far."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024


def cpu_seconds() -> float:
    """User and system seconds of this process so far, on all cores, and of the children that it has waited for."""
    spent = (resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    return sum(usage.ru_utime + usage.ru_stime for usage in spent)
