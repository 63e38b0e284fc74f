"""Great Expectations' own validation page for a day, readable offline; its numbers are the receipt's, none is new."""

import html
import itertools
import re
from collections.abc import Sequence
from typing import Any

from great_expectations import __version__ as gx_version
from great_expectations.core import ExpectationSuiteValidationResult, ExpectationValidationResult
from great_expectations.render.renderer.page_renderer import ValidationResultsPageRenderer
from great_expectations.render.view.view import DefaultJinjaPageView
from jinja2 import ChoiceLoader, PackageLoader

from data_checks.catalog import RULES
from data_checks.receipts import Receipt, RuleResult
from data_checks.rules import Measure, Rule, RuleContext
from ml.data.dataset import DatasetSpec

_TEMPLATE = "data_docs.html.jinja"
#: Nothing raised: a crash of Great Expectations leaves no receipt, and so no page.
_NOTHING_RAISED = {"raised_exception": False, "exception_message": None, "exception_traceback": None}


def suite_result(
    receipt: Receipt, spec: DatasetSpec, *, rules: Sequence[Rule] = RULES
) -> ExpectationSuiteValidationResult:
    """The receipt as Great Expectations' validation result: an expectation a rule.

    Rules of one of them that the other does not know are left out: the receipt was judged by another version.
    """
    by_id = {rule.id: rule for rule in rules}
    known = [result for result in receipt.rules if result.rule in by_id]
    context = _context(receipt, spec, rules)
    results = [_expectation_result(by_id[result.rule], result, context, receipt) for result in known]
    failed = sum(not result.success for result in results)
    return ExpectationSuiteValidationResult(
        success=not failed,
        results=results,
        suite_name=f"{receipt.dataset} {receipt.day}",
        statistics={
            "evaluated_expectations": len(results),
            "successful_expectations": len(results) - failed,
            "unsuccessful_expectations": failed,
            "success_percent": 100 * (len(results) - failed) / len(results) if results else None,
        },
        meta={
            "run_id": {"run_name": receipt.receipt_id},
            "batch_kwargs": {"data_asset_name": "joined_samples"},
            "great_expectations_version": gx_version,
        },
    )


def render_data_docs(receipt: Receipt, spec: DatasetSpec, *, rules: Sequence[Rule] = RULES) -> str:
    """The page as HTML: Great Expectations renders the results, the page around them asks the network for nothing.

    The same receipt gives the same page. Raises ValueError for a receipt without rules: nothing was judged.
    """
    if not receipt.rules:
        raise ValueError(
            f"{receipt.day} was not judged ({'; '.join(receipt.reasons)}), so there are no results to show"
        )
    # "Run Info" at the end, where it is cut off: times and versions of a run belong to no receipt.
    result = suite_result(receipt, spec, rules=rules)
    document = ValidationResultsPageRenderer(run_info_at_end=True).render(result)
    view = DefaultJinjaPageView()
    assert view.env.loader is not None
    view.env.loader = ChoiceLoader([PackageLoader("data_checks"), view.env.loader])
    numbers = itertools.count(1)
    view.env.filters["generate_html_element_uuid"] = lambda prefix="": f"{prefix}{next(numbers)}"
    overview, *quantities = document.sections[:-1]
    document.sections = [overview, *sorted(quantities, key=lambda section: section.section_name not in _failed(result))]
    page = view.render(document, _TEMPLATE, receipt=receipt, gx_version=gx_version, contents=_contents(receipt))
    return _without_dead_links(page)


def _failed(result: ExpectationSuiteValidationResult) -> set[str]:
    """The quantities that broke an expectation; each is a section of the page."""
    broken = [part.expectation_config for part in result.results if not part.success]
    return {config.kwargs["column"] for config in broken if config is not None}


def _contents(receipt: Receipt) -> str:
    failed = sum(result.failed for result in receipt.rules)
    return f"{failed} of {len(receipt.rules)} expectations failed"


def _expectation_result(
    rule: Rule, result: RuleResult, context: RuleContext, receipt: Receipt
) -> ExpectationValidationResult:
    expectation = rule.expectation(context)
    expectation.meta = {"rule": rule.id}
    # Great Expectations writes descriptions into the page as they are.
    expectation.description = html.escape(f"{rule.id}: {rule.description}{_seen(result)}")
    rows = receipt.rows_in if rule.level == "row" else 1
    unexpected = result.rows if rule.level == "row" else int(result.failed)
    missing = rows - result.judged
    counts = {
        "element_count": rows,
        "missing_count": missing,
        "missing_percent": _percent(missing, rows),
        "unexpected_count": unexpected,
        "unexpected_percent": _percent(unexpected, rows),
        "unexpected_percent_total": _percent(unexpected, rows),
        "unexpected_percent_nonmissing": _percent(unexpected, result.judged),
        "partial_unexpected_list": [],
    }
    return ExpectationValidationResult(
        success=not result.failed,
        expectation_config=expectation.configuration,
        result=counts,
        meta={},
        exception_info=_NOTHING_RAISED,
    )


def _context(receipt: Receipt, spec: DatasetSpec, rules: Sequence[Rule]) -> RuleContext:
    """What the rules knew of the day, as far as its receipt tells: what they judged on the day, and the bounds."""
    results = {result.rule: result for result in receipt.rules}
    measures = {
        rule.measure: Measure(value=result.observed, bound=result.threshold, usual=result.trailing_median)
        for rule in rules
        if rule.measure and (result := results.get(rule.id)) is not None
    }
    return RuleContext(spec=spec, day=receipt.day, measures=measures)


def _seen(result: RuleResult) -> str:
    if result.why:
        return f" (not judged: {result.why})"
    if result.observed is None or result.threshold is None:
        return ""
    return f" (observed {result.observed:.4g}, bound {result.threshold:g})"


def _percent(part: int, whole: int) -> float:
    return 100 * part / whole if whole else 0.0


def _without_dead_links(page: str) -> str:
    """Links to pages of a Data Docs site that is not there become plain text; those within the page stay."""
    kept: Any = re.compile(r'<a href="(?!#|review\.html)[^"]*"[^>]*>(.*?)</a>', re.DOTALL)
    return kept.sub(r"\1", page)
