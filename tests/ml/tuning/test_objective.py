"""Objectives are read from validation records as they are appended, and say why an epoch has none."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from ml.tuning.objective import OBJECTIVES, EpochReader, EpochValue

VALIDATION = {
    "score": 1.4,
    "score_is": "auc_ctr + auc_ctcvr",
    "auc_ctcvr": 0.7,
    "auc_cvr": None,
    "auc_cvr_reason": "0 conversions in 3 rows",
    "loss": 0.9,
    "log_loss_ctcvr": 0.2,
}


def test_each_objective_is_its_own_figure_or_the_reason_why_there_is_none():
    assert OBJECTIVES["score"].of(VALIDATION) == 1.4
    assert OBJECTIVES["auc_ctcvr"].of(VALIDATION) == 0.7
    assert OBJECTIVES["auc_cvr"].of(VALIDATION) == "0 conversions in 3 rows"
    # Not the model's own loss, whose terms' weights may be searched.
    assert OBJECTIVES["loss"].of(VALIDATION) == 0.2
    assert "no log_loss_ctcvr" in str(OBJECTIVES["loss"].of({}))


def test_a_score_of_another_kind_is_none():
    fallback = {"score": -0.9, "score_is": "−loss: not every AUC is measurable"}
    assert OBJECTIVES["score"].of(fallback) == "the score is −loss: not every AUC is measurable"


def test_the_goal_says_which_is_best():
    assert OBJECTIVES["score"].best([1.0, 3.0, 2.0]) == 3.0
    assert OBJECTIVES["loss"].best([1.0, 3.0, 2.0]) == 1.0


def test_epochs_are_read_once_each_and_only_whole_lines(tmp_path: Path):
    path = tmp_path / "metrics.jsonl"
    reader = EpochReader(path, OBJECTIVES["score"])
    assert reader.new() == []
    lines = [json.dumps({"kind": "step", "epoch": 1, "loss": 1.0})]
    lines += [json.dumps({"kind": "epoch", "epoch": n, "validation": {**VALIDATION, "score": n / 10}}) for n in (1, 2)]
    path.write_text(lines[0] + "\n" + lines[1] + "\n" + lines[2][:20])
    assert reader.new() == [EpochValue(1, 0.1)]
    assert reader.new() == []
    with path.open("a") as file:
        file.write(lines[2][20:] + "\n")
    assert reader.new() == [EpochValue(2, 0.2)]


@pytest.mark.parametrize("name", sorted(OBJECTIVES))
def test_titles_say_that_it_is_validation_rows(name: str):
    assert "validation rows" in OBJECTIVES[name].title  # pyright: ignore
