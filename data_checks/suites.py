"""Great Expectations suites built from the rules, run, and held against the SQL masks; no day is judged here."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import great_expectations as gx
import pandas as pd
from great_expectations.core.batch_definition import BatchDefinition
from great_expectations.data_context.types.base import (
    DataContextConfig,
    InMemoryStoreBackendDefaults,
    ProgressBarsConfig,
)

from data_checks.rules import Rule, RuleContext

#: Counts alone: bad rows are found by the masks, and collecting values costs as much as judging them.
_COUNTS = {"result_format": "BASIC", "partial_unexpected_count": 0}


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


def run_suite(suite: gx.ExpectationSuite, frames: Iterable[pd.DataFrame]) -> dict[str, Judgement]:
    """Judge the parts of one table, one frame after the other, and add up each rule's counts.

    Raises SuiteCrashed when an expectation raised, or gave no count for a frame.
    """
    expected = {expectation.meta["rule"] for expectation in suite.expectations if expectation.meta}
    totals = {rule: Judgement(judged=0, unexpected=0) for rule in sorted(expected)}
    batch_definition = _batch_definition()
    for frame in frames:
        batch = batch_definition.get_batch(batch_parameters={"dataframe": frame})
        outcome = batch.validate(suite, result_format=_COUNTS)
        found = {}
        for result in outcome.results:
            config = result.expectation_config
            rule = (config.meta or {}).get("rule", "unnamed") if config is not None else "unnamed"
            found[rule] = _judgement(rule, result, rows=len(frame))
        if found.keys() != expected:
            raise SuiteCrashed(f"suite {suite.name!r} gave no result for {sorted(expected - found.keys())}")
        for rule, part in found.items():
            before = totals[rule]
            totals[rule] = Judgement(judged=before.judged + part.judged, unexpected=before.unexpected + part.unexpected)
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


def _judgement(rule: str, result: Any, *, rows: int) -> Judgement:
    raised = _exceptions(result.exception_info)
    if raised:
        raise SuiteCrashed(f"{rule}: Great Expectations raised {raised[0]}")
    counts = result.result or {}
    unexpected, missing = counts.get("unexpected_count"), counts.get("missing_count")
    if result.success is None or unexpected is None or missing is None or counts.get("element_count") != rows:
        raise SuiteCrashed(f"{rule}: Great Expectations gave no count over {rows} rows: {counts!r}")
    return Judgement(judged=rows - int(missing), unexpected=int(unexpected))


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
