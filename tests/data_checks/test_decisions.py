"""How a day stands under its receipt and what reviewers said of it, held against a slow plain reading of the rules."""

from datetime import UTC, date, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from data_checks.decisions import Decision, Standing, standing
from data_checks.receipts import Receipt

DAY = date(2026, 3, 2)
START = datetime(2026, 3, 5, 9, tzinfo=UTC)


def _receipt(**changes: Any) -> Receipt:
    content = {
        "dataset": "shop",
        "day": DAY,
        "input_version": "v1",
        "rules_version": "r1",
        "label_horizon": START,
        "events": None,
        "rows_in": 100,
        "impressions": 100,
        "admitted": 97,
        "quarantined": 3,
        "bad_share": 0.03,
        "max_bad_share": 0.05,
        "clicks": 10,
        "conversions": 2,
        "mature": 97,
        "verdict": "admitted",
        "reasons": (),
        "rules": (),
        "content_sha256": "c",
        "quarantine_sha256": "q",
    }
    return Receipt.model_validate(content | changes)


ADMITTED = _receipt()
REFUSED = _receipt(verdict="refused", reasons=("too many bad rows",), input_version="v0")
EMPTY = _receipt(verdict="empty", rows_in=0, impressions=0, admitted=0, quarantined=0, mature=0, bad_share=0.0)


def _decision(
    decision: str, *, minute: int = 0, receipt_id: str | None = None, day: date = DAY, reason: str = "looked at"
) -> Decision:
    return Decision.model_validate(
        {
            "day": day,
            "decision": decision,
            "reason": reason,
            "reviewer": "ana",
            "decided_at": START + timedelta(minutes=minute),
            "receipt_id": receipt_id,
        }
    )


def test_own_verdict_without_decisions() -> None:
    assert standing(ADMITTED, ()) == Standing(admitted=True, receipt_id=ADMITTED.receipt_id, why="admitted")
    refused = standing(REFUSED, ())
    assert not refused.admitted
    assert "too many bad rows" in refused.why
    assert not standing(None, [_decision("accept", receipt_id="x")]).admitted


def test_an_accepted_receipt_is_admitted_and_an_acceptance_of_another_is_not_and_says_so() -> None:
    acceptance = _decision("accept", receipt_id=REFUSED.receipt_id)
    accepted = standing(REFUSED, [acceptance])
    assert accepted.admitted
    assert accepted.decision == acceptance
    assert "accepted by ana: looked at" in accepted.why
    other = standing(REFUSED, [_decision("accept", receipt_id="f" * 64)])
    assert (other.admitted, other.decision) == (False, None)
    assert "does not count: it was for receipt ffffffffffff" in other.why


def test_an_exclusion_outlives_a_new_receipt_and_ends_with_a_decision_that_counts() -> None:
    excluded = [_decision("exclude", receipt_id=REFUSED.receipt_id)]
    assert not standing(ADMITTED, excluded).admitted
    assert not standing(ADMITTED, [*excluded, _decision("accept", minute=1, receipt_id=REFUSED.receipt_id)]).admitted
    lifted = [*excluded, _decision("accept", minute=1, receipt_id=ADMITTED.receipt_id)]
    assert standing(ADMITTED, lifted).admitted


def test_a_revocation_gives_the_day_back_to_its_own_verdict_and_says_who_and_why() -> None:
    decisions = [
        _decision("accept", receipt_id=REFUSED.receipt_id),
        _decision("revoke", minute=1, reason="it was no holiday"),
    ]
    revoked = standing(REFUSED, decisions)
    assert (revoked.admitted, revoked.decision) == (False, None)
    assert "too many bad rows; ana revoked what was decided before: it was no holiday" in revoked.why
    lifted = standing(ADMITTED, [_decision("exclude"), _decision("revoke", minute=1)])
    assert lifted.admitted
    again = standing(REFUSED, [*decisions, _decision("accept", minute=2, receipt_id=REFUSED.receipt_id)])
    assert again.admitted
    assert "revoked" not in again.why


def test_an_acceptance_of_another_receipt_is_not_mentioned_once_it_was_revoked() -> None:
    decisions = [_decision("accept", receipt_id="f" * 64), _decision("revoke", minute=1)]
    assert "does not count" not in standing(REFUSED, decisions).why


def test_an_empty_day_is_never_admitted_even_when_accepted() -> None:
    assert not standing(EMPTY, [_decision("accept", receipt_id=EMPTY.receipt_id)]).admitted


@pytest.mark.parametrize("field", ["reason", "reviewer"])
def test_a_decision_needs_words_and_a_name(field: str) -> None:
    content = _decision("exclude").model_dump()
    with pytest.raises(ValidationError, match="say who decides and why"):
        Decision.model_validate(content | {field: " \n"})


def test_an_acceptance_needs_the_receipt_and_a_time_needs_a_zone() -> None:
    with pytest.raises(ValidationError, match="needs the receipt_id"):
        _decision("accept")
    with pytest.raises(ValidationError):
        Decision.model_validate(_decision("exclude").model_dump() | {"decided_at": datetime(2026, 3, 5)})


def test_there_are_three_decisions_and_no_other() -> None:
    with pytest.raises(ValidationError, match="'accept', 'exclude' or 'revoke'"):
        _decision("ignore")


_DECISIONS = st.lists(
    st.builds(
        _decision,
        st.sampled_from(["accept", "exclude", "revoke"]),
        minute=st.integers(0, 5),
        receipt_id=st.sampled_from([ADMITTED.receipt_id, REFUSED.receipt_id, EMPTY.receipt_id, "0" * 64]),
        day=st.sampled_from([DAY, DAY, DAY, DAY + timedelta(days=1)]),
    ),
    max_size=8,
)
_RECEIPTS = st.sampled_from([ADMITTED, REFUSED, EMPTY])


def _read_slowly(receipt: Receipt, decisions: list[Decision]) -> Decision | None:
    """The decision in force, by reading the day's record in the order of time, one decision after the other."""
    in_force = None
    for minute in range(10):
        for decision in decisions:
            if decision.day != receipt.day or decision.decided_at != START + timedelta(minutes=minute):
                continue
            if decision.decision == "revoke":
                in_force = None
            elif decision.decision == "exclude" or decision.receipt_id == receipt.receipt_id:
                in_force = decision
    return in_force


@given(receipt=_RECEIPTS, decisions=_DECISIONS)
def test_the_newest_decision_that_counts_and_was_not_revoked_wins(receipt: Receipt, decisions: list[Decision]) -> None:
    expected = _read_slowly(receipt, decisions)
    found = standing(receipt, decisions)
    assert found.decision == expected
    own = receipt.verdict == "admitted" if expected is None else expected.decision == "accept"
    assert found.admitted == (receipt.admitted > 0 and own)


@given(receipt=_RECEIPTS, decisions=_DECISIONS)
def test_what_does_not_count_changes_nothing(receipt: Receipt, decisions: list[Decision]) -> None:
    counting = [d for d in decisions if d.day == DAY and (d.decision != "accept" or d.receipt_id == receipt.receipt_id)]
    assert standing(receipt, decisions).admitted == standing(receipt, counting).admitted


@given(receipt=_RECEIPTS, decisions=_DECISIONS)
def test_a_new_exclusion_always_excludes_and_a_new_acceptance_never_admits_an_empty_day(
    receipt: Receipt, decisions: list[Decision]
) -> None:
    assert not standing(receipt, [*decisions, _decision("exclude", minute=6)]).admitted
    accepted = standing(receipt, [*decisions, _decision("accept", minute=6, receipt_id=receipt.receipt_id)])
    assert accepted.admitted == (receipt.admitted > 0)


@given(receipt=_RECEIPTS, before=_DECISIONS, after=_DECISIONS)
def test_after_a_revocation_it_is_as_if_nothing_had_been_decided_before(
    receipt: Receipt, before: list[Decision], after: list[Decision]
) -> None:
    later = [d.model_copy(update={"decided_at": d.decided_at + timedelta(minutes=7)}) for d in after]
    revoked = standing(receipt, [*before, _decision("revoke", minute=6), *later])
    fresh = standing(receipt, later)
    assert (revoked.admitted, revoked.decision) == (fresh.admitted, fresh.decision)
