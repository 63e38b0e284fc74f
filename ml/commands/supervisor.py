"""Stands beside a worker process and says how it ended where it no longer can; what the worker does is the verb's."""

from __future__ import annotations

import ctypes
import os
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path

_PR_SET_PDEATHSIG = 1
_FORWARDED = (signal.SIGTERM, signal.SIGHUP)


def supervised(work: Callable[[], int], *, out: Path) -> int:
    """Runs ``work`` in a forked process and returns its exit code, 128 + n where signal n ended it.

    In the latter case exit.json is written into ``out`` unless the worker has left one: SIGKILL is most likely the
    kernel, out of memory. SIGTERM and SIGHUP are handed on; on Linux the worker dies with this process. To be called
    before anything starts threads; as little as possible is imported, so that nothing is held twice.
    """
    is_ours = not out.exists() or (out.is_dir() and not any(out.iterdir()))
    started = time.monotonic()
    # Held back until both processes know what to do with one.
    before = signal.pthread_sigmask(signal.SIG_BLOCK, _FORWARDED)
    parent = os.getpid()
    worker = os.fork()
    if worker == 0:
        _die_with(parent)
        # A shell's background job may have been told to ignore it; until the worker listens, it must end all the same.
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
        os._exit(_exit_code_of(work))
    for number in _FORWARDED:
        signal.signal(number, lambda number, _frame: _send(worker, number))
    # Ctrl-C reaches the whole group: the worker ends, and this process says how.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.pthread_sigmask(signal.SIG_SETMASK, before)
    _, status, usage = os.wait4(worker, 0)
    code = os.waitstatus_to_exitcode(status)
    if code >= 0:
        return code
    peak = usage.ru_maxrss if sys.platform == "darwin" else usage.ru_maxrss * 1024
    if is_ours:
        spent = usage.ru_utime + usage.ru_stime
        _record(out, signal.Signals(-code), peak=peak, seconds=time.monotonic() - started, cpu_seconds=spent)
    return 128 - code


def _exit_code_of(work: Callable[[], int]) -> int:
    """As the interpreter would end: ``os._exit`` in the caller keeps the fork from running what is the parent's."""
    try:
        code = work()
    except SystemExit as end:
        code = end.code if isinstance(end.code, int) else int(end.code is not None)
    except KeyboardInterrupt:
        signal.signal(signal.SIGINT, signal.SIG_DFL)
        os.kill(os.getpid(), signal.SIGINT)
        code = 130
    except BaseException as fault:
        sys.excepthook(type(fault), fault, fault.__traceback__)
        code = 1
    sys.stdout.flush()
    sys.stderr.flush()
    return code


def _die_with(parent: int) -> None:
    if sys.platform != "linux":
        return
    ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:  # it died before the call
        os._exit(128 + signal.SIGKILL)


def _send(worker: int, number: int) -> None:
    # It is reaped by this process alone, after which no signal is handed on: the number cannot be another's.
    try:
        os.kill(worker, number)
    except ProcessLookupError:
        return


def _record(out: Path, ended_by: signal.Signals, *, peak: int, seconds: float, cpu_seconds: float) -> None:
    from ml.commands.resources import memory_limit, out_of_memory
    from ml.training.exit_record import EXIT_FILE, ExitRecord

    if (out / EXIT_FILE).exists():
        return
    reason = f"killed by {ended_by.name}"
    asked_to_end = ended_by in (signal.SIGTERM, signal.SIGHUP, signal.SIGINT)
    cause = "terminated" if asked_to_end else "out_of_memory" if ended_by is signal.SIGKILL else "killed"
    if ended_by is signal.SIGKILL:
        limit, what = memory_limit()
        reason = f"{reason}, {out_of_memory(peak=peak, limit=limit, what=what)}"
    try:
        out.mkdir(parents=True, exist_ok=True)
        ExitRecord(
            status="terminated" if asked_to_end else "failed",
            cause=cause,
            reason=reason,
            signal=ended_by.name,
            peak_memory_bytes=peak,
            seconds=round(seconds, 3),
            cpu_seconds=round(cpu_seconds, 3),
        ).save(out)
    except OSError as fault:
        print(f"exit.json could not be written: {fault}", file=sys.stderr)
    print(reason, file=sys.stderr)
