"""What the model registry keeps, and what it refuses; moving the champion is in registry."""

from datetime import date, datetime
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, JsonValue

from infra.object_keys import ObjectStoreError

DecisionKind = Literal["promoted", "rejected", "insufficient_evidence", "rolled_back"]


class StaleComparison(ObjectStoreError):
    """The champion is no longer the model that the caller compared with; nothing was changed."""

    def __init__(self, *, model_id: str, expected: str | None, found: str | None) -> None:
        super().__init__(
            f"model {model_id} was compared with champion {expected or 'none'}, but the champion is now "
            f"{found or 'none'}: evaluate it against the present champion, then promote again"
        )


class BackwardPromotion(ObjectStoreError):
    """The model is of an older as-of day than the champion; nothing was changed."""


class NeverChampion(ObjectStoreError):
    """A rollback names a model that never was champion; nothing was changed."""


class RegistryDamaged(ObjectStoreError):
    """The pointer or a record of the history is not readable."""


class Champion(BaseModel):
    """The pointer's content. `decision_id` is the history record that put it there."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    model_id: str
    as_of: date
    promoted_at: datetime
    promoted_by: str
    reason: str
    evidence: dict[str, JsonValue]
    decision_id: str


class Decision(BaseModel):
    """One record of the history.

    Attributes:
        decision_id: its number in order of decision, eight digits.
        kind: what was decided about `model_id`; for rolled_back, that is the model gone back to.
        champion_id: the champion at that time, which it was compared with; None while there was none.
        replaces: the decision_id of the champion that it took over from; promoted and rolled_back only.
        evidence: which numbers it rests on.
        took_effect: whether the pointer moved (promoted, rolled_back), None for the others. Not stored: `history`
            finds it out by following the pointer back.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    decision_id: str
    kind: DecisionKind
    model_id: str
    as_of: date
    at: datetime
    who: str
    reason: str
    evidence: dict[str, JsonValue]
    champion_id: str | None
    replaces: str | None = None
    took_effect: bool | None = Field(default=None, exclude=True)
