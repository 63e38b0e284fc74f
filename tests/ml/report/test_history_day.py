"""What the page across days takes of an evaluation, and who was champion from when to when."""

from datetime import timedelta

import pytest

from ml.evaluation.evaluate import evaluate
from ml.report.history_day import HistoryDay, evaluated, reigns
from tests.ml.report.made_up_history import decided

BASE_RATES = {"ctr": 0.3, "cvr": 0.35, "ctcvr": 0.1}


@pytest.fixture
def judge(judged_day, gate, good_facts, challenger_facts, champion_facts):
    def run(*, champion=True, edit=None):
        theirs = judged_day.predictions("b.parquet", noise=1.5, edit=edit) if champion else None
        return evaluate(
            predictions=judged_day.predictions("a.parquet", noise=0.2, edit=edit), model=challenger_facts,
            champion=(champion_facts, theirs) if theirs else None, truth=None, gate=gate, facts=good_facts,
            base_rates=BASE_RATES,
        )  # fmt: skip

    return run


def test_a_days_numbers_are_the_evaluations(judge):
    evaluation = judge()
    day = HistoryDay.model_validate(
        {"day": evaluation.judged_day, "verdict": "promoted", "data": "admitted"} | evaluated(evaluation)
    )
    assert (day.impressions, day.clicks, day.conversions) == (
        evaluation.challenger.impressions,
        evaluation.challenger.clicks,
        evaluation.challenger.conversions,
    )
    for shown, found in ((day.challenger, evaluation.challenger), (day.champion, evaluation.champion)):
        assert (shown.model_id, shown.model, shown.as_of) == (
            found.model.model_id,
            found.model.model,
            found.model.as_of,
        )
        for task, metrics in found.tasks.items():
            numbers = shown.tasks[task]
            assert numbers.auc.value == metrics.auc.value
            assert (numbers.auc.lower, numbers.auc.upper) == (metrics.auc_interval.lower, metrics.auc_interval.upper)
            assert (numbers.log_loss, numbers.pcoc) == (metrics.log_loss.value, metrics.pcoc.value)
    difference = evaluation.comparison["ctcvr"].auc_difference
    assert (day.auc_difference.value, day.auc_difference.lower) == (difference.estimate, difference.lower)
    assert (day.reasons, day.mature) == (evaluation.decision.reasons, True)


def test_what_cannot_be_measured_is_none(judge):
    found = evaluated(judge(champion=False, edit=lambda frame: frame.assign(conversion=0)))
    assert found["champion"] is None
    assert found["auc_difference"] is None
    assert found["challenger"].tasks["ctcvr"].auc is None
    assert found["challenger"].tasks["ctcvr"].pcoc is None
    assert found["challenger"].tasks["ctr"].auc is not None


def test_champions_follow_one_another_by_the_decisions_that_took_effect():
    first, second = decided(1, kind="promoted", effect=True), decided(4, kind="promoted", effect=True)
    back = decided(6, kind="rolled_back", place=1, effect=True)
    others = [decided(2), decided(3, kind="insufficient_evidence"), decided(5, kind="promoted", effect=False)]
    found = reigns([back, *others, second, first])
    assert [(reign.decision.decision_id, reign.until) for reign in found] == [
        (first.decision_id, second.at),
        (second.decision_id, back.at),
        (back.decision_id, None),
    ]
    assert second.at - first.at == timedelta(hours=3)
    assert reigns(others) == []
