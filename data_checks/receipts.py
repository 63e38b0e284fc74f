"""What is kept about a validated day: its receipt, reviewers' decisions, how the day stands; no data is read."""

import hashlib
import json
from collections.abc import Sequence
from datetime import date, datetime
from typing import Literal, Self

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, field_validator, model_validator

RECEIPT_FORMAT = 1

#: The rule families in the order in which they are shown; each is one check in the UI.
FAMILIES = ("schema", "label_consistency", "click_before_conversion", "duplicates", "volume")

Effect = Literal["quarantine", "refuse", "warn"]
Verdict = Literal["admitted", "refused", "empty"]


class _Record(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class EventCounts(_Record):
    """Rows of the day's raw event streams as landed; None where the log has no such stream."""

    impressions: int = Field(ge=0)
    clicks: int | None = Field(default=None, ge=0)
    conversions: int | None = Field(default=None, ge=0)


class RuleResult(_Record):
    """What one rule found on one day."""

    rule: str = Field(description="stable id, `family.name`")
    family: str
    effect: Effect
    failed: bool = Field(description="whether the rule found anything: bad rows, or a bad day")
    judged: int = Field(ge=0, description="rows that the rule could judge (for a rule on the day: 1 or 0)")
    rows: int = Field(ge=0, description="rows that break the rule; every row of a day that breaks a rule on the day")
    share: float = Field(ge=0, le=1, description="rows / rows in")
    threshold: float | None = Field(description="largest bad share, or the bound of a rule on the day")
    observed: float | None = Field(default=None, description="what a rule on the day holds against its threshold")
    trailing_median: float | None = Field(default=None, description="of the admitted trailing days' impressions")
    why: str = Field(default="", description="why nothing was judged; empty where something was")
    samples: tuple[dict[str, str], ...] = Field(default=(), description="at most three bad rows")


class Receipt(_Record):
    """The verdict on one day of samples and all it rests on. It holds no wall-clock time: same input, same receipt."""

    format_version: Literal[1] = RECEIPT_FORMAT
    dataset: str
    day: date
    input_version: str = Field(description="version of the joined samples that were judged")
    rules_version: str = Field(description="sha256 of the rules and thresholds in force")
    label_horizon: datetime | None = Field(description="UTC; how far the log had been observed when labels were joined")
    events: EventCounts | None
    rows_in: int = Field(ge=0)
    impressions: int = Field(ge=0, description="rows in that are impressions; the rest are orphan events")
    admitted: int = Field(ge=0)
    quarantined: int = Field(ge=0)
    bad_share: float = Field(ge=0, le=1, description="quarantined / rows in")
    max_bad_share: float
    clicks: int = Field(ge=0, description="clicked impressions among the admitted")
    conversions: int = Field(ge=0, description="converted impressions among the admitted")
    mature: int = Field(ge=0, description="admitted rows whose labels can no longer change")
    verdict: Verdict
    reasons: tuple[str, ...] = Field(description="why the day was refused; empty otherwise")
    rules: tuple[RuleResult, ...]
    content_sha256: str = Field(description="of the admitted rows' file")
    quarantine_sha256: str = Field(description="of the quarantined rows' file")

    @model_validator(mode="after")
    def _nothing_lost(self) -> Self:
        if self.rows_in != self.admitted + self.quarantined:
            raise ValueError(
                f"{self.rows_in} rows in, but {self.admitted} admitted + {self.quarantined} quarantined = "
                f"{self.admitted + self.quarantined}; validate {self.day} again"
            )
        if (self.verdict == "refused") != bool(self.reasons):
            raise ValueError(
                f"verdict {self.verdict!r} with reasons {self.reasons!r}; a refused day, and only that, has reasons"
            )
        return self

    def canonical_json(self) -> bytes:
        """The receipt as JSON with sorted keys and no spaces: the same receipt gives the same bytes."""
        content = self.model_dump(mode="json")
        text = json.dumps(content, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)
        return text.encode()

    @property
    def receipt_id(self) -> str:
        """sha256 (hex) of the canonical JSON."""
        return hashlib.sha256(self.canonical_json()).hexdigest()

    @property
    def labels_mature(self) -> bool:
        """Whether every admitted row's labels are final."""
        return self.admitted > 0 and self.mature == self.admitted

    def by_rule(self) -> dict[str, int]:
        """Quarantined rows by rule id; a row that breaks two rules counts in both."""
        sending = (result for result in self.rules if result.effect == "quarantine" and result.rows)
        return {result.rule: result.rows for result in sending}


class Decision(_Record):
    """A reviewer's word on a day: an acceptance of one receipt, or an exclusion of the day whatever its receipt."""

    day: date
    decision: Literal["accept", "exclude"]
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
    """Whether a day may be trained on, by which receipt, and why."""

    admitted: bool
    receipt_id: str | None
    why: str


def standing(receipt: Receipt | None, decisions: Sequence[Decision]) -> Standing:
    """How a day stands, given its current receipt and every decision ever made on it (other days' are ignored).

    The newest decision that counts wins; of two made at the same moment, the later in the sequence. An acceptance
    counts only for the receipt it names: one made for another receipt changes nothing, not even an earlier exclusion,
    and `why` says so. An exclusion holds for the day until another decision that counts. No receipt, or a day
    without admitted rows, is never admitted.
    """
    if receipt is None:
        return Standing(admitted=False, receipt_id=None, why="no receipt: the day was never validated; materialize it")
    of_day = sorted((d for d in decisions if d.day == receipt.day), key=lambda d: d.decided_at)
    counting = [d for d in of_day if d.decision == "exclude" or d.receipt_id == receipt.receipt_id]
    ignored = [d for d in of_day if d not in counting and (not counting or d.decided_at >= counting[-1].decided_at)]
    admitted, why = _own_standing(receipt, counting[-1] if counting else None)
    if ignored:
        last = ignored[-1]
        why += (
            f"; {last.reviewer}'s acceptance of {last.decided_at.isoformat()} does not count: it was for receipt "
            f"{_short(last.receipt_id)}, and the day's receipt is now {_short(receipt.receipt_id)}"
        )
    return Standing(admitted=admitted, receipt_id=receipt.receipt_id, why=why)


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
