"""Great Expectations' page: built from the rules and the receipt's totals, offline, the same for the same receipt."""

import re
from collections.abc import Callable
from html.parser import HTMLParser
from types import SimpleNamespace
from typing import Any

import pytest

from data_checks.catalog import RULES
from data_checks.data_docs import render_data_docs, suite_result
from data_checks.receipts import Receipt
from ml.data.dataset import DatasetSpec

Judge = Callable[..., Receipt]


@pytest.fixture
def spec(build: SimpleNamespace) -> DatasetSpec:
    return build.spec()


@pytest.fixture
def receipt(build: SimpleNamespace, spec: DatasetSpec, judge: Judge) -> Receipt:
    """Forty good rows and ten of nobody: refused for its share of bad rows."""
    rows = [build.row(number, user_key=None if number < 10 else "u") for number in range(50)]
    judged = judge(rows, spec=spec)
    assert judged.verdict == "refused"
    return judged


class _Loads(HTMLParser):
    """Every tag that could load something, with its address; and all text."""

    def __init__(self) -> None:
        super().__init__()
        self.loads: list[tuple[str, str]] = []
        self.links: list[str] = []
        self.tags: set[str] = set()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        for name, value in attrs:
            if name == "src" or (name == "href" and tag != "a") or name == "data":
                self.loads.append((tag, str(value)))
            elif name == "href":
                self.links.append(str(value))


def parse(page: str) -> _Loads:
    parser = _Loads()
    parser.feed(page)
    return parser


def test_every_rule_is_an_expectation_with_the_receipts_totals(receipt: Receipt, spec: DatasetSpec) -> None:
    result = suite_result(receipt, spec)
    found: dict[str, Any] = {part.expectation_config.meta["rule"]: part for part in result.results}
    assert set(found) == {rule.rule for rule in receipt.rules}
    for rule in receipt.rules:
        part, level = found[rule.rule], next(known.level for known in RULES if known.id == rule.rule)
        rows = receipt.rows_in if level == "row" else 1
        assert part.success is not rule.failed
        assert part.result["element_count"] == rows
        assert part.result["missing_count"] == rows - rule.judged
        assert part.result["unexpected_count"] == (rule.rows if level == "row" else int(rule.failed))
    assert result.statistics["unsuccessful_expectations"] == sum(rule.failed for rule in receipt.rules)
    assert result.success is False


def test_the_page_is_great_expectations_own_with_rules_and_counts(receipt: Receipt, spec: DatasetSpec) -> None:
    page = render_data_docs(receipt, spec)
    words = re.sub(r"\s+", " ", re.sub(r"<[^>]*>", " ", page))
    assert "schema.user_key_missing: the impression has no user_key" in words
    assert "10 unexpected values found. 20% of 50 total rows." in words
    for text in ("Status:", "Evaluated Expectations", "Observed Value", receipt.receipt_id):
        assert text in words
    assert f"1 of {len(receipt.rules)} expectations failed" in words
    assert words.index("schema.user_key_missing") < words.index("duplicates.impression_repeated"), "failed ones first"


def test_nothing_is_loaded_and_no_script_runs(receipt: Receipt, spec: DatasetSpec) -> None:
    page = render_data_docs(receipt, spec)
    found = parse(page)
    assert found.loads == []
    assert found.tags & {"script", "link", "img", "iframe", "object", "base"} == set()
    assert set(found.links) == {"review.html"}, "no link to a Data Docs site that is not there"
    assert "http://" not in page
    assert "https://" not in page
    assert "default-src 'none'; style-src 'unsafe-inline'" in page


def test_the_same_receipt_gives_the_same_page(receipt: Receipt, spec: DatasetSpec) -> None:
    assert render_data_docs(receipt, spec) == render_data_docs(receipt, spec)


def test_a_rule_that_judged_nothing_says_why(build: SimpleNamespace, spec: DatasetSpec, judge: Judge) -> None:
    receipt = judge([build.row(1, user_key=None), build.row(2)], spec=spec)
    assert "not judged" in render_data_docs(receipt, spec)


def test_hostile_text_in_a_receipt_stays_text(receipt: Receipt, spec: DatasetSpec) -> None:
    first, *others = receipt.rules
    hostile = first.model_copy(update={"why": "<script>alert(1)</script>"})
    page = render_data_docs(receipt.model_copy(update={"rules": (hostile, *others)}), spec)
    assert "&lt;script&gt;alert(1)" in page
    assert "script" not in parse(page).tags


def test_rules_that_this_version_does_not_know_are_left_out(receipt: Receipt, spec: DatasetSpec) -> None:
    known = [rule for rule in RULES if rule.id == "duplicates.impression_repeated"]
    assert len(suite_result(receipt, spec, rules=known).results) == 1


def test_a_day_that_was_not_judged_has_no_such_page(receipt: Receipt, spec: DatasetSpec) -> None:
    with pytest.raises(ValueError, match="2026-03-02 was not judged"):
        render_data_docs(receipt.model_copy(update={"rules": ()}), spec)
