"""Trials of a search: what is asked for, and training one of them in a watched child; which come next is `tuning`'s."""

from collections.abc import Mapping
from datetime import date
from pathlib import Path
from typing import Any, Self

from pydantic import BaseModel, ConfigDict, Field, JsonValue, ValidationError, field_validator, model_validator

from assets.cell_children import CellFailed, remove, run_cell_child, shared_runtime
from assets.models import conversion_train_spec
from assets.resources import Platform
from assets.setting_faults import faults_in_words
from assets.training_runs import training_window
from infra.artifacts import VERSION_FOLDER
from infra.child_process import ChildInterrupted
from ml.data.dataset import DatasetSpec
from ml.experiments.scheduling import CoreBudget, Stop
from ml.training.spec import TrainSpec
from ml.tuning.objective import METRICS_FILE, OBJECTIVES, EpochReader, Objective, ObjectiveName
from ml.tuning.records import PrunerName
from ml.tuning.search import Proposal, TrialFailed, Watch
from ml.tuning.search_space import SearchSpace, split_settings

TRIALS = "trials"
_CHECKPOINTS, _TRAIN = "checkpoints", "train"


class TuningRequest(BaseModel):
    """What is asked for: the space, what the trials have in common, and the machine's share.

    ``training`` and ``model`` hold every setting of a trial under the searched ones; ``given`` those of them that were
    asked for by name, which the best trial's command repeats. ``seed`` is that of the proposals.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    as_of: date
    name: str = Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,100}$")
    out: Path
    training: Mapping[str, JsonValue]
    model: Mapping[str, JsonValue]
    given: Mapping[str, JsonValue] = Field(default_factory=dict)
    space: SearchSpace
    trials: int = Field(default=20, ge=1, le=100_000)
    objective: ObjectiveName = "score"
    pruner: PrunerName = "median"
    seed: int = Field(default=0, ge=0, lt=2**31)
    budget: CoreBudget
    timeout_minutes: float | None = Field(default=None, gt=0, description="after so long no trial is begun")

    @field_validator("name")
    @classmethod
    def _is_no_version(cls, value: str) -> str:
        if VERSION_FOLDER.fullmatch(value):
            raise ValueError("16 hexadecimal digits stand for a version in the store: give another name")
        return value

    @model_validator(mode="after")
    def _is_one_model(self) -> Self:
        if self.model.get("name") != self.space.model:
            raise ValueError(
                f"the space is model {self.space.model}'s, and the trials' model is {self.model.get('name')}"
            )
        if both := sorted({*self.given} & {*self.space.dimensions}):
            raise ValueError(f"{', '.join(both)} is searched and set at once: leave it out of one of them")
        return self


class Trials:
    """Trains trials of one request in folders of their own, each in a child that is watched by its epochs."""

    def __init__(self, platform: Platform, spec: DatasetSpec, request: TuningRequest, *, out: Path) -> None:
        window = training_window(platform, as_of=request.as_of, policy=spec.window)
        self.base: TrainSpec = conversion_train_spec(
            platform,
            spec,
            as_of=request.as_of,
            window=window,
            settings={**request.training, "model": dict(request.model)},
        )
        self.out = out
        self.objective: Objective = OBJECTIVES[request.objective]
        self._platform, self._request = platform, request

    def run(self, proposal: Proposal, watch: Watch, stop: Stop) -> None:
        """Train one trial; what it has trained is taken away, its log, spec and metrics stay.

        Raises TrialFailed with the child's own reason, ChildInterrupted where `stop` said so.
        """
        folder = self.out / trial_folder(proposal.number)
        checkpoints = self.out / _CHECKPOINTS / f"{proposal.origin:04d}"
        remove(folder)
        folder.mkdir(parents=True)
        train = self._spec(self._request.space.values(proposal.parameters), checkpoints)
        reader = EpochReader(folder / _TRAIN / METRICS_FILE, self.objective)

        def has_to_end() -> bool:
            _take(reader, watch)
            return watch.is_behind or stop()

        goes_on_later = False
        try:
            run_cell_child(
                self._platform,
                "train",
                train.model_dump(mode="json"),
                folder / _TRAIN,
                threads=self._request.budget.threads,
                folder=folder,
                stop=has_to_end,
            )
            _take(reader, watch)
            # It has ended by itself: nothing is saved by giving it up.
            watch.is_behind = False
        except ChildInterrupted:
            if not watch.is_behind:
                goes_on_later = True
                raise
        except CellFailed as fault:
            raise TrialFailed(str(fault)) from fault
        finally:
            remove(folder / _TRAIN / "bundle")
            if not goes_on_later:
                remove(checkpoints)

    def _spec(self, settings: Mapping[str, Any], checkpoints: Path) -> TrainSpec:
        training, hyper_parameters = split_settings(settings)
        budget = self._request.budget
        runtime = shared_runtime(self.base.runtime.model_dump(), threads=budget.threads, processes=budget.processes)
        values = {name: getattr(self.base, name) for name in TrainSpec.model_fields}
        changes = {
            **training,
            "model": {**self._request.model, **hyper_parameters},
            # Fitted after the last epoch, it moves no objective and costs every trial.
            "calibration": "none",
            "calibration_field": None,
            "runtime": {**runtime, "checkpoints": checkpoints},
        }
        try:
            return TrainSpec.model_validate({**values, **changes})
        except ValidationError as error:
            raise TrialFailed(faults_in_words(error)) from error


def trial_folder(number: int) -> str:
    """A trial's folder, relative to the study's."""
    return f"{TRIALS}/{number:04d}"


def _take(reader: EpochReader, watch: Watch) -> None:
    for epoch in reader.new():
        watch.take(epoch)
