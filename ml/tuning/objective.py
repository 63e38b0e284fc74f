"""What a trial is judged by, read from its epoch records on validation rows; the judged day is nowhere in it."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any, Literal

ObjectiveName = Literal["score", "auc_ctcvr", "auc_cvr", "loss"]
Goal = Literal["maximize", "minimize"]
METRICS_FILE = "metrics.jsonl"


@dataclass(frozen=True)
class Objective:
    """A figure of an epoch's validation on the window's own held-out rows: never of the day that is judged later."""

    name: ObjectiveName
    goal: Goal
    key: str
    title: str

    def best(self, values: Sequence[float]) -> float:
        """Of a trial's epochs, or of trials."""
        return max(values) if self.goal == "maximize" else min(values)

    def of(self, validation: Mapping[str, Any]) -> float | str:
        """The figure of an epoch's validation record, or why there is none."""
        value = validation.get(self.key)
        if value is None:
            return str(validation.get(f"{self.key}_reason") or f"the epoch's validation has no {self.key}")
        # Without conversions among the validation rows the trainer's score is −loss: of another kind than AUCs.
        if self.name == "score" and "auc_ctcvr" not in str(validation.get("score_is")):
            return f"the score is {validation.get('score_is')}"
        return float(value)


OBJECTIVES: Mapping[ObjectiveName, Objective] = MappingProxyType(
    {
        objective.name: objective
        for objective in (
            Objective("score", "maximize", "score", "CTR AUC + CTCVR AUC, on validation rows"),
            Objective("auc_ctcvr", "maximize", "auc_ctcvr", "CTCVR AUC, on validation rows"),
            Objective("auc_cvr", "maximize", "auc_cvr", "CVR AUC, on clicked validation rows"),
            # The models' own losses have terms of their own, whose weights may be searched: no two are comparable.
            Objective("loss", "minimize", "log_loss_ctcvr", "CTCVR log loss, on validation rows"),
        )
    }
)


@dataclass(frozen=True)
class EpochValue:
    """An epoch from 1 and its objective, or why it has none."""

    epoch: int
    value: float | str


class EpochReader:
    """Reads the epochs' values from a metrics.jsonl that is still written to."""

    def __init__(self, path: Path, objective: Objective) -> None:
        self._path, self._objective = path, objective
        self._offset = 0

    def new(self) -> list[EpochValue]:
        """Those of whole lines written since the last call; a line that is not ended yet waits for the next."""
        try:
            with self._path.open("rb") as file:
                file.seek(self._offset)
                written = file.read()
        except FileNotFoundError:
            return []
        whole = written[: written.rfind(b"\n") + 1]
        self._offset += len(whole)
        records = [json.loads(line) for line in whole.splitlines()]
        return [
            EpochValue(record["epoch"], self._objective.of(record["validation"]))
            for record in records
            if record.get("kind") == "epoch"
        ]
