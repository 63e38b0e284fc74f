"""The review page: what a reviewer must find on it, escaped, offline and the same for the same receipts."""

import re
import shlex
from datetime import UTC, date, datetime, timedelta
from html.parser import HTMLParser
from typing import Any

import pytest

from data_checks.decisions import Decision, standing
from data_checks.receipts import Receipt, RuleResult
from data_checks.review_commands import review_commands
from data_checks.review_page import (
    AffectedModel,
    Reviewed,
    cells,
    decision_states,
    fell_short,
    headline,
    render_review,
)

DAY = date(2026, 3, 2)
HOSTILE = "<script>alert('x')</script>\"&amp;"


def make_rule(rule: str, **changes: Any) -> RuleResult:
    content = {
        "rule": rule,
        "family": rule.partition(".")[0],
        "effect": "quarantine",
        "failed": False,
        "judged": 1000,
        "rows": 0,
        "share": 0.0,
        "threshold": 0.05,
    }
    return RuleResult.model_validate(content | changes)


UNREADABLE = make_rule(
    "schema.value_unreadable",
    description="a value could not be read",
    failed=True,
    rows=200,
    share=0.2,
    samples=(
        {"impression_id": "i1", "unparsed_columns": "price=abc", "source_file": "a.csv", "source_line": "18"},
        {
            "impression_id": HOSTILE,
            "unparsed_columns": "price=" + HOSTILE,
            "source_file": "b.parquet",
            "source_row": "3",
        },
    ),
    offending=("unparsed_columns",),
)
FEW = make_rule(
    "volume.below_trailing_median",
    effect="refuse",
    failed=True,
    judged=1,
    rows=1000,
    share=1.0,
    threshold=0.5,
    observed=0.302,
    trailing_median=3311.0,
)
DRIFTED = make_rule("drift.psi", effect="warn", failed=True, judged=1, observed=0.31, threshold=0.25)
UNJUDGED = make_rule("volume.empty_day", effect="refuse", judged=0, why="empty days are allowed")


def make_receipt(day: date = DAY, **changes: Any) -> Receipt:
    content = {
        "dataset": "shop",
        "day": day,
        "input_version": "v" * 64,
        "rules_version": "r" * 64,
        "label_horizon": datetime(2026, 3, 6, tzinfo=UTC),
        "events": None,
        "rows_in": 1000,
        "impressions": 1000,
        "admitted": 1000,
        "quarantined": 0,
        "bad_share": 0.0,
        "max_bad_share": 0.05,
        "clicks": 100,
        "conversions": 10,
        "mature": 1000,
        "verdict": "admitted",
        "reasons": (),
        "rules": (make_rule("schema.value_unreadable"), UNJUDGED),
        "content_sha256": "c",
        "quarantine_sha256": "q",
    }
    return Receipt.model_validate(content | changes)


GOOD = make_receipt()
REFUSED = make_receipt(
    admitted=800,
    quarantined=200,
    bad_share=0.2,
    mature=300,
    clicks=80,
    verdict="refused",
    reasons=("volume.below_trailing_median: 0.302 against a bound of 0.5", "200 of 1000 rows are bad (20.00%)"),
    rules=(UNREADABLE, FEW, UNJUDGED),
)
WARNED = make_receipt(rules=(make_rule("schema.value_unreadable"), DRIFTED))


def decide(kind: str, *, minute: int = 0, receipt: Receipt = REFUSED, reason: str = "a public holiday") -> Decision:
    return Decision.model_validate(
        {
            "day": receipt.day,
            "decision": kind,
            "reason": reason,
            "reviewer": "ann",
            "decided_at": datetime(2026, 3, 5, 9, minute, tzinfo=UTC),
            "receipt_id": receipt.receipt_id,
        }
    )


def page(receipt: Receipt = REFUSED, **changes: Any) -> str:
    content = {
        "receipt": receipt,
        "history": (),
        "decisions": (),
        "models": (),
        "dataset": "shop",
        "store": "/srv/store",
        "quarantine": "/srv/store/quarantined_samples/rows.parquet",
        "data_docs": True,
    }
    return render_review(Reviewed.model_validate(content | changes))


class _Text(HTMLParser):
    """The words that a reader sees, in order, and every tag with its attributes."""

    def __init__(self) -> None:
        super().__init__()
        self.words: list[str] = []
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self._silent = False

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        self._silent = tag == "style"

    def handle_endtag(self, tag: str) -> None:
        self._silent = False

    def handle_data(self, data: str) -> None:
        if not self._silent:
            self.words.append(data)


def parse(html: str) -> _Text:
    parser = _Text()
    parser.feed(html)
    return parser


def text(html: str) -> str:
    return re.sub(r"\s+", " ", "".join(parse(html).words))


@pytest.mark.parametrize(
    ("receipt", "short"),
    [(GOOD, False), (REFUSED, True), (WARNED, True), (make_receipt(rules=(UNREADABLE,)), False)],
)
def test_a_day_falls_short_when_it_is_refused_or_warned_of(receipt: Receipt, short: bool) -> None:
    assert fell_short(receipt) is short


@pytest.mark.parametrize(
    ("receipt", "decisions", "expected"),
    [
        (REFUSED, (), "Refused: not trained on"),
        (REFUSED, (decide("accept"),), "Refused by the rules, accepted by ann: trained on"),
        (REFUSED, (decide("accept"), decide("revoke", minute=1)), "Refused: not trained on"),
        (REFUSED, (decide("exclude"),), "Excluded by ann: not trained on"),
        (WARNED, (), "Admitted with warnings: trained on"),
        (GOOD, (), "Admitted: trained on"),
        (GOOD, (decide("exclude", receipt=GOOD),), "Excluded by ann: not trained on"),
        (
            make_receipt(verdict="empty", rows_in=0, impressions=0, admitted=0, mature=0, clicks=0, conversions=0),
            (),
            "Empty: there is nothing to train on",
        ),
    ],
)
def test_the_headline_is_verdict_and_standing_in_words(
    receipt: Receipt, decisions: tuple[Decision, ...], expected: str
) -> None:
    assert headline(receipt, standing(receipt, decisions)) == expected
    assert text(page(receipt, decisions=decisions)).count(expected) >= 1


def test_verdict_and_reasons_come_before_everything_else() -> None:
    shown = page()
    ids = ("rows", "rules", "trends", "samples", "models", "decisions", "commands")
    places = [shown.index('<section class="verdict bad">'), *(shown.index(f'<h2 id="{name}">') for name in ids)]
    assert places == sorted(places)
    assert shown.index("0.302 against a bound") < places[1]
    assert "1,000 rows in = 800 admitted + 200 quarantined (20.00 %; up to 5.00 % are tolerated)" in text(shown)


def test_rules_are_listed_with_counts_shares_thresholds_and_why() -> None:
    seen = text(page())
    for part in ("✗ refuses the day", "0.302", "0.5", "3,311", "200of 1,000 judged", "20.00 %", "5.00 %"):
        assert part in seen, part
    assert seen.index("✗ refuses the day") < seen.index("✗ rows quarantined"), "what refuses the day comes first"
    assert "1 rule found nothing" in seen
    assert "not judged: empty days are allowed" in seen
    assert "provisional: 300 of 800 rows final" in seen


def test_offending_cells_are_marked_for_eyes_that_see_no_colour_too() -> None:
    marked = re.findall(r"<mark>(.*?)</mark>", page(), flags=re.DOTALL)
    assert len(marked) == 1 + 2, "the legend and a cell a sample row"
    assert all("✗" in cell for cell in marked)
    assert any("price=abc" in cell for cell in marked)
    assert not any("i1" in cell for cell in marked)
    assert cells(UNREADABLE) == ["unparsed_columns", "impression_id"]


def test_sample_rows_name_the_file_and_its_line_or_row() -> None:
    seen = text(page())
    assert "a.csv, line 18" in seen
    assert "b.parquet, row 3" in seen


def test_evidence_of_a_rule_on_the_day_has_no_file() -> None:
    drifted = DRIFTED.model_copy(update={"samples": ({"field": "price", "psi": "0.31"},), "offending": ("psi",)})
    shown = page(make_receipt(rules=(drifted,)))
    assert "File and line" not in shown
    assert "✗ 0.31" in text(shown)


def test_hostile_values_stay_text() -> None:
    rules = (UNREADABLE, make_rule("schema.x<b>", failed=True, effect="warn", judged=1, observed=1.0), FEW)
    receipt = make_receipt(
        verdict="refused", reasons=(HOSTILE,), rules=rules, admitted=800, quarantined=200, bad_share=0.2
    )
    shown = page(
        receipt,
        decisions=(decide("accept", receipt=receipt, reason=HOSTILE),),
        models=(AffectedModel(as_of=DAY, how="trained", model_id=HOSTILE, model=HOSTILE),),
        dataset=HOSTILE,
        store=HOSTILE,
        quarantine=HOSTILE,
    )
    parsed = parse(shown)
    assert {tag for tag, _ in parsed.tags} & {"script", "b>", "img", "iframe"} == set()
    assert text(shown).count(HOSTILE) >= 6
    assert "schema.x<b>" in text(shown)


def test_nothing_is_asked_of_the_network_and_no_script_runs() -> None:
    parsed = parse(page())
    policy = [attrs["content"] for tag, attrs in parsed.tags if attrs.get("http-equiv") == "Content-Security-Policy"]
    assert policy == ["default-src 'none'; style-src 'unsafe-inline'"]
    for tag, attrs in parsed.tags:
        assert tag not in ("script", "link", "img", "iframe", "object")
        assert not any(name.startswith("on") or name == "src" for name in attrs)
        assert (attrs.get("href") or "#").startswith(("#", "data_docs.html"))
    assert "http" not in page().replace("http-equiv", "")
    assert "url(" not in page()


def test_the_same_receipts_and_decisions_give_the_same_page() -> None:
    history = tuple(make_receipt(DAY - timedelta(days=age)) for age in range(1, 10))
    decisions = (decide("exclude"), decide("accept", minute=1))
    assert page(history=history, decisions=decisions) == page(history=history[::-1], decisions=decisions)


def test_models_say_what_the_day_did_to_them() -> None:
    models = (
        AffectedModel(as_of=date(2026, 3, 3), how="trained", model_id="a" * 64, model="esmm", champion=True),
        AffectedModel(as_of=date(2026, 3, 4), how="trained_on_other_receipt", model_id="b" * 64, model="esmm"),
        AffectedModel(as_of=date(2026, 3, 5), how="left_out", model_id="c" * 64, model="mlp"),
        *(AffectedModel(as_of=date(2026, 3, day), how="in_window") for day in (6, 7, 9)),
    )
    seen = text(page(models=models))
    assert "esmm aaaaaaaaaaaa the champion was trained on this receipt" in seen
    assert "was trained on an earlier receipt of this day" in seen
    assert "was left out" in seen
    assert (
        "Not trained yet, and this day lies in their window: models as of 2026-03-06 .. 2026-03-07, 2026-03-09." in seen
    )
    assert "--as-of 2026-03-04" in seen, "the newest model that was trained on the day"
    assert "No stored model's window reaches this day." in text(page()).replace("’", "'")


def test_decisions_say_who_when_why_and_whether_they_count() -> None:
    other = decide("accept", minute=1).model_copy(update={"receipt_id": "f" * 64})
    decisions = [decide("exclude"), other, decide("accept", minute=2), decide("revoke", minute=3)]
    decisions += [decide("exclude", minute=4), decide("accept", minute=5)]
    states = [state for _, state in decision_states(REFUSED, decisions)]
    assert states == ["in force", "superseded", "revoked all before it", "revoked", "revoked", "revoked"]
    states = [state for _, state in decision_states(REFUSED, [decide("exclude"), other])]
    assert states == ["does not count: it was for an earlier receipt", "in force"]
    seen = text(page(decisions=tuple(decisions)))
    assert "2026-03-05 09:05 UTC ann accept a public holiday in force" in seen


def test_the_commands_are_exact_and_quoted() -> None:
    commands = review_commands(dataset="/srv/my specs/it's.yaml", day=DAY, decided=True, retrain=[DAY + timedelta(1)])
    lines = {command.title: shlex.split(command.line) for command in commands}
    shared = ["--dataset", "/srv/my specs/it's.yaml"]
    assert lines["Fix"] == ["postclick", "run", *shared, "--days", "2026-03-02", "--data-only"]
    for title in ("Accept", "Exclude", "Revoke"):
        told = ["postclick", "review", *shared, "--day", "2026-03-02", f"--{title.lower()}", "--reason", "say why"]
        assert lines[title] == told
    assert lines["Train again"][-4:] == ["--days", "2026-03-02", "--as-of", "2026-03-03"]
    assert set(lines) == {"Fix", "Accept", "Exclude", "Revoke", "Train again"}


def test_there_is_something_to_revoke_only_where_something_stands_decided() -> None:
    assert "--revoke" not in page()
    assert "--revoke" in page(decisions=(decide("exclude"),))
    assert "--revoke" not in page(decisions=(decide("exclude"), decide("revoke", minute=1)))


def test_a_day_that_could_not_be_joined_says_so_and_has_no_empty_tables() -> None:
    none = {"rows_in": 0, "impressions": 0, "admitted": 0, "mature": 0, "clicks": 0, "conversions": 0}
    seen = text(
        page(make_receipt(verdict="refused", reasons=("raw_events of 2026-03-02 is missing",), rules=(), **none))
    )
    assert "raw_events of 2026-03-02 is missing" in seen
    assert "could not be joined, so no row of it was judged: 0 rows in = 0 admitted + 0 quarantined" in seen
    assert "Sample rows" not in seen
    assert "Trends" not in seen


def test_a_day_that_is_good_again_says_so() -> None:
    seen = text(page(GOOD, data_docs=False))
    assert "Admitted: trained on" in seen
    assert "No rule found anything." in seen
    assert "Great Expectations" not in seen
