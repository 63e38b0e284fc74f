"""``python -m ml train``: a training run in this process, and how it ended in exit.json."""

from __future__ import annotations

import signal
import sys
import time
import traceback
from collections.abc import Callable
from pathlib import Path

from ml.commands.specs import Refused, prepare_out, read_spec
from ml.training.exit_record import ExitRecord, peak_memory_bytes
from ml.training.spec import TrainSpec
from ml.training.termination import EXIT_CODE, Terminated, Termination


def run(spec_path: Path, out: Path) -> int:
    """Exit code 0 (done), 1 (failed), 2 (what it was given cannot be used) or 143 (SIGTERM); exit.json says why.

    Where ``out`` cannot be used either, the message on stderr is all.
    """
    prepare_out(out)
    started = time.monotonic()

    def end(
        status: str, reason: str | None = None, signal_name: str | None = None, shortfalls: tuple[str, ...] = ()
    ) -> None:
        record = ExitRecord.model_validate(
            {
                "status": status,
                "reason": reason,
                "signal": signal_name,
                "peak_memory_bytes": peak_memory_bytes(),
                "seconds": round(time.monotonic() - started, 3),
                "shortfalls": shortfalls,
            }
        )
        record.save(out)

    termination = Termination()
    with termination.listening():
        try:
            return _run(spec_path, out, termination, end)
        except Terminated as terminated:
            end("terminated", str(terminated), signal.Signals(terminated.signal_number).name)
            print(str(terminated), file=sys.stderr)
            return EXIT_CODE


def _run(spec_path: Path, out: Path, termination: Termination, end: Callable[..., None]) -> int:
    try:
        spec = read_spec(spec_path, TrainSpec)
        # torch takes seconds to import: a wrong spec is refused before.
        from ml.commands.faults import REFUSALS, STOPS
        from ml.training import trainer
    except Refused as refusal:
        end("failed", str(refusal))
        raise
    try:
        shortfalls = trainer.run(spec, out, termination)
    except REFUSALS as refusal:
        end("failed", str(refusal))
        raise Refused(str(refusal)) from refusal
    except STOPS as stop:
        end("failed", str(stop))
        print(str(stop), file=sys.stderr)
        return 1
    except Exception as fault:
        end("failed", f"{type(fault).__name__}: {fault}")
        traceback.print_exc()
        return 1
    end("ok", shortfalls=shortfalls)
    return 0
