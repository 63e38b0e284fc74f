"""The rules on evidence and integrity: what the day and the bundle must be before any number counts."""

from datetime import timedelta

import pytest

from tests.ml.evaluation.gate_days import DAY, against_champion, evaluated_day, first, verdict, why


@pytest.mark.parametrize(
    ("facts", "rule"),
    [
        ({"inputs_admitted": False}, "training_inputs_admitted"),
        ({"judged_day_in_training": True}, "judged_day_unseen"),
        ({"smoke_test_max_difference": 2e-6}, "bundle_smoke_test"),
        ({"smoke_test_max_difference": float("nan")}, "bundle_smoke_test"),
        ({"smoke_test_max_difference": float("inf")}, "bundle_smoke_test"),
    ],
)
@pytest.mark.parametrize("enough", [True, False])
def test_a_model_without_integrity_is_rejected_however_much_evidence_there_is(facts, rule, enough):
    decision = first(evaluated_day(conversions=300 if enough else 1), **facts)
    assert decision.decision == "rejected"
    assert verdict(decision, rule) == "fail"
    assert decision.model_dump_json()


def test_an_immature_day_says_when_it_can_be_judged():
    decision = first(mature=False, mature_from=DAY + timedelta(days=4))
    assert "2026-11-19" in why(decision, "judged_day_mature")


@pytest.mark.parametrize(
    ("champion", "seen"),
    [
        ({"as_of": DAY}, False),
        ({"as_of": DAY + timedelta(days=1)}, True),
        ({"as_of": DAY + timedelta(days=3), "training_days": (DAY + timedelta(days=1),)}, False),
        ({"as_of": DAY + timedelta(days=3), "training_days": (DAY,)}, True),
    ],
)
def test_a_champion_that_has_seen_the_judged_day_is_no_yardstick(champion, seen):
    decision = against_champion(champion=evaluated_day(**champion))
    assert decision.decision == ("insufficient_evidence" if seen else "promoted")
    assert verdict(decision, "judged_day_unseen_by_champion") == ("insufficient" if seen else "pass")


def test_restated_inputs_are_named_and_do_not_fail_the_model():
    decision = first(stale_inputs=("2026-11-09",))
    assert decision.decision == "promoted"
    assert "2026-11-09" in why(decision, "training_inputs_admitted")
