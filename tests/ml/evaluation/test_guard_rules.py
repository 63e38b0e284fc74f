"""What a better model must not lose: each guard's row, its bound on both sides, and what cannot be measured."""

import pytest

from ml.data.policy import GateSpec
from ml.evaluation.clustered_auc import AucEstimate
from ml.evaluation.gate import judge
from ml.evaluation.guard_rules import calibrated_by_bin, no_slice_collapses
from ml.evaluation.intervals import Difference
from ml.evaluation.measurement import Measured, NotMeasurable
from ml.evaluation.slices import SliceMetrics
from tests.ml.evaluation.gate_days import (
    GOOD_FACTS,
    NOTHING,
    against_champion,
    comparison,
    evaluated_day,
    first,
    task_metrics,
    verdict,
    why,
    with_task,
)


def shown(estimate, half_width):
    return Difference(
        estimate=estimate, lower=estimate - half_width, upper=estimate + half_width, standard_error=half_width / 2,
        confidence=0.95, replicates=1000, units=500, p_value=0.01, smallest_detectable=0.03,
    )  # fmt: skip


def one_slice(estimate, error, *, value="phone", champion=0.7, task="ctr"):
    auc = Measured(value=0.6)
    return SliceMetrics(
        field="device", value=value, task=task, rows=5000, positives=300, auc=auc, log_loss=auc, pcoc=auc,
        champion_auc=None if champion is None else Measured(value=champion),
        shown=None if estimate is None else AucEstimate(estimate=estimate, standard_error=error),
    )  # fmt: skip


@pytest.mark.parametrize("task", ["ctr", "cvr"])
@pytest.mark.parametrize(
    ("estimate", "half_width", "expected"),
    [(-0.02, 0.01, "rejected"), (-0.02, 0.03, "promoted"), (-0.004, 0.001, "promoted"), (0.02, 0.01, "promoted")],
    ids=["lost", "by chance", "within the tolerance", "gained"],
)
def test_a_further_tasks_auc_may_not_be_lost_beyond_tolerance_and_chance(task, estimate, half_width, expected):
    decision = against_champion(with_task(task, auc_difference=shown(estimate, half_width)))
    assert decision.decision == expected
    assert verdict(decision, f"{task}_auc_not_lost") == ("fail" if expected == "rejected" else "pass")
    assert all(number in why(decision, f"{task}_auc_not_lost") for number in (f"{estimate:+.4f}", "0.005"))


@pytest.mark.parametrize(
    ("estimate", "half_width", "expected"),
    [(-0.02, 0.01, "rejected"), (-0.02, 0.03, "promoted"), (-0.004, 0.001, "promoted"), (0.02, 0.01, "promoted")],
)
def test_the_order_within_users_may_not_be_lost_beyond_tolerance_and_chance(estimate, half_width, expected):
    decision = against_champion(with_task("ctcvr", gauc_difference=shown(estimate, half_width)))
    assert decision.decision == expected
    assert verdict(decision, "ctcvr_gauc_not_lost") == ("fail" if expected == "rejected" else "pass")
    assert all(number in why(decision, "ctcvr_gauc_not_lost") for number in (f"{estimate:+.4f}", "0.005", "CTCVR GAUC"))


def test_a_log_without_users_of_both_classes_has_no_order_within_users_to_lose():
    decision = against_champion(with_task("ctcvr", gauc_difference=NOTHING))
    assert decision.decision == "promoted"
    assert "nothing can be lost" in why(decision, "ctcvr_gauc_not_lost")
    unknown = against_champion(with_task("ctcvr", gauc_difference=NOTHING, auc_difference=NOTHING))
    assert verdict(unknown, "ctcvr_gauc_not_lost") == "insufficient"


@pytest.mark.parametrize("task", ["ctr", "cvr"])
@pytest.mark.parametrize(
    ("estimate", "half_width", "expected"),
    [(0.002, 0.001, "rejected"), (0.002, 0.003, "promoted"), (0.0009, 0.0001, "promoted"), (-0.1, 0.1, "promoted")],
)
def test_a_further_tasks_log_loss_may_not_rise_beyond_tolerance_and_chance(task, estimate, half_width, expected):
    decision = against_champion(with_task(task, log_loss_difference=shown(estimate, half_width)))
    assert decision.decision == expected
    assert "0.10000" in why(decision, f"{task}_log_loss_not_lost")


@pytest.mark.parametrize("name", ["auc_difference", "log_loss_difference"])
def test_a_further_task_that_cannot_be_compared_is_insufficient(name):
    assert against_champion(with_task("cvr", **{name: NOTHING})).decision == "insufficient_evidence"


def test_a_log_where_every_impression_is_clicked_has_no_ctr_auc_to_lose():
    clicked = evaluated_day(tasks={"ctr": task_metrics("ctr", positives=10_000, auc=NOTHING)})
    decision = against_champion(with_task("ctr", auc_difference=NOTHING), day=clicked)
    assert decision.decision == "promoted"
    assert "nothing can be lost" in why(decision, "ctr_auc_not_lost")


def collapse(*slices, gate=None, champion=True):
    decision = judge(
        challenger=evaluated_day(), champion=evaluated_day() if champion else None,
        comparison=comparison() if champion else None, gate=gate or GateSpec(), facts=GOOD_FACTS, slices=slices,
    )  # fmt: skip
    return decision.decision, next(row for row in decision.rules if row.rule == "no_slice_collapses")


def test_a_slice_that_collapses_rejects_the_model_and_is_named():
    decision, row = collapse(one_slice(-0.1, 0.01), one_slice(0.02, 0.01, value="desk"))
    assert (decision, row.verdict, row.value) == ("rejected", "fail", 1)
    assert "device phone (CTR -0.1000)" in row.why
    assert "1 of 2 slices" in row.why


@pytest.mark.parametrize("estimate", [-0.04, -0.1], ids=["within the drop", "by chance"])
def test_a_slice_that_loses_little_or_by_chance_does_not(estimate):
    decision, row = collapse(one_slice(estimate, 0.001 if estimate > -0.05 else 0.07))
    assert (decision, row.verdict) == ("promoted", "pass")


def test_more_slices_need_more_to_convince():
    suspect = one_slice(-0.06, 0.03)
    assert collapse(suspect)[0] == "rejected"
    assert collapse(suspect, *(one_slice(0.0, 0.01, value=str(number)) for number in range(19)))[0] == "promoted"


def test_slices_of_a_first_model_must_not_rank_below_chance():
    assert collapse(one_slice(0.45, 0.01, champion=None), champion=False)[0] == "rejected"
    assert collapse(one_slice(0.45, 0.06, champion=None), champion=False)[0] == "promoted"
    assert collapse(one_slice(0.52, 0.01, champion=None), champion=False)[0] == "promoted"


def test_slices_without_support_are_not_guarded_and_that_is_said():
    row = no_slice_collapses(slices=[one_slice(None, 0)], gate=GateSpec())
    assert (row.verdict, row.value) == ("pass", 0)
    assert "50 positives in 1,000 rows" in row.why


@pytest.mark.parametrize(("ece", "expected"), [(0.006, "pass"), (0.0061, "fail"), (0.0, "pass")])
def test_the_calibration_error_beyond_chance_is_held_to_a_share_of_the_rate(ece, expected):
    # 300 of 10,000 rows convert: a fifth of the rate is 0.006, and 0.0008 is chance.
    metrics = {
        "ece": Measured(value=ece + 0.0008 - (1e-9 if ece == 0.006 else 0)),
        "ece_by_chance": Measured(value=0.0008),
    }
    decision = first(evaluated_day(ctcvr=metrics))
    assert verdict(decision, "ctcvr_ece") == expected
    assert decision.decision == ("promoted" if expected == "pass" else "rejected")
    assert all(number in why(decision, "ctcvr_ece") for number in ("0.00080", "0.03000", "20%"))


@pytest.mark.parametrize(
    "changed", [{"ece": NOTHING}, {"ece_by_chance": NOTHING}, {"positives": 0}], ids=["ece", "chance", "no conversion"]
)
def test_a_calibration_error_that_cannot_be_measured_is_insufficient(changed):
    row = calibrated_by_bin(challenger=evaluated_day(ctcvr=changed), gate=GateSpec())
    assert (row.verdict, row.value) == ("insufficient", None)
    assert "0 conversions" in row.why
    assert isinstance(NOTHING, NotMeasurable)
