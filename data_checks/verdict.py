"""Turns what the rules found into rule results, reasons and the day's verdict; it reads no rows."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from data_checks.receipts import RuleResult, Verdict
from data_checks.rules import Rule, RuleContext
from data_checks.suites import Judgement
from ml.data.dataset import DatasetSpec


@dataclass(frozen=True, kw_only=True)
class Found:
    """What one rule found: the rows its mask marked (all of them, for a day that breaks a rule), and the judgement."""

    rows: int
    judgement: Judgement


#: Of a rule that does not apply to the dataset, or had nothing to judge.
NOT_ASKED = Found(rows=0, judgement=Judgement(judged=0, unexpected=0))


def rule_result(
    rule: Rule,
    context: RuleContext,
    *,
    found: Found,
    rows_in: int,
    shown: Mapping[str, tuple[dict[str, str], ...]],
) -> RuleResult:
    """The record of one rule: what it `found`, and the `shown` bad rows by rule id."""
    judged, failed = found.judgement.judged, found.judgement.unexpected > 0
    measure = rule.measured(context)
    samples = measure.evidence if rule.level == "day" and failed else shown.get(rule.id, ())
    why = "" if judged else rule.not_applicable(context.spec) or rule.unjudged or measure.why or "nothing was measured"
    return RuleResult(
        rule=rule.id,
        family=rule.family,
        description=rule.description,
        effect=rule.effect,
        failed=failed,
        judged=judged,
        rows=found.rows,
        share=found.rows / rows_in if rows_in else 0.0,
        threshold=rule.threshold(context),
        observed=measure.value if judged else None,
        trailing_median=measure.usual,
        why=why,
        samples=samples,
        offending=_offending(rule, context, samples),
    )


def reasons_to_refuse(
    results: Sequence[RuleResult], *, spec: DatasetSpec, rows_in: int, quarantined: int
) -> tuple[str, ...]:
    """Why the day is refused, naming both numbers each time: rules with effect refuse, then the share of bad rows."""
    reasons = []
    for result in results:
        if result.effect == "refuse" and result.failed:
            against = f", trailing median {result.trailing_median:g}" if result.trailing_median is not None else ""
            shown = "; ".join(", ".join(f"{name} {cell}" for name, cell in row.items()) for row in result.samples[:3])
            reasons.append(
                f"{result.rule}: {result.observed:.4g} against a bound of {result.threshold:g}{against}"
                + (f" ({shown})" if shown else "")
            )
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


def _offending(rule: Rule, context: RuleContext, samples: Sequence[Mapping[str, str]]) -> tuple[str, ...]:
    """Those of the rule's columns that are at fault in one of the rows shown."""
    return tuple(
        column
        for column in rule.offending(context.spec)
        if any(column in row and rule.at_fault(context.spec, column, row[column]) for row in samples)
    )
