"""Suites: the same counts as the masks, and a crash is never a pass."""

import math
from collections import Counter
from collections.abc import Iterator, Sequence
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
from great_expectations.expectations.core.expect_column_mean_to_be_between import ExpectColumnMeanToBeBetween
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from data_checks import suites
from data_checks.catalog import RULES
from data_checks.expectations import between, none_of, one_of
from data_checks.quantities import Part
from data_checks.rules import Quantity, Rule, RuleContext, always
from data_checks.suites import Judgement, RuleDisagreement, SuiteCrashed, build_suite, hold_agreement, judge

#: Judging takes a tenth of a second, and the error names the rule: shrinking would take minutes and tell little more.
_NO_SHRINKING = (Phase.explicit, Phase.reuse, Phase.generate)


@pytest.fixture(scope="module")
def context(build: SimpleNamespace) -> RuleContext:
    return RuleContext(spec=build.spec(), day=build.day)


def _rule(name: str, expectation: object, *, column: str = "x") -> Rule:
    return Rule(
        id=f"schema.{name}",
        effect="quarantine",
        description=name,
        mask_sql=always("FALSE"),
        quantity=Quantity(name=column, sql=always("0")),
        expectation=expectation,  # pyright: ignore[reportArgumentType]
    )


def _part(values: Sequence[object], rows: Sequence[int] | None = None) -> Part:
    held = np.array([1] * len(values) if rows is None else rows, dtype=np.int64)
    return Part(values=pd.DataFrame({"x": values}), rows={"x": held})


_INSIDE, _BINARY, _NOT_ONE = (
    _rule("inside", between("x", low=0, below=2)),
    _rule("binary", one_of("x", [0, 1])),
    _rule("not_one", none_of("x", [1])),
)


def test_rows_add_up_over_values_and_parts_and_nulls_are_skipped(context: RuleContext) -> None:
    parts = [
        _part([0.0, 1.0, 2.0, np.nan], rows=[10, 3, 5, 100]),
        _part([np.inf, -np.inf], rows=[7, 1]),
        _part(np.array([], dtype=np.float64)),
    ]
    assert judge([_INSIDE, _BINARY, _NOT_ONE], context, parts, name="t") == {
        "schema.inside": Judgement(judged=26, unexpected=13),
        "schema.binary": Judgement(judged=26, unexpected=13),
        "schema.not_one": Judgement(judged=26, unexpected=3),
    }


_VALUES = st.one_of(st.sampled_from([0.0, -0.0, 1.0, 2.0, math.inf, -math.inf, math.nan]), st.floats())


@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.too_slow], phases=_NO_SHRINKING)
@given(values=st.lists(_VALUES, min_size=1, max_size=30), cut=st.integers(0, 30))
def test_judging_values_once_counts_what_judging_every_row_counts(
    context: RuleContext, values: list[float], cut: int
) -> None:
    rules = [_INSIDE, _BINARY, _NOT_ONE]
    counted = Counter("null" if math.isnan(value) else value + 0.0 for value in values)
    once = _part([math.nan if value == "null" else value for value in counted], rows=list(counted.values()))
    by_row = judge(rules, context, [_part(values[:cut]), _part(values[cut:])], name="t")
    assert judge(rules, context, [once], name="t") == by_row
    judged = [value for value in values if not math.isnan(value)]
    assert by_row == {
        "schema.inside": Judgement(judged=len(judged), unexpected=sum(not 0 <= value < 2 for value in judged)),
        "schema.binary": Judgement(judged=len(judged), unexpected=sum(value not in (0, 1) for value in judged)),
        "schema.not_one": Judgement(judged=len(judged), unexpected=sum(value == 1 for value in judged)),
    }


def test_an_expectation_that_raises_is_an_error_and_names_the_rule(context: RuleContext) -> None:
    absent = _rule("absent", between("no_such_column", low=0))
    with pytest.raises(SuiteCrashed, match=r"schema\.absent: Great Expectations raised .*no_such_column"):
        judge([_BINARY, absent], context, [_part([1.0])], name="t")


def test_an_expectation_over_text_that_cannot_be_compared_is_an_error(context: RuleContext) -> None:
    with pytest.raises(SuiteCrashed, match=r"schema\.inside"):
        judge([_INSIDE], context, [_part(["a", "b"])], name="t")


def test_an_expectation_that_counts_no_rows_is_an_error(context: RuleContext) -> None:
    mean = _rule("mean", lambda context: ExpectColumnMeanToBeBetween(column="x", min_value=0, max_value=1))
    with pytest.raises(SuiteCrashed, match=r"schema\.mean: Great Expectations gave no count over 1 values"):
        judge([mean], context, [_part([0.5])], name="t")


def test_a_count_without_its_places_is_an_error(context: RuleContext, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(suites, "_PLACES", {"result_format": "BASIC", "partial_unexpected_count": 0})
    assert judge([_BINARY], context, [_part([1.0])], name="t")["schema.binary"].unexpected == 0
    with pytest.raises(SuiteCrashed, match=r"1 unexpected, at the places None"):
        judge([_BINARY], context, [_part([1.0, 7.0])], name="t")


@pytest.mark.parametrize(
    "fault",
    [
        {"unexpected_count": None},
        {"missing_count": 1},
        {"element_count": 1},
        {"unexpected_index_list": [1, 1]},
        {"unexpected_count": 2},
    ],
)
def test_a_result_that_does_not_fit_its_part_is_an_error(
    context: RuleContext, monkeypatch: pytest.MonkeyPatch, fault: dict[str, object]
) -> None:
    honest = suites._judgement

    def faulty(rule: Rule, result: SimpleNamespace, part: Part) -> Judgement:
        lie = SimpleNamespace(exception_info=None, success=False, result=result.result | fault)
        return honest(rule, lie, part)

    monkeypatch.setattr(suites, "_judgement", faulty)
    with pytest.raises(SuiteCrashed, match=r"schema\.binary"):
        judge([_BINARY], context, [_part([1.0, 7.0, 0.0])], name="t")


def test_a_rule_that_no_part_holds_anything_for_is_an_error(context: RuleContext) -> None:
    with pytest.raises(SuiteCrashed, match=r"judged nothing by \['schema\.other'\]"):
        judge([_BINARY, _rule("other", one_of("y", [0]), column="y")], context, [_part([1.0])], name="t")
    with pytest.raises(SuiteCrashed, match="judged nothing"):
        judge([_BINARY], context, [], name="t")


def test_a_suite_that_leaves_a_rule_out_is_an_error(context: RuleContext, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = suites.build_suite
    monkeypatch.setattr(suites, "build_suite", lambda rules, *given, **more: whole(rules[:-1], *given, **more))
    with pytest.raises(SuiteCrashed, match=r"gave results for \['schema\.binary'\], not for"):
        judge([_BINARY, _INSIDE], context, [_part([1.0])], name="t")


def test_parts_are_taken_one_after_the_other(context: RuleContext) -> None:
    alive: list[int] = []

    def parts() -> Iterator[Part]:
        for number in range(3):
            alive.append(number)
            yield _part([float(number)])

    assert judge([_BINARY], context, parts(), name="t")["schema.binary"] == Judgement(judged=3, unexpected=1)
    assert alive == [0, 1, 2]


def test_a_suite_holds_one_expectation_a_rule_described_as_the_rule_is(context: RuleContext) -> None:
    suite = build_suite(RULES, context, name="all")
    assert [expectation.meta["rule"] for expectation in suite.expectations if expectation.meta] == [r.id for r in RULES]
    assert [expectation.description for expectation in suite.expectations] == [rule.description for rule in RULES]


def test_agreement_names_every_rule_that_differs_and_what_is_missing() -> None:
    hold_agreement(marked={"a": 1, "b": 0}, unexpected={"b": 0, "a": 1})
    with pytest.raises(
        RuleDisagreement, match=r"a: the SQL mask marks 1 rows, the expectation finds 2; c: .* finds None"
    ):
        hold_agreement(marked={"a": 1, "b": 0, "c": 0}, unexpected={"a": 2, "b": 0})
