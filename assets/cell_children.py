"""Children of work that shares a machine's cores and goes on when one of them fails: experiments and searches."""

import fcntl
import shutil
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from assets.resources import DataRefused, Platform
from assets.training_runs import read_json
from infra.child_process import ChildResult, run_child
from ml.atomic_files import write_json

LOG_FILE = "output.log"
_SHOWN_LINES = 5


class CellFailed(RuntimeError):
    """A child did not end well: why, in words."""


def run_cell_child(
    platform: Platform,
    verb: str,
    spec: Mapping[str, Any],
    out: Path,
    *,
    threads: int,
    folder: Path,
    stop: Callable[[], bool],
) -> None:
    """Run `python -m ml <verb>` with so many threads; what it prints goes into the folder's output.log.

    stop: asked about five times a second; True ends the child (ChildInterrupted). Raises CellFailed with the child's
    own reason.
    """
    spec_file = folder / f"{out.name}.json"
    write_json(spec_file, spec)
    command = [sys.executable, "-m", "ml", verb, "--spec", str(spec_file), "--out", str(out)]
    own = dict.fromkeys(("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"), str(threads))
    environment = {**platform.child_environment, **own}
    with (folder / LOG_FILE).open("a", encoding="utf-8") as log:
        result = run_child(
            command, environment=environment, on_line=lambda line: print(line, file=log), check_interrupt=stop
        )
    if result.exit_code != 0:
        raise CellFailed(_reason(verb, out, result))


def shared_runtime(platform_runtime: Mapping[str, Any], *, threads: int, processes: int) -> dict[str, Any]:
    """The runtime of one of several training runs at once: they share the machine's memory as they share its cores."""
    preload = int(platform_runtime["preload_bytes"]) // processes
    return {**platform_runtime, "threads": threads, "preload_bytes": preload}


def remove(path: Path) -> None:
    """Take a file or a folder away, if it is there."""
    if path.is_dir():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


@contextmanager
def alone_in(folder: Path, *, otherwise: str) -> Iterator[None]:
    """Hold the folder, made where absent, against other processes; DataRefused says `otherwise` where one has it.

    The lock ends with its process, however that ends.
    """
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / ".lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise DataRefused(otherwise) from error
        yield


def _reason(verb: str, out: Path, result: ChildResult) -> str:
    """Why the child says that it ended, else its last lines."""
    record = out / "exit.json"
    said = read_json(record).get("reason") if record.exists() else None
    lines = said or "\n".join(result.last_lines[-_SHOWN_LINES:]) or "it printed nothing"
    return f"{verb} ended with exit code {result.exit_code}: {lines}"
