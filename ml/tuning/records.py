"""What became of a search, as frozen records that files and pages are written from; knows no Optuna."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date
from typing import Any, Literal

import yaml
from pydantic import BaseModel, ConfigDict, JsonValue

from ml.tuning.objective import ObjectiveName
from ml.tuning.search_space import SearchSpace

State = Literal["complete", "pruned", "failed"]
PrunerName = Literal["median", "halving", "none"]
#: What Optuna knows of a study, a line of JSON each time something happens.
JOURNAL_FILE = "journal.jsonl"


class StudySettings(BaseModel):
    """What makes trials of a study comparable; a study is gone on with only under the same.

    ``base`` is the identity of the run that trials change: its data, code and settings that are not searched.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    dataset: str
    as_of: date
    model: dict[str, JsonValue]
    training: dict[str, JsonValue]
    space: SearchSpace
    objective: ObjectiveName
    seed: int
    base: str

    def differences(self, other: StudySettings) -> list[str]:
        """What is another in ``other``, with both values."""
        mine, theirs = self.model_dump(mode="json"), other.model_dump(mode="json")
        return [
            f"{name} is {theirs[name]} and was {mine[name]}"
            if name != "base"
            else "its data (receipts, embeddings, graphs) or the code is another"
            for name in mine
            if mine[name] != theirs[name]
        ]


class TrialRecord(BaseModel):
    """One trial that has ended. ``value``: of its best epoch, also where it was pruned; ``reason``: why it failed."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    number: int
    state: State
    value: float | None
    best_epoch: int | None
    epochs: int
    seconds: float | None
    settings: dict[str, JsonValue]
    reason: str | None = None


class StudyRecord(BaseModel):
    """A search so far: ``best`` is the number of the best complete trial, ``command`` trains and judges it."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str
    settings: StudySettings
    pruner: PrunerName
    trials: tuple[TrialRecord, ...]
    best: int | None
    command: str | None
    importances: dict[str, float]

    @property
    def best_trial(self) -> TrialRecord | None:
        """The best of those that are complete."""
        return next((trial for trial in self.trials if trial.number == self.best), None)

    def count(self, state: State) -> int:
        """How many trials ended so."""
        return sum(trial.state == state for trial in self.trials)


def best_number(trials: Sequence[TrialRecord], *, maximize: bool) -> int | None:
    """The earliest of the best complete trials."""
    complete = [
        (trial.value, trial.number) for trial in trials if trial.state == "complete" and trial.value is not None
    ]
    if not complete:
        return None
    return min(complete, key=lambda each: (-each[0] if maximize else each[0], each[1]))[1]


def as_yaml(value: Any) -> str:
    """A setting's value as `--set NAME=VALUE` takes it, one line of YAML: 1.0e-05, [64, 32], true."""
    text = yaml.safe_dump(value, default_flow_style=True, width=10_000)
    return text.removesuffix("\n").removesuffix("\n...")
