"""Reviewers' decisions on a day, and how the day stands under them; receipts themselves are in `receipts`."""

from collections.abc import Sequence
from datetime import date
from typing import Literal, Self

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, field_validator, model_validator

from data_checks.receipts import Receipt


class _Record(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


DecisionKind = Literal["accept", "exclude", "revoke"]


class Decision(_Record):
    """A reviewer's word on a day: an acceptance of one receipt, an exclusion of the day whatever its receipt, or a
    revocation of every decision made before."""

    day: date
    decision: DecisionKind
    reason: str
    reviewer: str
    decided_at: AwareDatetime
    receipt_id: str | None = Field(
        default=None, description="the receipt the reviewer looked at; an acceptance needs it"
    )

    @field_validator("reason", "reviewer")
    @classmethod
    def _not_blank(cls, value: str) -> str:
        if not value.strip():
            raise ValueError(f"is {value!r}; say who decides and why, so that the next on call can follow it")
        return value.strip()

    @model_validator(mode="after")
    def _bound_to_a_receipt(self) -> Self:
        if self.decision == "accept" and not self.receipt_id:
            raise ValueError(f"accepting {self.day} needs the receipt_id of the receipt that was reviewed")
        return self


class Standing(_Record):
    """Whether a day may be trained on, by which receipt, and why; `decision` is the one in force, if any is."""

    admitted: bool
    receipt_id: str | None
    why: str
    decision: Decision | None = None


def standing(receipt: Receipt | None, decisions: Sequence[Decision]) -> Standing:
    """How a day stands, given its current receipt and every decision ever made on it (other days' are ignored).

    A revocation annuls all that was decided before it. Of the rest, the newest decision that counts wins; of two made
    at the same moment, the later in the sequence. An acceptance counts only for the receipt it names: one made for
    another receipt changes nothing, not even an earlier exclusion, and `why` says so. An exclusion holds for the day
    until another decision that counts. No receipt, or a day without admitted rows, is never admitted.
    """
    if receipt is None:
        return Standing(admitted=False, receipt_id=None, why="no receipt: the day was never validated; materialize it")
    of_day = sorted((d for d in decisions if d.day == receipt.day), key=lambda d: d.decided_at)
    revoked, alive = _since_last_revocation(of_day)
    counting = [d for d in alive if d.decision == "exclude" or d.receipt_id == receipt.receipt_id]
    ignored = [d for d in alive if d not in counting and (not counting or d.decided_at >= counting[-1].decided_at)]
    in_force = counting[-1] if counting else None
    admitted, why = _own_standing(receipt, in_force)
    if revoked is not None and in_force is None:
        why += f"; {revoked.reviewer} revoked what was decided before: {revoked.reason}"
    if ignored:
        last = ignored[-1]
        why += (
            f"; {last.reviewer}'s acceptance of {last.decided_at.isoformat()} does not count: it was for receipt "
            f"{_short(last.receipt_id)}, and the day's receipt is now {_short(receipt.receipt_id)}"
        )
    return Standing(admitted=admitted, receipt_id=receipt.receipt_id, why=why, decision=in_force)


def _since_last_revocation(decisions: Sequence[Decision]) -> tuple[Decision | None, Sequence[Decision]]:
    for place in range(len(decisions) - 1, -1, -1):
        if decisions[place].decision == "revoke":
            return decisions[place], decisions[place + 1 :]
    return None, decisions


def _own_standing(receipt: Receipt, decision: Decision | None) -> tuple[bool, str]:
    if decision is not None and decision.decision == "exclude":
        return False, f"excluded by {decision.reviewer}: {decision.reason}"
    if receipt.admitted == 0:
        return False, "; ".join(receipt.reasons) or "empty: the day has no rows, which the dataset spec allows"
    if decision is not None:
        return True, f"{receipt.verdict}; accepted by {decision.reviewer}: {decision.reason}"
    if receipt.verdict == "admitted":
        return True, "admitted"
    return False, f"{receipt.verdict}: " + "; ".join(receipt.reasons)


def _short(receipt_id: str | None) -> str:
    return (receipt_id or "none")[:12]
