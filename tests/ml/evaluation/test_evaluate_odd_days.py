"""Judged days that lack something, and predictions that are wrong: answered in words, never with a crash or a NaN."""

import numpy as np
import pytest


@pytest.mark.parametrize(
    ("edit", "task"),
    [
        (lambda frame: frame.assign(click=1), "ctr"),
        (lambda frame: frame.assign(click=0, conversion=0), "ctcvr"),
        (lambda frame: frame.assign(conversion=0), "cvr"),
        (lambda frame: frame.head(0), "ctr"),
    ],
    ids=["all clicked", "no click", "no conversion", "no row"],
)
def test_days_of_one_class_are_answered_in_words_and_never_crash(judged, judged_day, champion_facts, edit, task):
    path = judged_day.predictions("a.parquet", noise=0.3, edit=edit)
    evaluation = judged(path, champion=(champion_facts, path), truth=judged_day.truth)
    assert evaluation.challenger.tasks[task].auc.kind == "not_measurable"
    assert evaluation.ceilings[task].share.kind == "not_measurable"
    assert evaluation.decision.decision in {"insufficient_evidence", "rejected"}
    assert "NaN" not in evaluation.to_json()


def test_a_log_where_every_impression_is_clicked_can_still_promote(judged, judged_day):
    evaluation = judged(judged_day.predictions("a.parquet", edit=lambda frame: frame.assign(click=1)))
    assert evaluation.challenger.tasks["ctr"].auc.kind == "not_measurable"
    assert evaluation.decision.decision == "promoted"


@pytest.mark.parametrize("bad", [np.nan, np.inf, -0.1, 1.5])
def test_a_model_with_predictions_that_are_no_probabilities_is_rejected(judged, judged_day, bad):
    def spoil(frame):
        return frame.assign(p_ctcvr=frame["p_ctcvr"].where(np.arange(len(frame)) >= 3, bad))

    evaluation = judged(judged_day.predictions("a.parquet", edit=spoil))
    assert evaluation.challenger.unusable_predictions == 3
    assert evaluation.decision.decision == "rejected"
    assert any("3 of 6,000" in reason for reason in evaluation.decision.reasons)


def test_the_base_rate_must_be_told_and_be_a_share(judged, judged_day):
    path = judged_day.predictions("a.parquet")
    evaluation = judged(path, base_rates={})
    assert evaluation.decision.decision == "insufficient_evidence"
    with pytest.raises(ValueError, match=r"base rate of ctr is 1\.5"):
        judged(path, base_rates={"ctr": 1.5})


def test_purchases_likelier_than_clicks_are_counted(judged, judged_day):
    def spoil(frame):
        return frame.assign(p_ctcvr=frame["p_ctcvr"].where(np.arange(len(frame)) >= 600, 0.999))

    evaluation = judged(judged_day.predictions("a.parquet", edit=spoil))
    assert evaluation.challenger.order_violations.value == pytest.approx(0.1, abs=0.005)
