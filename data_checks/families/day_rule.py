"""How the families make rules on the day: a measure between bounds of the dataset spec; no rule is here."""

from collections.abc import Callable
from dataclasses import dataclass

from data_checks.expectations import between
from data_checks.receipts import Effect
from data_checks.rules import Quantity, Rule, RuleContext, always, applies
from ml.data.dataset import DatasetSpec


@dataclass(frozen=True, kw_only=True)
class Bound:
    """A bound of a measure: a setting of `validation` (times `sign`), or the measure's own where there is none."""

    setting: str = ""
    sign: int = 1

    def sql(self, measure: str) -> str:
        """The bound as an SQL expression over the rules' parameters."""
        parameter = f"${self.setting}" if self.setting else f"$m_{measure}_bound"
        return parameter if self.sign > 0 else f"-{parameter}"

    def value(self, measure: str, context: RuleContext) -> float | None:
        """The bound as a number; None where the measure gives none."""
        if self.setting:
            return self.sign * getattr(context.spec.validation, self.setting)
        measured = context.measures.get(measure)
        return measured.bound if measured else None


def on_day(
    rule: str,
    *,
    effect: Effect,
    description: str,
    measure: str,
    low: Bound | None = None,
    high: Bound | None = None,
    evidence: tuple[str, ...] = (),
    not_applicable: Callable[[DatasetSpec], str] = applies,
) -> Rule:
    """The rule that a day breaks whose `measure` lies below `low` or above `high`.

    `evidence` names those columns of the measure's evidence that are at fault.
    """
    beyond = [f"$m_{measure} < {low.sql(measure)}"] if low else []
    beyond += [f"$m_{measure} > {high.sql(measure)}"] if high else []

    def bound(side: Bound | None) -> Callable[[RuleContext], float] | None:
        # Great Expectations wants a bound even where there is nothing to judge.
        return (lambda context: side.value(measure, context) or 0.0) if side else None

    def threshold(context: RuleContext) -> float | None:
        values = [side.value(measure, context) for side in (low, high) if side]
        measured = context.measures.get(measure)
        known = [value for value in values if value is not None]
        if not known or measured is None or measured.value is None:
            return known[0] if len(known) == 1 else None
        return min(known, key=lambda value: abs(value - (measured.value or 0.0)))

    return Rule(
        id=rule,
        effect=effect,
        level="day",
        description=description,
        measure=measure,
        mask_sql=always(" OR ".join(beyond)),
        quantity=Quantity(name=f"day_{measure}", sql=always(f"$m_{measure}")),
        expectation=between(f"day_{measure}", low=bound(low), high=bound(high)),
        threshold=threshold,
        offending=always(evidence),
        not_applicable=not_applicable,
    )
