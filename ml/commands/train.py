"""``python -m ml train``: a training run in this process, and how it ended in exit.json."""

from __future__ import annotations

import signal
import sys
import time
import traceback
from pathlib import Path
from typing import Any

from ml.commands.resources import disk_full, is_out_of_memory, memory_limit, out_of_memory
from ml.commands.specs import Refused, prepare_out, read_spec
from ml.training.checkpoint_files import kept_position
from ml.training.exit_record import Cause, ExitRecord, cpu_seconds, peak_memory_bytes
from ml.training.spec import TrainSpec
from ml.training.termination import EXIT_CODE, Terminated, Termination


def run(spec_path: Path, out: Path) -> int:
    """Exit code 0 (done), 1 (failed), 2 (what it was given cannot be used) or 143 (SIGTERM); exit.json says why.

    Where ``out`` cannot be used either, the message on stderr is all.
    """
    prepare_out(out)
    ending = _Ending(out)
    termination = Termination()
    with termination.listening():
        try:
            return _run(spec_path, out, termination, ending)
        except Terminated as terminated:
            name = signal.Signals(terminated.signal_number).name
            ending.record("terminated", str(terminated), signal=name, cause="terminated")
            print(str(terminated), file=sys.stderr)
            return EXIT_CODE


class _Ending:
    """exit.json of a run; ``spec`` once it is read."""

    def __init__(self, out: Path) -> None:
        self._out = out
        self._started, self._cpu_before = time.monotonic(), cpu_seconds()
        self._resumed_from: str | None = None
        self.spec: TrainSpec | None = None

    def begin(self, spec: TrainSpec) -> None:
        """The spec is read: what an earlier attempt at it has left is noted before this one replaces it."""
        self.spec = spec
        self._resumed_from = self._kept_position()

    def record(self, status: str, reason: str | None = None, **values: Any) -> None:
        """Writes it; where even that is not possible, says so."""
        seconds = round(time.monotonic() - self._started, 3)
        record = ExitRecord.model_validate(
            {
                "status": status,
                "reason": reason,
                "peak_memory_bytes": peak_memory_bytes(),
                "seconds": seconds,
                "resumes_after": None if status == "ok" else self._kept_position(),
                "resumed_from": self._resumed_from,
                "cpu_seconds": round(cpu_seconds() - self._cpu_before, 3),
                **self._gpu(seconds),
                **values,
            }
        )
        try:
            record.save(self._out)
        except OSError as fault:
            print(f"exit.json could not be written: {fault}", file=sys.stderr)
        if record.resumes_after is not None:
            print(f"the same spec goes on in {record.resumes_after}", file=sys.stderr)

    def _gpu(self, seconds: float) -> dict[str, Any]:
        if self.spec is None:
            return {}
        if self.spec.runtime.device == "cpu":
            return {"gpu_seconds": 0.0}
        torch = sys.modules.get("torch")
        peak = torch.cuda.max_memory_allocated(self.spec.runtime.device) if torch and _is_used(torch) else None
        return {"gpu_seconds": seconds, "peak_gpu_memory_bytes": peak}

    def _kept_position(self) -> str | None:
        if self.spec is None or self.spec.runtime.checkpoints is None:
            return None
        return kept_position(self.spec.runtime.checkpoints, self.spec.identity())


def _run(spec_path: Path, out: Path, termination: Termination, ending: _Ending) -> int:
    try:
        spec = read_spec(spec_path, TrainSpec)
        ending.begin(spec)
        # torch takes seconds to import: a wrong spec is refused before.
        from ml.commands.faults import REFUSALS, STOPS
        from ml.training import trainer
        from ml.training.diagnosis import TrainingDiverged
    except Refused as refusal:
        ending.record("failed", str(refusal), cause="refused")
        raise
    try:
        shortfalls = trainer.run(spec, out, termination)
    except REFUSALS as refusal:
        ending.record("failed", str(refusal), cause="refused")
        raise Refused(str(refusal)) from refusal
    except STOPS as stop:
        ending.record("failed", str(stop), cause="diverged" if isinstance(stop, TrainingDiverged) else "fault")
        print(str(stop), file=sys.stderr)
        return 1
    except Exception as fault:
        traceback.print_exc()
        cause, reason = _cause_and_words(fault, spec, out)
        ending.record("failed", reason, cause=cause)
        print(reason, file=sys.stderr)
        return 1
    ending.record("ok", shortfalls=shortfalls)
    return 0


def _cause_and_words(fault: Exception, spec: TrainSpec, out: Path) -> tuple[Cause, str]:
    """What is known of a fault beside its own message, which comes last in the words."""
    own = f"{type(fault).__name__}: {fault}"
    if is_out_of_memory(fault):
        peak, (limit, what) = peak_memory_bytes(), memory_limit()
        if type(fault).__name__ == "OutOfMemoryError" and spec.runtime.device != "cpu":
            peak, limit, what = _gpu_memory(spec.runtime.device)
        return "out_of_memory", f"{out_of_memory(peak=peak, limit=limit, what=what)}; {own}"
    folders = [folder for folder in (out, spec.runtime.encoded_cache, spec.runtime.checkpoints) if folder is not None]
    full = disk_full(fault, folders=folders)
    return ("fault", own) if full is None else ("disk_full", f"{full}; {own}")


def _is_used(torch: Any) -> bool:
    """Whether this process has begun to use a GPU; asking for its memory before that would start it, or fail."""
    return bool(torch.cuda.is_initialized())


def _gpu_memory(device: str) -> tuple[int, int, str]:
    import torch

    total = torch.cuda.get_device_properties(device).total_memory
    return torch.cuda.max_memory_allocated(device), total, "the GPU's memory"
