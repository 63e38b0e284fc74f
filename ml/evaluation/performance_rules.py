"""The gate's rules on the primary metric and on what no model may show, one function a rule; rules on what a better
model must not lose are in guard_rules.py, and how they add up to a decision in gate.py."""

from __future__ import annotations

from ml.data.policy import GateSpec
from ml.evaluation.evaluated_day import EvaluatedDay, Task, TaskComparison
from ml.evaluation.gate_rules import GateRule, Verdict
from ml.evaluation.intervals import Interval
from ml.evaluation.metrics import Measured, NotMeasurable


def not_too_good(*, challenger: EvaluatedDay, gate: GateSpec) -> GateRule:
    """The best AUC of any task; above the bound a label has leaked into the features."""
    measured: dict[Task, float] = {
        task: metrics.auc.value for task, metrics in challenger.tasks.items() if isinstance(metrics.auc, Measured)
    }
    rule, bound = "not_too_good_to_be_true", f"≤ {gate.max_auc:g}"
    if not measured:
        return unmeasured(rule=rule, bound=bound, what="No task's AUC", answer=NotMeasurable(reason="one class only"))
    task = max(measured, key=lambda name: measured[name])
    passed = measured[task] <= gate.max_auc
    why = f"The highest AUC is {task.upper()}'s {measured[task]:.4f}, at most {gate.max_auc:g} is believed."
    return GateRule(
        rule=rule,
        value=measured[task],
        bound=bound,
        verdict="pass" if passed else "fail",
        why=why if passed else f"{why} Suspect a feature that knows the label.",
    )


def calibrated(*, challenger: EvaluatedDay, gate: GateSpec) -> GateRule:
    """Predicted over observed conversions on impressions: failed where the day shows it to lie outside the bounds.

    A hundred conversions are observed to within 10 % either way, so a bound on the estimate alone would turn away one
    perfect model in three. An interval that lies outside on one side fails; one that reaches a gross error, beside
    whatever else, is too wide to say anything; every other passes, with its estimate outside by chance or not.
    """
    metrics, allowed = challenger.tasks["ctcvr"], f"{gate.pcoc_low:g} to {gate.pcoc_high:g}"
    answer, shown, rule, bound = metrics.pcoc, metrics.pcoc_interval, "ctcvr_pcoc", f"{allowed}, or by chance"
    for found in (answer, shown):
        if isinstance(found, NotMeasurable):
            return unmeasured(rule=rule, bound=bound, what="The CTCVR PCOC", answer=found)
    assert isinstance(answer, Measured)
    assert isinstance(shown, Interval)
    least, most = min(gate.pcoc_low, 1 / gate.pcoc_gross), max(gate.pcoc_high, gate.pcoc_gross)
    verdict: Verdict
    if shown.upper < gate.pcoc_low or shown.lower > gate.pcoc_high:
        verdict, then = "fail", "The interval lies outside: chance does not explain it."
    elif shown.lower < least or shown.upper > most:
        verdict, then = "insufficient", f"The interval is too wide to rule out {least:.2f} or {most:.2f}."
    elif gate.pcoc_low <= answer.value <= gate.pcoc_high:
        verdict, then = "pass", "The estimate lies within."
    else:
        verdict, then = "pass", "The estimate lies outside, which chance explains on so few conversions."
    return GateRule(
        rule=rule,
        value=answer.value,
        bound=bound,
        verdict=verdict,
        why=f"The model predicts {answer.value:.3f} conversions for each one observed ({gate.confidence:.0%} interval "
        f"{shown.lower:.3f} to {shown.upper:.3f}), the bound is {allowed}. {then}",
    )


def beats_chance(*, challenger: EvaluatedDay, gate: GateSpec) -> GateRule:
    """First model only: the AUC lies above 0.5 with confidence."""
    answer, rule, bound = challenger.tasks["ctcvr"].auc_interval, "ctcvr_auc_above_chance", "> 0.5 (lower bound)"
    if isinstance(answer, NotMeasurable):
        return unmeasured(rule=rule, bound=bound, what="The CTCVR AUC", answer=answer)
    return GateRule(
        rule=rule,
        value=answer.lower,
        bound=bound,
        verdict="pass" if answer.lower > 0.5 else "fail",
        why=f"The CTCVR AUC is {answer.estimate:.4f}; the lower bound of its {gate.confidence:.0%} interval, "
        f"{answer.lower:.4f}, must exceed 0.5.",
    )


def beats_base_rate(*, challenger: EvaluatedDay) -> GateRule:
    """First model only: the log loss is below that of always predicting the training days' conversion rate."""
    metrics, rule = challenger.tasks["ctcvr"], "ctcvr_log_loss_below_base_rate"
    for answer in (metrics.log_loss, metrics.base_rate_log_loss):
        if isinstance(answer, NotMeasurable):
            return unmeasured(rule=rule, bound="< base rate's", what="The CTCVR log loss", answer=answer)
    assert isinstance(metrics.log_loss, Measured)
    assert isinstance(metrics.base_rate_log_loss, Measured)
    loss, base = metrics.log_loss.value, metrics.base_rate_log_loss.value
    return GateRule(
        rule=rule,
        value=loss,
        bound=f"< {base:.5f}",
        verdict="pass" if loss < base else "fail",
        why=f"The CTCVR log loss is {loss:.5f}; always predicting the training days' base rate costs {base:.5f}.",
    )


def beats_champion(*, comparison: TaskComparison, gate: GateSpec) -> GateRule:
    """Challenger only: the interval of the AUC's difference lies strictly above the margin, so equals never pass."""
    answer, rule, bound = comparison.auc_difference, "ctcvr_auc_above_champion", f"> {gate.margin:g} (lower bound)"
    if isinstance(answer, NotMeasurable):
        return unmeasured(rule=rule, bound=bound, what="The CTCVR AUC's difference", answer=answer)
    passed = answer.lower > gate.margin
    why = (
        f"The CTCVR AUC differs from the champion's by {answer.estimate:+.4f} (p = {answer.p_value:.3f}); the lower "
        f"bound of its {gate.confidence:.0%} interval, {answer.lower:+.4f}, must exceed {gate.margin:g}."
    )
    power = f" This day would show a difference of {answer.smallest_detectable:.4f} four times in five."
    return GateRule(
        rule=rule,
        value=answer.lower,
        bound=bound,
        verdict="pass" if passed else "fail",
        why=why if passed else why + power,
    )


def log_loss_within_tolerance(*, champion: EvaluatedDay, comparison: TaskComparison, gate: GateSpec) -> GateRule:
    """Challenger only: the CTCVR log loss rises by no more than the tolerated share of the champion's."""
    difference, base = comparison.log_loss_difference, champion.tasks["ctcvr"].log_loss
    rule, bound = "ctcvr_log_loss_within_tolerance", f"≤ {gate.tolerance:.2%} rise"
    for answer in (difference, base):
        if isinstance(answer, NotMeasurable):
            return unmeasured(rule=rule, bound=bound, what="The CTCVR log loss's difference", answer=answer)
    assert not isinstance(difference, NotMeasurable)
    assert isinstance(base, Measured)
    allowed = gate.tolerance * base.value
    return GateRule(
        rule=rule,
        value=difference.estimate,
        bound=f"≤ {allowed:+.5f}",
        verdict="pass" if difference.estimate <= allowed else "fail",
        why=f"The CTCVR log loss differs from the champion's {base.value:.5f} by {difference.estimate:+.5f}, a rise of "
        f"{allowed:.5f} ({gate.tolerance:.2%}) is tolerated.",
    )


def unmeasured(*, rule: str, bound: str, what: str, answer: NotMeasurable) -> GateRule:
    """The row of a rule whose number the day could not answer: insufficient, never failed."""
    why = f"{what} is not measurable: {answer.reason}; the bound is {bound}."
    return GateRule(rule=rule, value=None, bound=bound, verdict="insufficient", why=why)
