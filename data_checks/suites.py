"""Great Expectations suites built from the rules, run, and held against the SQL masks; no day is judged here."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import great_expectations as gx
import numpy as np
from great_expectations.core.batch_definition import BatchDefinition
from great_expectations.data_context.types.base import (
    DataContextConfig,
    InMemoryStoreBackendDefaults,
    ProgressBarsConfig,
)

from data_checks.quantities import Part
from data_checks.rules import Rule, RuleContext

#: Which places are unexpected, all of them, and nothing else that costs time.
_PLACES = {
    "result_format": "COMPLETE",
    "partial_unexpected_count": 0,
    "return_unexpected_index_query": False,
}


class SuiteCrashed(RuntimeError):
    """Great Expectations could not judge an expectation: an error, never a pass."""


class RuleDisagreement(RuntimeError):
    """A rule's SQL mask and its expectation count different rows: one of them is wrong, so the day has no verdict."""


@dataclass(frozen=True, kw_only=True)
class Judgement:
    """What the expectation of one rule found: rows judged (not null) and unexpected among them."""

    judged: int
    unexpected: int


def build_suite(rules: Sequence[Rule], context: RuleContext, *, name: str) -> gx.ExpectationSuite:
    """The suite of one table: an expectation a rule, with the rule's id in its `meta`."""
    expectations = []
    for rule in rules:
        expectation = rule.expectation(context)
        expectation.meta = {"rule": rule.id}
        expectation.description = rule.description
        expectations.append(expectation)
    return gx.ExpectationSuite(name=name, expectations=expectations)


def judge(rules: Sequence[Rule], context: RuleContext, parts: Iterable[Part], *, name: str) -> dict[str, Judgement]:
    """Have Great Expectations judge the parts of one table, one after the other, and add up each rule's rows.

    It judges values, each as often as the part lists it, and says at which places of the part the unexpected ones are;
    the rows that hold them are then added up. That gives the same counts as judging row by row, because an expectation
    of a rule looks at one value at a time: of two rows with equal values either both are unexpected or none is. One
    that looks at the others (`to_be_unique`), or a part that leaves a value out, shows as a RuleDisagreement, because
    the masks count rows and know nothing of values.

    Raises SuiteCrashed when an expectation raised, gave no count or no places for a part, or saw no part at all.
    """
    totals = {rule.id: Judgement(judged=0, unexpected=0) for rule in rules}
    unseen = set(totals)
    batch_definition = _batch_definition()
    for part in parts:
        concerned = [rule for rule in rules if rule.quantity.name in part.values]
        suite = build_suite(concerned, context, name=name)
        outcome = batch_definition.get_batch(batch_parameters={"dataframe": part.values}).validate(
            suite, result_format=_PLACES
        )
        results = {_rule_of(result): result for result in outcome.results}
        if results.keys() != {rule.id for rule in concerned}:
            raise SuiteCrashed(
                f"suite {name!r} gave results for {sorted(results)}, not for {sorted(rule.id for rule in concerned)}"
            )
        for rule in concerned:
            found, before = _judgement(rule, results[rule.id], part), totals[rule.id]
            totals[rule.id] = Judgement(
                judged=before.judged + found.judged, unexpected=before.unexpected + found.unexpected
            )
        unseen -= results.keys()
    if unseen:
        raise SuiteCrashed(f"suite {name!r} judged nothing by {sorted(unseen)}: no part holds what they judge")
    return totals


def hold_agreement(*, marked: Mapping[str, int], unexpected: Mapping[str, int]) -> None:
    """Raise RuleDisagreement unless every rule's mask marks as many rows as its expectation found unexpected."""
    wrong = [
        f"{rule}: the SQL mask marks {marked.get(rule)} rows, the expectation finds {unexpected.get(rule)}"
        for rule in sorted(marked.keys() | unexpected.keys())
        if marked.get(rule) != unexpected.get(rule)
    ]
    if wrong:
        raise RuleDisagreement(
            "; ".join(wrong) + "; mend the rule in data_checks/families: no day is judged until they agree"
        )


def _rule_of(result: Any) -> str:
    config = result.expectation_config
    return (config.meta or {}).get("rule", "unnamed") if config is not None else "unnamed"


def _judgement(rule: Rule, result: Any, part: Part) -> Judgement:
    """The rows judged and unexpected in one part, from a result whose every number is checked against the part."""
    raised = _exceptions(result.exception_info)
    if raised:
        raise SuiteCrashed(f"{rule.id}: Great Expectations raised {raised[0]}")
    counts = result.result or {}
    unexpected, missing = counts.get("unexpected_count"), counts.get("missing_count")
    if result.success is None or unexpected is None or missing is None:
        raise SuiteCrashed(f"{rule.id}: Great Expectations gave no count over {len(part.values)} values: {counts!r}")
    # Without anything unexpected there may be no list at all.
    places = counts.get("unexpected_index_list") if unexpected else []
    present = part.values[rule.quantity.name].notna().to_numpy()
    absent = len(present) - int(np.count_nonzero(present))
    if (
        counts.get("element_count") != len(present)
        or missing != absent
        or places is None
        or not len(places) == len(set(places)) == unexpected
    ):
        raise SuiteCrashed(
            f"{rule.id}: Great Expectations judged {counts.get('element_count')} values, {missing} of them missing and "
            f"{unexpected} unexpected, at the places {None if places is None else places[:10]}; the part holds "
            f"{len(present)} values, {absent} of them missing"
        )
    rows = part.rows[rule.quantity.name]
    return Judgement(judged=int(rows[present].sum()), unexpected=int(rows[np.asarray(places, dtype=np.int64)].sum()))


def _exceptions(info: Mapping[str, Any] | None) -> list[str]:
    """Messages of all that was raised: `info` is one report, or a report for each metric."""
    if not info:
        return []
    reports = (
        [info] if "raised_exception" in info else [report for report in info.values() if isinstance(report, Mapping)]
    )
    return [str(report.get("exception_message")) for report in reports if report.get("raised_exception", True)]


def _batch_definition() -> BatchDefinition:
    # A context for each run: one kept longer would keep every frame it has seen.
    config = DataContextConfig(
        store_backend_defaults=InMemoryStoreBackendDefaults(init_temp_docs_sites=False),
        analytics_enabled=False,
        progress_bars=ProgressBarsConfig(globally=False, metric_calculations=False),
    )
    context = gx.get_context(mode="ephemeral", project_config=config)
    asset = context.data_sources.add_pandas("samples").add_dataframe_asset("rows")
    return asset.add_batch_definition_whole_dataframe("part")
