"""Studies keep JSON alone, survive a kill at any record, propose the same from a seed, and prune those far behind."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from optuna.trial import TrialState

from ml.tuning.objective import OBJECTIVES
from ml.tuning.search_space import SearchSpace
from ml.tuning.study import JOURNAL_FILE, OpenedStudy, trial_record

OpenStudy = Callable[..., OpenedStudy]


def proposals(study: OpenedStudy, count: int) -> list[dict]:
    found = []
    for place in range(count):
        trial = study.ask()
        found.append(trial.params)
        study.report(trial, epoch=1, value=place / 10)
        study.complete(trial, place / 10)
    return found


def test_the_journal_is_json_lines_and_nothing_else_is_stored(open_study: OpenStudy, tmp_path: Path):
    proposals(open_study(), 3)
    assert [path.name for path in tmp_path.iterdir()] == [JOURNAL_FILE]
    for line in (tmp_path / JOURNAL_FILE).read_text().splitlines():
        assert isinstance(json.loads(line), dict)


def test_the_same_seed_proposes_the_same_however_often_it_is_opened(open_study: OpenStudy, tmp_path: Path):
    folders = [tmp_path / name for name in ("once", "twice", "other")]
    for folder in folders:
        folder.mkdir()
    once = proposals(open_study(folders[0]), 13)
    twice = proposals(open_study(folders[1]), 4) + proposals(open_study(folders[1]), 9)
    assert once == twice
    assert len({str(each) for each in once}) > 10
    assert proposals(open_study(folders[2], seed=1), 2) != once[:2]


def test_proposals_lie_within_the_space(open_study: OpenStudy):
    for proposed in proposals(open_study(), 15):
        assert 1e-4 <= proposed["learning_rate"] <= 1e-2
        assert proposed["embedding_size"] in (4, 8, 12, 16)
        assert proposed["batch_size"] in (500, 1000, 2000)
        assert proposed["tower_widths"] in ("[64, 32]", "[128, 64]")


def test_a_trial_that_a_killed_process_left_running_is_tried_again_once(open_study: OpenStudy):
    study = open_study()
    proposals(study, 2)
    left = study.ask()
    for _ in range(3):
        study = open_study()
        assert [trial.number for trial in study.ended()] == [0, 1]
    again = study.ask()
    assert (again.params, study.origin(again)) == (left.params, left.number)
    # Killed a second time, it is still the same trial.
    study = open_study()
    third = study.ask()
    assert (third.params, study.origin(third)) == (left.params, left.number)
    study.complete(third, 1.0)
    study = open_study()
    assert study.study.get_trials(states=(TrialState.WAITING, TrialState.RUNNING)) == []
    assert len(study.ended()) == 3


def test_every_prefix_of_the_journal_can_be_gone_on_with(open_study: OpenStudy, tmp_path: Path):
    study = open_study()
    proposals(study, 1)
    failed = study.ask()
    study.fail(failed, "out of memory")
    study.ask()
    whole = (tmp_path / JOURNAL_FILE).read_bytes()
    ends = [place for place in range(len(whole)) if whole[place : place + 1] == b"\n"]
    for number, end in enumerate([0, *ends, *(end - 5 for end in ends)]):
        folder = tmp_path / str(number)
        folder.mkdir()
        (folder / JOURNAL_FILE).write_bytes(whole[:end])
        first = open_study(folder)
        known = len(first.ended())
        first.complete(first.ask(), 1.0)
        assert len(open_study(folder).ended()) == known + 1


def test_a_trial_far_behind_is_pruned_from_its_second_epoch_on(open_study: OpenStudy, space: SearchSpace):
    study = open_study()
    for place in range(4):
        trial = study.ask()
        for epoch in (1, 2, 3):
            assert not study.report(trial, epoch=epoch, value=1.0 + place / 100)
        study.complete(trial, 1.0 + place / 100)
    trial = study.ask()
    assert not study.report(trial, epoch=1, value=0.5)
    assert study.report(trial, epoch=2, value=0.6)
    study.prune(trial)
    record = trial_record(study.ended()[-1], space=space, objective=OBJECTIVES["score"])
    assert (record.state, record.value, record.best_epoch, record.epochs) == ("pruned", 0.6, 2, 2)


@pytest.mark.parametrize("pruner", ["halving", "none"])
def test_other_pruners_are_to_be_had(open_study: OpenStudy, pruner: str):
    study = open_study(pruner=pruner, objective=OBJECTIVES["loss"])
    behind = []
    for place in range(6):
        trial = study.ask()
        behind.append(study.report(trial, epoch=1, value=1.0 + place))
        study.complete(trial, 1.0 + place)
    assert any(behind) == (pruner == "halving")


def test_a_failed_trial_keeps_its_reason_and_is_not_tried_again(open_study: OpenStudy, space: SearchSpace):
    study = open_study()
    study.fail(study.ask(), "the loss is no number")
    study = open_study()
    (failed,) = study.ended()
    record = trial_record(failed, space=space, objective=OBJECTIVES["score"])
    assert (record.state, record.reason, record.value) == ("failed", "the loss is no number", None)
    assert study.study.get_trials(states=(TrialState.WAITING,)) == []


def test_importances_need_some_complete_trials(open_study: OpenStudy):
    study = open_study()
    proposals(study, 3)
    assert dict(study.importances()) == {}
    proposals(study, 9)
    assert set(study.importances()) == {"learning_rate", "batch_size", "embedding_size", "tower_widths"}
    assert sum(study.importances().values()) == pytest.approx(1)
