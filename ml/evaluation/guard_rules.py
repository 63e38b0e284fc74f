"""The gate's rules on what a better model must not lose: other tasks, single slices, calibration by bin; the primary
metric's own rules are in performance_rules.py."""

from __future__ import annotations

from collections.abc import Sequence
from statistics import NormalDist

from ml.data.policy import GateSpec
from ml.evaluation.evaluated_day import EvaluatedDay, Task, TaskComparison
from ml.evaluation.gate_rules import GateRule
from ml.evaluation.intervals import Difference
from ml.evaluation.measurement import Measured, NotMeasurable
from ml.evaluation.performance_rules import unmeasured
from ml.evaluation.slices import SliceMetrics

_SHOWN_SLICES = 3


def auc_not_lost(*, task: Task, challenger: EvaluatedDay, comparison: TaskComparison, gate: GateSpec) -> GateRule:
    """Challenger only: no loss of a further task's AUC that is both beyond the tolerance and beyond chance.

    A day's few conversions leave a CVR AUC's difference within several points either way: a bound on the estimate alone
    would reject by the toss of a coin.
    """
    difference, name = comparison.auc_difference, f"{task.upper()} AUC"
    rule, bound = f"{task}_auc_not_lost", f"≥ {-gate.auc_tolerance:+g}, or by chance"
    if isinstance(difference, NotMeasurable):
        # A log where every impression is clicked has no CTR AUC, for no model and on no day.
        if challenger.tasks[task].positives == challenger.tasks[task].rows > 0:
            why = f"The {name} is not measurable ({difference.reason}), so nothing can be lost on it."
            return GateRule(rule=rule, value=None, bound=bound, verdict="pass", why=why)
        return unmeasured(rule=rule, bound=bound, what=f"The {name}'s difference", answer=difference)
    return _area_row(difference, rule=rule, bound=bound, name=name, gate=gate)


def gauc_not_lost(*, comparison: TaskComparison, gate: GateSpec) -> GateRule:
    """Challenger only: no loss of the primary task's GAUC, the order within users, beyond tolerance and chance.

    A better AUC can come from knowing which users buy, which ranks no user's page any better. Where no unit has both
    classes, as in a log of one row a session, there is no GAUC for any model and nothing to lose.
    """
    difference, rule = comparison.gauc_difference, "ctcvr_gauc_not_lost"
    bound = f"≥ {-gate.auc_tolerance:+g}, or by chance"
    if isinstance(difference, NotMeasurable):
        if isinstance(comparison.auc_difference, NotMeasurable):
            return unmeasured(rule=rule, bound=bound, what="The CTCVR GAUC's difference", answer=difference)
        why = f"The CTCVR GAUC is not measurable ({difference.reason}), so nothing can be lost on it."
        return GateRule(rule=rule, value=None, bound=bound, verdict="pass", why=why)
    return _area_row(difference, rule=rule, bound=bound, name="CTCVR GAUC", gate=gate)


def _area_row(difference: Difference, *, rule: str, bound: str, name: str, gate: GateSpec) -> GateRule:
    lost = difference.estimate < -gate.auc_tolerance and difference.upper < 0
    return GateRule(
        rule=rule,
        value=difference.estimate,
        bound=bound,
        verdict="fail" if lost else "pass",
        why=f"The {name} differs from the champion's by {difference.estimate:+.4f} (interval {difference.lower:+.4f} "
        f"to {difference.upper:+.4f}); a loss of more than {gate.auc_tolerance:g} that chance does not explain fails.",
    )


def log_loss_not_lost(
    *, task: Task, challenger: EvaluatedDay, champion: EvaluatedDay, comparison: TaskComparison, gate: GateSpec
) -> GateRule:
    """Challenger only: no rise of a further task's log loss that is both beyond the tolerance and beyond chance."""
    difference, base = comparison.log_loss_difference, champion.tasks[task].log_loss
    name, rule, bound = f"{task.upper()} log loss", f"{task}_log_loss_not_lost", f"≤ {gate.tolerance:.2%} rise"
    for answer in (difference, base, challenger.tasks[task].log_loss):
        if isinstance(answer, NotMeasurable):
            return unmeasured(rule=rule, bound=bound, what=f"The {name}'s difference", answer=answer)
    assert not isinstance(difference, NotMeasurable)
    assert isinstance(base, Measured)
    allowed = gate.tolerance * base.value
    lost = difference.estimate > allowed and difference.lower > 0
    return GateRule(
        rule=rule,
        value=difference.estimate,
        bound=f"≤ {allowed:+.5f}, or by chance",
        verdict="fail" if lost else "pass",
        why=f"The {name} differs from the champion's {base.value:.5f} by {difference.estimate:+.5f} (interval "
        f"{difference.lower:+.5f} to {difference.upper:+.5f}); a rise of more than {allowed:.5f} "
        f"({gate.tolerance:.2%}) that chance does not explain fails.",
    )


def no_slice_collapses(*, slices: Sequence[SliceMetrics], gate: GateSpec) -> GateRule:
    """No slice with enough support loses `slice_drop` of the champion's AUC, or, of a first model, ranks below chance.

    Beyond chance at the gate's confidence for all slices together (Bonferroni): of many slices of an equal model, some
    always look worse.
    """
    supported = [(one, one.shown) for one in slices if one.shown is not None]
    rule, bound = "no_slice_collapses", "0 slices"
    if not supported:
        why = f"No slice has {gate.slice_min_positives:,} positives in {gate.slice_min_rows:,} rows: none is guarded."
        return GateRule(rule=rule, value=0, bound=bound, verdict="pass", why=why)
    reach = NormalDist().inv_cdf(1 - (1 - gate.confidence) / len(supported))
    against_champion = supported[0][0].champion_auc is not None
    least, line = (-gate.slice_drop, 0.0) if against_champion else (0.5, 0.5)
    collapsed = sorted(
        (shown.estimate, one.field, one.value, one.task)
        for one, shown in supported
        if shown.estimate < least and shown.estimate + reach * shown.standard_error < line
    )
    what = f"lose more than {gate.slice_drop:g} of the champion's AUC" if against_champion else "have an AUC below 0.5"
    why = f"{len(collapsed):,} of {len(supported):,} slices with enough support {what} beyond chance; 0 may."
    if collapsed:
        named = [f"{field} {value} ({task.upper()} {by:+.4f})" for by, field, value, task in collapsed[:_SHOWN_SLICES]]
        why = f"{why} The worst: {', '.join(named)}."
    return GateRule(rule=rule, value=len(collapsed), bound=bound, verdict="fail" if collapsed else "pass", why=why)


def calibrated_by_bin(*, challenger: EvaluatedDay, gate: GateSpec) -> GateRule:
    """The CTCVR ECE beyond what the labels' noise gives a perfect model, as a share of the observed rate."""
    metrics, rule, bound = challenger.tasks["ctcvr"], "ctcvr_ece", f"≤ {gate.max_ece:.0%} of the rate"
    for answer in (metrics.ece, metrics.ece_by_chance):
        if isinstance(answer, NotMeasurable):
            return unmeasured(rule=rule, bound=bound, what="The CTCVR ECE", answer=answer)
    if metrics.positives == 0:
        none = NotMeasurable(reason=f"0 conversions in {metrics.rows:,} rows")
        return unmeasured(rule=rule, bound=bound, what="The CTCVR ECE's share of the rate", answer=none)
    assert isinstance(metrics.ece, Measured)
    assert isinstance(metrics.ece_by_chance, Measured)
    rate, chance = metrics.positives / metrics.rows, metrics.ece_by_chance.value
    share = (metrics.ece.value - chance) / rate
    return GateRule(
        rule=rule,
        value=share,
        bound=bound,
        verdict="pass" if share <= gate.max_ece else "fail",
        why=f"The CTCVR ECE is {metrics.ece.value:.5f}, of which {chance:.5f} is the noise of the labels; the rest is "
        f"{share:.0%} of the observed rate {rate:.5f}, at most {gate.max_ece:.0%} is allowed.",
    )
