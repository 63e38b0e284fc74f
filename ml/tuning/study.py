"""The Optuna study of a search in a folder of its own, whole after any crash; what a trial is, is its caller's."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType

import optuna
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.pruners import BasePruner, MedianPruner, NopPruner, SuccessiveHalvingPruner
from optuna.samplers import TPESampler
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend, JournalFileOpenLock
from optuna.study import Study
from optuna.trial import FrozenTrial, Trial, TrialState

from ml.tuning.dimensions import Dimension, Range, choice_key
from ml.tuning.objective import Objective
from ml.tuning.records import JOURNAL_FILE, PrunerName, State, TrialRecord
from ml.tuning.search_space import SearchSpace

REASON = "reason"
_AGAIN_OF, _ORIGIN = "again_of", "origin"
_STUDY = "search"
#: A trial is held against others from its second epoch on: a low learning rate is behind after the first.
_FIRST_JUDGED_EPOCH = 2
_STATES: dict[TrialState, State] = {TrialState.COMPLETE: "complete", TrialState.PRUNED: "pruned"}
_TRIALS_BEFORE_PRUNING = 4


class OpenedStudy:
    """A study that this process alone works on; its folder must be locked by the caller.

    Its journal holds JSON lines and nothing else: Optuna pickles only snapshots, which journals in files do not have.
    Trials that an earlier process left running are failed here as interrupted, and their settings tried again first.
    """

    def __init__(
        self, folder: Path, *, space: SearchSpace, objective: Objective, pruner: PrunerName, seed: int
    ) -> None:
        optuna.logging.set_verbosity(optuna.logging.WARNING)
        journal = folder / JOURNAL_FILE
        _cut_torn_line(journal)
        storage = JournalStorage(JournalFileBackend(str(journal), lock_obj=_FolderIsLocked(str(journal))))
        self._seed = seed
        self._distributions = {name: _distribution(each) for name, each in space.dimensions.items()}
        self.study: Study = optuna.create_study(
            storage=storage, study_name=_STUDY, direction=objective.goal, load_if_exists=True, pruner=_pruner(pruner)
        )
        self._try_interrupted_again()

    def ask(self) -> Trial:
        """A new trial with all its parameters.

        What is proposed depends on the seed and the trials there are alone, not on how often the search was resumed.
        """
        number = len(self.study.get_trials(deepcopy=False))
        # One sampler for all would, begun anew, propose its first random settings a second time.
        self.study.sampler = TPESampler(seed=_seed_of(self._seed, number))
        return self.study.ask(self._distributions)

    def origin(self, trial: Trial) -> int:
        """The number under which it was begun first, its own unless a process died with it."""
        return int(trial.user_attrs.get(_ORIGIN, trial.number))

    def report(self, trial: Trial, *, epoch: int, value: float) -> bool:
        """Notes an epoch's value; whether the trial is too far behind the others to go on."""
        trial.report(value, epoch)
        return trial.should_prune()

    def complete(self, trial: Trial, value: float) -> None:
        """The trial ended well; ``value`` is that of its best epoch."""
        self.study.tell(trial, value)

    def prune(self, trial: Trial) -> None:
        """The trial was ended, too far behind."""
        self.study.tell(trial, state=TrialState.PRUNED)

    def fail(self, trial: Trial, reason: str) -> None:
        """The trial has no value, for a reason of its own."""
        trial.set_user_attr(REASON, reason)
        self.study.tell(trial, state=TrialState.FAIL)

    def ended(self) -> list[FrozenTrial]:
        """All that have ended for a reason of their own: complete, pruned or failed, by number."""
        return [
            trial
            for trial in self.study.get_trials(deepcopy=False)
            if trial.state.is_finished() and not _was_interrupted(trial)
        ]

    def importances(self) -> Mapping[str, float]:
        """Each setting's share in what tells good trials from others (PED-ANOVA); empty where too few are complete."""
        complete = [trial for trial in self.ended() if trial.state is TrialState.COMPLETE]
        if len(complete) < _TRIALS_BEFORE_PRUNING or len({trial.value for trial in complete}) < 2:
            return MappingProxyType({})
        evaluator = optuna.importance.PedAnovaImportanceEvaluator(target_quantile=0.25)
        return optuna.importance.get_param_importances(self.study, evaluator=evaluator)

    def _try_interrupted_again(self) -> None:
        for trial in self.study.get_trials(deepcopy=False, states=(TrialState.RUNNING,)):
            self.study.tell(trial.number, state=TrialState.FAIL)
        trials = self.study.get_trials(deepcopy=False)
        repeated = {trial.user_attrs.get(_AGAIN_OF) for trial in trials}
        for trial in trials:
            # By what the journal holds, not by what this process just failed: it may die between the two.
            if _was_interrupted(trial) and trial.params and trial.number not in repeated:
                origin = trial.user_attrs.get(_ORIGIN, trial.number)
                self.study.enqueue_trial(trial.params, user_attrs={_AGAIN_OF: trial.number, _ORIGIN: origin})


def _was_interrupted(trial: FrozenTrial) -> bool:
    """A trial that failed by itself has its reason noted before its state."""
    return trial.state is TrialState.FAIL and REASON not in trial.user_attrs


class _FolderIsLocked(JournalFileOpenLock):
    """Optuna's lock files outlive a kill by half a minute; the folder's own lock goes with its process."""

    def acquire(self) -> bool:
        return True

    def release(self) -> None:
        return


def _cut_torn_line(journal: Path) -> None:
    """A record that a kill cut short would make one unreadable line with the record after it."""
    if not journal.exists():
        return
    with journal.open("r+b") as file:
        content = file.read()
        file.truncate(content.rfind(b"\n") + 1)


def _distribution(dimension: Dimension) -> BaseDistribution:
    if not isinstance(dimension, Range):
        return CategoricalDistribution([choice_key(value) for value in dimension.values])
    if isinstance(dimension.low, int) and isinstance(dimension.high, int):
        return IntDistribution(dimension.low, dimension.high, log=dimension.log, step=int(dimension.step or 1))
    return FloatDistribution(dimension.low, dimension.high, log=dimension.log, step=dimension.step)


def _pruner(name: PrunerName) -> BasePruner:
    if name == "median":
        return MedianPruner(n_startup_trials=_TRIALS_BEFORE_PRUNING, n_warmup_steps=_FIRST_JUDGED_EPOCH)
    return SuccessiveHalvingPruner(min_resource=1, reduction_factor=3) if name == "halving" else NopPruner()


def _seed_of(seed: int, number: int) -> int:
    return int.from_bytes(hashlib.sha256(f"{seed} {number}".encode()).digest()[:4], "big")


def trial_record(trial: FrozenTrial, *, space: SearchSpace, objective: Objective) -> TrialRecord:
    """What became of a trial, by the epochs it reported."""
    epochs = trial.intermediate_values
    best = objective.best(list(epochs.values())) if epochs else None
    return TrialRecord(
        number=trial.number,
        state=_STATES.get(trial.state, "failed"),
        value=best,
        best_epoch=next((epoch for epoch, value in sorted(epochs.items()) if value == best), None),
        epochs=len(epochs),
        seconds=None if trial.duration is None else round(trial.duration.total_seconds(), 1),
        settings=space.values(trial.params),
        reason=trial.user_attrs.get(REASON),
    )
