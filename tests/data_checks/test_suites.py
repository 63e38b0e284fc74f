from collections.abc import Iterator
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest

from data_checks.catalog import RULES
from data_checks.expectations import between, none_of, one_of
from data_checks.rules import Quantity, Rule, RuleContext, TrailingVolume, always
from data_checks.suites import Judgement, RuleDisagreement, SuiteCrashed, build_suite, hold_agreement, run_suite


@pytest.fixture
def context(build: SimpleNamespace) -> RuleContext:
    trailing = TrailingVolume(median=None, days=0)
    return RuleContext(spec=build.spec(), day=build.day, impressions=3, trailing=trailing)


def _rule(name: str, expectation: object) -> Rule:
    return Rule(
        id=f"schema.{name}",
        effect="quarantine",
        description=name,
        mask_sql=always("FALSE"),
        quantity=Quantity(name=name, sql=always("0")),
        expectation=expectation,  # pyright: ignore[reportArgumentType]
        unjudged="",
    )


def test_counts_add_up_over_the_parts_of_a_table_and_skip_nulls(context: RuleContext) -> None:
    rules = [
        _rule("inside", between("x", low=0, below=2)),
        _rule("binary", one_of("x", [0, 1])),
        _rule("not_one", none_of("x", [1])),
    ]
    parts = [
        pd.DataFrame({"x": [0.0, 1.0, 2.0, np.nan]}),
        pd.DataFrame({"x": [np.inf, -np.inf]}),
        pd.DataFrame({"x": []}),
    ]
    assert run_suite(build_suite(rules, context, name="t"), parts) == {
        "schema.inside": Judgement(judged=5, unexpected=3),
        "schema.binary": Judgement(judged=5, unexpected=3),
        "schema.not_one": Judgement(judged=5, unexpected=1),
    }


def test_an_expectation_that_raises_is_an_error_and_names_the_rule(context: RuleContext) -> None:
    suite = build_suite([_rule("absent", between("no_such_column", low=0))], context, name="t")
    with pytest.raises(SuiteCrashed, match=r"schema\.absent: Great Expectations raised .*no_such_column"):
        run_suite(suite, [pd.DataFrame({"x": [1.0]})])


def test_an_expectation_over_text_that_cannot_be_compared_is_an_error(context: RuleContext) -> None:
    suite = build_suite([_rule("text", between("x", low=0))], context, name="t")
    with pytest.raises(SuiteCrashed, match=r"schema\.text"):
        run_suite(suite, [pd.DataFrame({"x": ["a", "b"]})])


def test_frames_are_taken_one_after_the_other(context: RuleContext) -> None:
    alive: list[int] = []

    def frames() -> Iterator[pd.DataFrame]:
        for number in range(3):
            alive.append(number)
            yield pd.DataFrame({"x": [float(number)]})

    found = run_suite(build_suite([_rule("x", between("x", high=1))], context, name="t"), frames())
    assert found["schema.x"] == Judgement(judged=3, unexpected=1)
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
