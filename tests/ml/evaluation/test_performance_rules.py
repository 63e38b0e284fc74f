"""The rules on the primary metric and on what no model may show: each one's verdict at its bound, with both numbers."""

import pytest

from ml.data.policy import GateSpec
from ml.evaluation.intervals import Interval
from ml.evaluation.metrics import Measured
from tests.ml.evaluation.gate_days import (
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


@pytest.mark.parametrize(
    ("day", "rule", "numbers"),
    [
        ({"ctcvr": {"auc_interval": Interval(**interval(0.5))}}, "ctcvr_auc_above_chance", ["0.5000", "0.5"]),
        ({"ctcvr": {"log_loss": Measured(value=0.12)}}, "ctcvr_log_loss_below_base_rate", ["0.12000", "0.12000"]),
        ({"ctcvr": level(1.3, 1.11, 1.6)}, "ctcvr_pcoc", ["1.300", "1.110 to 1.600", "0.9 to 1.1", "lies outside"]),
        ({"ctcvr": level(0.7, 0.5, 0.89)}, "ctcvr_pcoc", ["0.700", "0.500 to 0.890", "0.9 to 1.1", "lies outside"]),
        ({"ctcvr": {"auc": Measured(value=0.99)}}, "not_too_good_to_be_true", ["0.9900", "0.98"]),
        (
            {"tasks": {"cvr": task_metrics("cvr", auc=Measured(value=0.995))}},
            "not_too_good_to_be_true",
            ["CVR", "0.995"],
        ),
        ({"unusable_predictions": 4}, "predictions_usable", ["4 of 10,000", "0 are allowed"]),
    ],
)
def test_a_first_model_is_rejected_with_both_numbers(day, rule, numbers):
    decision = first(evaluated_day(**day))
    assert decision.decision == "rejected"
    assert [row.rule for row in decision.rules if row.verdict == "fail"] == [rule]
    assert decision.reasons == (why(decision, rule),)
    assert all(number in decision.reasons[0] for number in numbers)


@pytest.mark.parametrize(
    ("lower", "margin", "expected"),
    [
        (0.0, 0.0, "rejected"),
        (1e-9, 0.0, "promoted"),
        (-0.01, 0.0, "rejected"),
        (0.01, 0.02, "rejected"),
        (0.03, 0.02, "promoted"),
    ],
)
def test_the_lower_bound_must_exceed_the_margin_strictly(lower, margin, expected):
    decision = against_champion(comparison(auc=lower), gate=GateSpec(margin=margin))
    assert decision.decision == expected
    if expected == "rejected":
        assert "0.0280" in decision.reasons[0]  # what the day could have shown


@pytest.mark.parametrize(("estimate", "expected"), [(0.0009, "promoted"), (0.0011, "rejected"), (-0.1, "promoted")])
def test_the_log_loss_may_rise_by_a_share_of_the_champions(estimate, expected):
    decision = against_champion(comparison(log_loss=estimate - 0.02), gate=GateSpec(tolerance=0.01))
    assert decision.decision == expected
    assert "0.10000" in why(decision, "ctcvr_log_loss_within_tolerance")


@pytest.mark.parametrize("field", ["auc", "log_loss"])
def test_a_difference_that_cannot_be_measured_is_insufficient(field):
    decision = against_champion(comparison(**{field: NOTHING}))
    assert decision.decision == "insufficient_evidence"
    assert "0 conversions in 9 rows" in decision.reasons[0]


@pytest.mark.parametrize(
    ("shown", "expected", "said"),
    [
        (level(1.02, 0.85, 1.2), "pass", "estimate lies within"),
        (level(1.3, 1.1, 1.5), "pass", "chance explains"),
        (level(0.78, 0.67, 0.9), "pass", "chance explains"),
        (level(1.3, 1.1, 1.51), "insufficient", "rule out 0.67 or 1.50"),
        (level(0.8, 0.66, 0.95), "insufficient", "rule out 0.67 or 1.50"),
        (level(1.0, 0.5, 1.8), "insufficient", "rule out 0.67 or 1.50"),
        (level(1.3, 1.1001, 1.4), "fail", "chance does not explain"),
        (level(0.8, 0.7, 0.8999), "fail", "chance does not explain"),
    ],
)
def test_the_level_is_held_against_a_model_only_where_the_day_shows_it(shown, expected, said):
    decision = first(evaluated_day(ctcvr=shown))
    assert verdict(decision, "ctcvr_pcoc") == expected
    assert said in why(decision, "ctcvr_pcoc")
    word = {"pass": "promoted", "fail": "rejected", "insufficient": "insufficient_evidence"}[expected]
    assert decision.decision == word


def test_bounds_wider_than_a_gross_error_are_the_gross_error():
    gate = GateSpec(pcoc_low=0.2, pcoc_high=5)
    assert first(evaluated_day(ctcvr=level(2.0, 0.3, 4.9)), gate=gate).decision == "promoted"
    assert first(evaluated_day(ctcvr=level(2.0, 0.3, 5.1)), gate=gate).decision == "insufficient_evidence"
    assert first(evaluated_day(ctcvr=level(0.5, 0.19, 1.0)), gate=gate).decision == "insufficient_evidence"
