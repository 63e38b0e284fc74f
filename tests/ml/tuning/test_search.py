"""Searches run as many trials as are lacking, within the cores, in spite of those that fail, and stop when told to."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

import pytest

from ml.experiments.scheduling import Stop
from ml.tuning.objective import OBJECTIVES, EpochValue
from ml.tuning.search import Proposal, TrialFailed, Watch, search
from ml.tuning.search_space import SearchSpace
from ml.tuning.study import OpenedStudy, trial_record

OpenStudy = Callable[..., OpenedStudy]


class FakeTrials:
    """Three epochs a trial, the better the smaller its number; those in `failing` fail, and it counts what runs."""

    def __init__(self, *, failing: tuple[int, ...] = (), seconds: float = 0.0) -> None:
        self.failing, self.seconds = failing, seconds
        self.epochs: dict[int, int] = {}
        self.at_once = self.most_at_once = 0
        self._lock = threading.Lock()

    def __call__(self, proposal: Proposal, watch: Watch, stop: Stop) -> None:
        with self._lock:
            self.at_once += 1
            self.most_at_once = max(self.most_at_once, self.at_once)
        try:
            for epoch in (1, 2, 3):
                time.sleep(self.seconds)
                if proposal.number in self.failing:
                    raise TrialFailed("the loss is no number\nits last lines")
                if stop():
                    raise KeyboardInterrupt
                self.epochs[proposal.number] = epoch
                watch.take(EpochValue(epoch, 1.0 - proposal.number / 10))
                if watch.is_behind:
                    return
        finally:
            with self._lock:
                self.at_once -= 1


def run(study: OpenedStudy, trials: int, fake: Callable[..., None], **changes: object) -> list[str]:
    told: list[str] = []
    values = {"processes": 1, "objective": OBJECTIVES["score"], **changes}
    search(study, trials=trials, run=fake, tell=told.append, **values)  # pyright: ignore
    return told


def test_what_is_lacking_is_run_and_what_is_behind_is_ended(open_study: OpenStudy):
    fake = FakeTrials()
    told = run(open_study(), 6, fake)
    assert fake.epochs == {0: 3, 1: 3, 2: 3, 3: 3, 4: 2, 5: 2}
    assert told == [
        "6 trials to run, 0 have ended; 1 at once",
        *(f"[{n + 1}/6] trial {n}: score {1 - n / 10:.5f}" for n in range(4)),
        "[5/6] trial 4: pruned after epoch 2",
        "[6/6] trial 5: pruned after epoch 2",
    ]
    assert run(open_study(), 6, fake) == ["0 trials to run, 6 have ended; 1 at once"]
    assert run(open_study(), 7, fake)[0] == "1 trials to run, 6 have ended; 1 at once"
    assert set(fake.epochs) == set(range(7))


def test_a_failed_trial_counts_says_why_and_the_others_go_on(open_study: OpenStudy, space: SearchSpace):
    study = open_study()
    told = run(study, 3, FakeTrials(failing=(1,)))
    assert "[2/3] trial 1: FAILED: the loss is no number" in told
    records = [trial_record(each, space=space, objective=OBJECTIVES["score"]) for each in study.ended()]
    assert [record.state for record in records] == ["complete", "failed", "complete"]
    assert (records[0].value, records[0].best_epoch) == (1.0, 1)
    assert records[1].reason == "the loss is no number\nits last lines"


def test_an_epoch_that_cannot_be_judged_fails_its_trial(open_study: OpenStudy):
    def blind(_proposal: Proposal, watch: Watch, _stop: Stop) -> None:
        watch.take(EpochValue(1, "0 conversions"))

    def silent(_proposal: Proposal, _watch: Watch, _stop: Stop) -> None:
        return

    assert run(open_study(), 1, blind)[1].endswith("FAILED: epoch 1 cannot be judged: 0 conversions")
    assert run(open_study(), 2, silent)[1].endswith("FAILED: it reported no epoch")


@pytest.mark.parametrize("processes", [1, 3])
def test_no_more_trials_at_once_than_there_are_processes(open_study: OpenStudy, processes: int):
    fake = FakeTrials(seconds=0.01)
    run(open_study(pruner="none"), 7, fake, processes=processes)
    assert 1 <= fake.most_at_once <= processes
    assert set(fake.epochs) == set(range(7))


def test_after_the_time_no_trial_is_begun(open_study: OpenStudy):
    fake = FakeTrials()
    told = run(open_study(), 5, fake, seconds=0.0)
    assert (told, fake.epochs) == (["5 trials to run, 0 have ended; 1 at once"], {})


def test_an_interrupted_search_ends_its_trials_and_tries_them_again(open_study: OpenStudy):
    def interrupted(_line: str) -> None:
        if "trial" in _line and _line.startswith("[1/"):
            raise KeyboardInterrupt

    fake = FakeTrials(seconds=0.02)
    study = open_study(pruner="none")
    with pytest.raises(KeyboardInterrupt):
        search(study, trials=9, processes=2, objective=OBJECTIVES["score"], run=fake, tell=interrupted)
    assert fake.at_once == 0
    begun = len(study.study.trials)
    ended = len(study.ended())
    assert begun > ended
    study = open_study(pruner="none")
    assert study.origin(study.ask()) < begun
