"""The three Great Expectations expectations that rules are made of, over the column of a quantity; no rule is here."""

from collections.abc import Callable, Sequence

from great_expectations.expectations.core.expect_column_values_to_be_between import ExpectColumnValuesToBeBetween
from great_expectations.expectations.core.expect_column_values_to_be_in_set import ExpectColumnValuesToBeInSet
from great_expectations.expectations.core.expect_column_values_to_not_be_in_set import ExpectColumnValuesToNotBeInSet
from great_expectations.expectations.expectation import Expectation

from data_checks.rules import RuleContext

#: A bound: the same every day, or of the day and the spec.
Bound = float | Callable[[RuleContext], float] | None


def between(
    column: str, *, low: Bound = None, high: Bound = None, below: Bound = None
) -> Callable[[RuleContext], Expectation]:
    """Expect low ≤ value ≤ high (or value < below, an exclusive bound) of every value that is not null."""
    upper = high if below is None else below
    return lambda context: ExpectColumnValuesToBeBetween(
        column=column,
        min_value=_value(low, context),
        max_value=_value(upper, context),
        strict_max=below is not None,
    )


def one_of(column: str, values: Sequence[float]) -> Callable[[RuleContext], Expectation]:
    """Expect every value that is not null to be one of `values`."""
    return lambda context: ExpectColumnValuesToBeInSet(column=column, value_set=list(values))


def none_of(column: str, values: Sequence[float]) -> Callable[[RuleContext], Expectation]:
    """Expect no value to be one of `values`."""
    return lambda context: ExpectColumnValuesToNotBeInSet(column=column, value_set=list(values))


def _value(bound: Bound, context: RuleContext) -> float | None:
    return bound(context) if callable(bound) else bound
