"""Why a child process did not end well, as the failure that the run shows; what a pod ended of, the executor knows."""

from __future__ import annotations

from pathlib import Path

import dagster as dg

from infra.child_process import ChildFailed
from ml.training.exit_record import EXIT_FILE, ExitRecord

#: Key of the failure's metadata: which kind of ending it was.
CAUSE = "cause"
_SHOWN_LINES = 15
_IN_WORDS = {
    "refused": "the data or the settings were refused",
    "out_of_memory": "out of memory",
    "disk_full": "a disk is full",
    "diverged": "the training diverged",
    "terminated": "it was told to end (SIGTERM: by a person, a shutdown or a preemption)",
    "killed": "it was killed",
    "fault": "a fault",
}
#: The same data and settings end the same way again.
_FINAL = ("refused", "diverged")


def failure_of(verb: str, failed: ChildFailed, *, out: Path) -> dg.Failure:
    """The step's failure: kind of ending, the child's own reason, and where a retry goes on, as one description.

    The reason is that of exit.json in `out` where the child has left one, else the child's last lines.
    """
    record = _exit_record(out)
    cause = (record.cause if record else None) or _cause_of(failed.exit_code)
    said = record.reason if record and record.reason else "\n".join(failed.last_lines[-_SHOWN_LINES:])
    goes_on = f"; a retry goes on in {record.resumes_after}" if record and record.resumes_after else ""
    why = f"{_IN_WORDS[cause]}: {said or 'it printed nothing'}"
    return dg.Failure(
        description=f"{verb}: {why} (exit code {failed.exit_code}){goes_on}",
        metadata={
            CAUSE: cause,
            "exit_code": failed.exit_code,
            **({"peak_memory_bytes": record.peak_memory_bytes} if record else {}),
            "last_lines": dg.MetadataValue.md("```\n" + "\n".join(failed.last_lines[-_SHOWN_LINES:]) + "\n```"),
        },
        allow_retries=cause not in _FINAL,
    )


def _cause_of(exit_code: int) -> str:
    """Of a child that could not say it itself."""
    by_code = {2: "refused", 137: "out_of_memory", 143: "terminated"}
    return by_code.get(exit_code, "killed" if exit_code > 128 else "fault")


def _exit_record(out: Path) -> ExitRecord | None:
    file = out / EXIT_FILE
    if not file.exists():
        return None
    try:
        return ExitRecord.model_validate_json(file.read_bytes())
    except ValueError:  # the disk was full, or the child was killed while it wrote: its lines are left
        return None
