"""Ends the runs that a killed command left behind: still "started", and holding the pool that the next run waits for.

Seen: a `postclick run` killed while it trained kept its place in the pool `gpu`, and the next one waited for ever.
Runs that Dagster's own launcher started are watched by its daemon (`run_monitoring` in dagster.yaml), not here.
"""

import fcntl
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import dagster as dg

_FOLDER = "running"
_FINISHED = (dg.DagsterRunStatus.SUCCESS, dg.DagsterRunStatus.FAILURE, dg.DagsterRunStatus.CANCELED)


@contextmanager
def holding(instance: dg.DagsterInstance, run_id: str) -> Iterator[None]:
    """Hold a lock on the run while this process carries it out; the kernel drops it however the process ends."""
    folder = _folder(instance)
    if folder is None:
        yield
        return
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / run_id
    with path.open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield
    path.unlink(missing_ok=True)


def end_abandoned(instance: dg.DagsterInstance) -> list[str]:
    """Mark runs whose process is gone as failed and free what they hold; returns their ids. Others are left alone."""
    folder = _folder(instance)
    ended = []
    for path in sorted(folder.iterdir()) if folder is not None and folder.is_dir() else []:
        with path.open("a") as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                continue
            run = instance.get_run_by_id(path.name)
            if run is not None:
                if run.status not in _FINISHED:
                    instance.report_run_failed(run, "the process that carried out this run was killed")
                    ended.append(run.run_id)
                instance.event_log_storage.free_concurrency_slots_for_run(run.run_id)
            path.unlink(missing_ok=True)
    return ended


def _folder(instance: dg.DagsterInstance) -> Path | None:
    """Beside the instance's other files; an instance without a folder of its own ends with its process anyway."""
    return None if instance.is_ephemeral else Path(instance.root_directory) / _FOLDER
