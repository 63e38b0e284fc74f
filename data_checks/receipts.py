"""What is kept about a validated day: its receipt; reviewers' decisions on it are `decisions`', and no data is read."""

import hashlib
import json
from datetime import date, datetime
from typing import Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

#: 2 names the offending cells and describes each rule. Receipts of format 1 are read and keep their ids.
RECEIPT_FORMAT = 2
_SINCE_FORMAT_2 = ("description", "offending")

#: The rule families in the order in which they are shown; each is one check in the UI.
FAMILIES = ("schema", "label_consistency", "click_before_conversion", "duplicates", "volume", "drift")

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
    description: str = Field(default="", description="what is wrong with a row, or a day, that breaks the rule")
    effect: Effect
    failed: bool = Field(description="whether the rule found anything: bad rows, or a bad day")
    judged: int = Field(ge=0, description="rows that the rule could judge (for a rule on the day: 1 or 0)")
    rows: int = Field(ge=0, description="rows that break the rule; every row of a day that breaks a rule on the day")
    share: float = Field(ge=0, le=1, description="rows / rows in")
    threshold: float | None = Field(description="largest bad share, or the bound of a rule on the day")
    observed: float | None = Field(default=None, description="what a rule on the day holds against its threshold")
    trailing_median: float | None = Field(default=None, description="what the admitted trailing days make one expect")
    why: str = Field(default="", description="why nothing was judged; empty where something was")
    samples: tuple[dict[str, str], ...] = Field(
        default=(), description="at most three bad rows; of a rule on the day, at most ten records of what it rests on"
    )
    offending: tuple[str, ...] = Field(default=(), description="columns of the samples whose cells break the rule")


class Receipt(_Record):
    """The verdict on one day of samples and all it rests on. It holds no wall-clock time: same input, same receipt."""

    format_version: Literal[1, 2] = RECEIPT_FORMAT
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
        if self.format_version == 1:
            for result in content["rules"]:
                for name in _SINCE_FORMAT_2:
                    del result[name]
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
