"""The gate: how rules add up to a decision, whatever each of them measures."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ml.data.policy import GateSpec
from ml.evaluation.evaluated_day import TASKS
from ml.evaluation.gate import judge
from ml.evaluation.intervals import Interval
from tests.ml.evaluation.gate_days import (
    GOOD_FACTS,
    NOTHING,
    against_champion,
    comparison,
    evaluated_day,
    first,
    interval,
    level,
    task_metrics,
    verdict,
    why,
)


def test_a_first_model_that_passes_every_rule_is_promoted():
    decision = first()
    assert (decision.decision, decision.first_model) == ("promoted", True)
    assert {row.verdict for row in decision.rules} == {"pass"}
    assert any("0.6800" in reason and "0.5" in reason for reason in decision.reasons)


def test_a_challenger_that_passes_every_rule_is_promoted():
    decision = against_champion()
    assert (decision.decision, decision.first_model) == ("promoted", False)
    assert any("+0.0100" in reason for reason in decision.reasons)


@pytest.mark.parametrize(
    ("day", "facts", "rule"),
    [
        ({}, {"mature": False}, "judged_day_mature"),
        ({}, {"judged_day_admitted": False}, "judged_day_admitted"),
        ({}, {"smoke_test_max_difference": None}, "bundle_smoke_test"),
        ({"conversions": 99}, {}, "enough_conversions"),
        ({"clicks": 199}, {}, "enough_clicks"),
        ({"ctcvr": {"pcoc": NOTHING}}, {}, "ctcvr_pcoc"),
        ({"ctcvr": {"pcoc_interval": NOTHING}}, {}, "ctcvr_pcoc"),
        ({"ctcvr": {"auc_interval": NOTHING}}, {}, "ctcvr_auc_above_chance"),
        ({"ctcvr": {"base_rate_log_loss": NOTHING}}, {}, "ctcvr_log_loss_below_base_rate"),
        ({"tasks": {task: task_metrics(task, auc=NOTHING) for task in TASKS}}, {}, "not_too_good_to_be_true"),
    ],
)
def test_what_cannot_be_judged_is_insufficient_and_not_rejected(day, facts, rule):
    decision = first(evaluated_day(**day), **facts)
    assert decision.decision == "insufficient_evidence"
    assert verdict(decision, rule) == "insufficient"
    assert why(decision, rule) in decision.reasons


def test_bad_numbers_of_a_day_without_evidence_are_not_held_against_the_model():
    bad = {**level(3.0, 2.6, 3.5), "auc_interval": Interval(**interval(0.3))}
    assert first(evaluated_day(ctcvr=bad)).decision == "rejected"
    decision = first(evaluated_day(ctcvr=bad, conversions=20))
    assert decision.decision == "insufficient_evidence"
    assert verdict(decision, "ctcvr_pcoc") == "insufficient"
    assert "not held against" in why(decision, "ctcvr_pcoc")


def test_a_day_where_every_impression_is_clicked_has_no_ctr_auc_and_is_judged_all_the_same():
    one_class = {"ctr": task_metrics("ctr", auc=NOTHING, auc_interval=NOTHING, normalised_entropy=NOTHING)}
    assert first(evaluated_day(tasks=one_class)).decision == "promoted"


def test_the_champion_itself_keeps_its_place_whatever_the_day_says():
    good, bad = first(is_champion=True), first(evaluated_day(ctcvr=level(3.0, 2.6, 3.5)), is_champion=True)
    scarce = first(evaluated_day(conversions=1), is_champion=True)
    for decision in (good, bad, scarce):
        assert (decision.decision, decision.first_model) == ("unchanged", False)
        assert "is the champion" in decision.reasons[0]
    assert len(good.reasons) == 1
    assert bad.reasons[1:] == (why(bad, "ctcvr_pcoc"),)
    assert why(scarce, "enough_conversions") in scarce.reasons


def test_a_champion_is_not_compared_with_itself():
    with pytest.raises(ValueError, match="comparison with itself"):
        against_champion(is_champion=True)


def test_a_champion_without_a_comparison_is_refused():
    with pytest.raises(ValueError, match="belong together"):
        judge(challenger=evaluated_day(), champion=evaluated_day(), comparison=None, gate=GateSpec(), facts=GOOD_FACTS)


maybe = st.sampled_from([None, 0.3, 0.9, 1.0, 1.5])


@given(
    pcoc=maybe, lower=st.sampled_from([None, -0.1, 0.0, 0.1]), conversions=st.sampled_from([0, 99, 100, 500]),
    mature=st.booleans(), seen=st.booleans(), unusable=st.sampled_from([0, 1]),
)  # fmt: skip
def test_promotion_needs_every_rule_and_the_decision_follows_from_the_verdicts(
    pcoc, lower, conversions, mature, seen, unusable
):
    metrics = {"pcoc": NOTHING} if pcoc is None else level(pcoc, pcoc - 0.05, pcoc + 0.05)
    decision = against_champion(
        comparison(auc=NOTHING if lower is None else lower),
        day=evaluated_day(ctcvr=metrics, conversions=conversions, unusable_predictions=unusable),
        mature=mature,
        judged_day_in_training=seen,
    )
    verdicts = {row.verdict for row in decision.rules}
    assert (decision.decision == "promoted") == (verdicts == {"pass"})
    assert (decision.decision == "rejected") == ("fail" in verdicts)
    if conversions < 100 or not mature:
        assert (decision.decision == "rejected") == (seen or unusable > 0)
    assert decision.reasons
    assert all(row.why.endswith(".") for row in decision.rules)
