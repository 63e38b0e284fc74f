"""Runs a search's trials, as many at once as the cores allow, until enough have ended; what running one means is the
caller's."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from ml.experiments.scheduling import Stop
from ml.tuning.objective import EpochValue, Objective

if TYPE_CHECKING:
    from optuna.trial import Trial

    from ml.tuning.study import OpenedStudy

_POLL_SECONDS = 1.0


class TrialFailed(RuntimeError):
    """A trial has no value: why, in words. The search goes on."""


@dataclass
class Watch:
    """What runs a trial tells it each epoch, and asks it whether to end the trial.

    ``is_behind``: the pruner has given it up. ``values``: of the epochs so far.
    """

    note: Callable[[int, float], bool]
    values: dict[int, float] = field(default_factory=dict)
    is_behind: bool = False

    def take(self, epoch: EpochValue) -> None:
        """Notes an epoch. Raises TrialFailed where it cannot be judged."""
        if isinstance(epoch.value, str):
            raise TrialFailed(f"epoch {epoch.epoch} cannot be judged: {epoch.value}")
        self.values[epoch.epoch] = epoch.value
        self.is_behind = self.note(epoch.epoch, epoch.value) or self.is_behind


@dataclass(frozen=True)
class Proposal:
    """A trial to run; ``origin``: the number under which an earlier process may have begun it, else its own."""

    number: int
    origin: int
    parameters: dict[str, Any]


#: Runs a trial. It returns when that has ended, by itself or because the watch said that it is behind; TrialFailed
#: says why there is no value.
RunTrial = Callable[[Proposal, Watch, Stop], None]


def search(
    study: OpenedStudy,
    *,
    trials: int,
    processes: int,
    objective: Objective,
    run: RunTrial,
    tell: Callable[[str], None],
    seconds: float | None = None,
    ended: Callable[[int], None] = lambda _: None,
) -> None:
    """Run trials until the study holds ``trials`` that have ended, those of earlier searches among them.

    seconds: after so long none is begun. ended: called with the number of each trial when the study holds its end.
    Where the caller is interrupted, ``run``'s last argument turns true, and the interruption goes on when what was
    running has ended: those trials are tried again when the study is next opened.
    """
    known = len(study.ended())
    tell(f"{max(0, trials - known)} trials to run, {known} have ended; {processes} at once")
    deadline = None if seconds is None else time.monotonic() + seconds
    lock, stopping = threading.Lock(), threading.Event()
    running: dict[Future[None], tuple[Trial, Watch]] = {}
    with ThreadPoolExecutor(max_workers=processes, thread_name_prefix="trial") as workers:
        try:
            while True:
                in_time = deadline is None or time.monotonic() < deadline
                while in_time and len(running) < processes and known + len(running) < trials:
                    with lock:
                        trial = study.ask()
                    watch = _watch(study, trial, lock)
                    proposal = Proposal(number=trial.number, origin=study.origin(trial), parameters=trial.params)
                    running[workers.submit(run, proposal, watch, stopping.is_set)] = (trial, watch)
                if not running:
                    return
                for future in wait(running, timeout=_POLL_SECONDS, return_when=FIRST_COMPLETED).done:
                    trial, watch = running.pop(future)
                    with lock:
                        said = _end(study, trial, watch, future, objective)
                    known += 1
                    ended(trial.number)
                    tell(f"[{known}/{trials}] trial {trial.number}: {said}")
        except BaseException:
            stopping.set()
            raise


def _watch(study: OpenedStudy, trial: Trial, lock: threading.Lock) -> Watch:
    def note(epoch: int, value: float) -> bool:
        with lock:
            return study.report(trial, epoch=epoch, value=value)

    return Watch(note=note)


def _end(study: OpenedStudy, trial: Trial, watch: Watch, future: Future[None], objective: Objective) -> str:
    fault = future.exception()
    if fault is not None and not isinstance(fault, Exception):
        raise fault
    if fault is None and watch.values and not watch.is_behind:
        value = objective.best(list(watch.values.values()))
        study.complete(trial, value)
        return f"{objective.name} {value:.5f}"
    if fault is None and watch.is_behind:
        study.prune(trial)
        return f"pruned after epoch {max(watch.values)}"
    reason = "it reported no epoch" if fault is None else str(fault) or type(fault).__name__
    study.fail(trial, reason)
    return f"FAILED: {reason.splitlines()[0]}"
