"""Turns what the rules found into rule results, reasons and the day's verdict; it reads no rows."""

from collections.abc import Mapping, Sequence

from data_checks.receipts import RuleResult, Verdict
from data_checks.rules import Rule, RuleContext
from data_checks.suites import Judgement
from ml.data.dataset import DatasetSpec


def rule_result(
    rule: Rule,
    context: RuleContext,
    *,
    marked: int,
    judged: Judgement,
    rows_in: int,
    shown: Mapping[str, tuple[dict[str, str], ...]],
) -> RuleResult:
    """The record of one rule: `marked` rows by its mask, `judged` by its expectation, `shown` bad rows by rule id."""
    trailing = context.trailing
    return RuleResult(
        rule=rule.id,
        family=rule.family,
        effect=rule.effect,
        failed=judged.unexpected > 0,
        judged=judged.judged,
        rows=marked,
        share=marked / rows_in if rows_in else 0.0,
        threshold=rule.threshold(context.spec),
        observed=rule.observed(context) if judged.judged else None,
        trailing_median=trailing.median if rule.level == "day" else None,
        why="" if judged.judged else rule.unjudged or trailing.why_not_judged,
        samples=shown.get(rule.id, ()),
    )


def reasons_to_refuse(
    results: Sequence[RuleResult], *, spec: DatasetSpec, rows_in: int, quarantined: int
) -> tuple[str, ...]:
    """Why the day is refused, naming both numbers each time: rules with effect refuse, then the share of bad rows."""
    reasons = []
    for result in results:
        if result.effect == "refuse" and result.failed:
            against = f", trailing median {result.trailing_median:g}" if result.trailing_median is not None else ""
            reasons.append(f"{result.rule}: {result.observed:.4g} against a bound of {result.threshold:g}{against}")
    allowed = spec.validation.max_bad_share
    if rows_in and quarantined / rows_in > allowed:
        worst = sorted((r for r in results if r.effect == "quarantine" and r.rows), key=lambda r: (-r.rows, r.rule))
        listed = ", ".join(f"{r.rule} {r.rows}" for r in worst[:3])
        reasons.append(
            f"{quarantined} of {rows_in} rows are bad ({quarantined / rows_in:.2%}), more than max_bad_share "
            f"{allowed:.2%}; most by {listed}"
        )
    return tuple(reasons)


def verdict(reasons: Sequence[str], *, rows_in: int) -> Verdict:
    """`refused` where there is a reason to; of the others, `empty` without a row and `admitted` with."""
    if reasons:
        return "refused"
    return "admitted" if rows_in else "empty"
