"""The model registry: which model is the champion and every decision about it; judging is done elsewhere."""

from collections.abc import Callable, Mapping
from datetime import UTC, date, datetime
from typing import Literal

from pydantic import BaseModel, JsonValue, ValidationError

from infra.object_keys import ObjectChanged, ObjectExists, ObjectMissing
from infra.object_store import ObjectStore
from infra.plain_json import plain_json
from infra.registry_records import (
    BackwardPromotion,
    Champion,
    Decision,
    NeverChampion,
    RegistryDamaged,
    StaleComparison,
)

__all__ = [
    "BackwardPromotion",
    "Champion",
    "Decision",
    "ModelRegistry",
    "NeverChampion",
    "RegistryDamaged",
    "StaleComparison",
]

POINTER = "registry/champion.json"
HISTORY = "registry/history/"


class ModelRegistry:
    """The champion pointer, moved by compare-and-swap, and the append-only history of decisions.

    A change of champion is written to the history first, then the pointer moves. Each such record names the decision
    of the champion that it replaces, and the pointer names its own decision, so that the decisions that took effect are
    exactly the chain found from the pointer backwards. A run killed between the two steps, or one that lost the race
    for the pointer, leaves a record outside the chain: `history` shows it with took_effect False, the old champion
    stands, and running again decides anew. The pointer never names a decision that the history lacks.
    """

    def __init__(self, objects: ObjectStore, *, clock: Callable[[], datetime] = lambda: datetime.now(UTC)) -> None:
        self._objects = objects
        self._clock = clock

    def champion(self) -> Champion | None:
        """The present champion, or None before the first promotion."""
        return self._pointer()[0]

    def promote(
        self,
        *,
        model_id: str,
        as_of: date,
        expected_model_id: str | None,
        who: str,
        reason: str,
        evidence: Mapping[str, JsonValue],
    ) -> Champion:
        """Make a model the champion.

        Args:
            model_id: the model; if it already is the champion, nothing is written and that champion returned.
            as_of: its as-of day.
            expected_model_id: the champion it was compared with, None if there was none.
            who, reason, evidence: kept in the pointer and in the history.

        Raises:
            StaleComparison: the champion is not the expected one, or changed while this call ran.
            BackwardPromotion: the champion is of a later as-of day.
        """
        champion, etag = self._pointer()
        if champion and champion.model_id == model_id:
            return champion
        if (champion.model_id if champion else None) != expected_model_id:
            raise StaleComparison(
                model_id=model_id, expected=expected_model_id, found=champion.model_id if champion else None
            )
        if champion and as_of < champion.as_of:
            raise BackwardPromotion(
                f"model {model_id} is of {as_of}, champion {champion.model_id} of {champion.as_of}: promote models of "
                "that day or later, or roll back if the older one is wanted"
            )
        return self._move(champion, etag, "promoted", model_id, as_of, who, reason, evidence)

    def rollback(self, *, to_model_id: str, who: str, reason: str) -> Champion:
        """Make a former champion the champion again, with the evidence of its promotion.

        Rolling back to the present champion changes nothing. Raises NeverChampion, and StaleComparison if the champion
        changed while this call ran.
        """
        champion, etag = self._pointer()
        if champion and champion.model_id == to_model_id:
            return champion
        former = [decision for decision in self.history() if decision.took_effect]
        found = [decision for decision in former if decision.model_id == to_model_id]
        if not found:
            raise NeverChampion(
                f"cannot roll back to model {to_model_id}: it never was champion; choose one of "
                f"{', '.join(dict.fromkeys(decision.model_id for decision in former)) or 'none so far'}"
            )
        last = found[-1]
        return self._move(champion, etag, "rolled_back", to_model_id, last.as_of, who, reason, last.evidence)

    def record_decision(
        self,
        *,
        kind: Literal["rejected", "insufficient_evidence"],
        model_id: str,
        as_of: date,
        champion_id: str | None,
        who: str,
        reason: str,
        evidence: Mapping[str, JsonValue],
    ) -> Decision:
        """Append a decision that leaves the champion as it is; `promote` and `rollback` record their own."""
        return self._append(
            kind=kind,
            model_id=model_id,
            as_of=as_of,
            champion_id=champion_id,
            who=who,
            reason=reason,
            evidence=plain_json(evidence),
        )

    def history(self) -> tuple[Decision, ...]:
        """All decisions, oldest first. Raises RegistryDamaged if one is unreadable."""
        # the pointer first: its whole chain was written before it, so that none is missing from the listing
        champion = self.champion()
        decisions = [self._decision(key) for key in self._objects.list_keys(HISTORY)]
        replaces = {decision.decision_id: decision.replaces for decision in decisions}
        effective, decision_id = set(), champion.decision_id if champion else None
        while decision_id is not None:
            if decision_id not in replaces:
                raise RegistryDamaged(
                    f"{HISTORY}{decision_id}.json is missing in {self._objects.location}, though the champion rests "
                    "on it: restore it from a backup"
                )
            effective.add(decision_id)
            decision_id = replaces[decision_id]
        return tuple(
            decision.model_copy(update={"took_effect": decision.decision_id in effective})
            if decision.kind in ("promoted", "rolled_back")
            else decision
            for decision in decisions
        )

    def _move(
        self,
        champion: Champion | None,
        etag: str | None,
        kind: Literal["promoted", "rolled_back"],
        model_id: str,
        as_of: date,
        who: str,
        reason: str,
        evidence: Mapping[str, JsonValue],
    ) -> Champion:
        replaced = champion.model_id if champion else None
        decision = self._append(
            kind=kind,
            model_id=model_id,
            as_of=as_of,
            champion_id=replaced,
            who=who,
            reason=reason,
            evidence=plain_json(evidence),
            replaces=champion.decision_id if champion else None,
        )
        new = Champion(
            model_id=model_id,
            as_of=as_of,
            promoted_at=decision.at,
            promoted_by=who,
            reason=reason,
            evidence=decision.evidence,
            decision_id=decision.decision_id,
        )
        try:
            if etag is None:
                self._objects.create_bytes(POINTER, _json(new))
            else:
                self._objects.replace_bytes(POINTER, _json(new), etag=etag)
        except (ObjectExists, ObjectChanged):
            now = self.champion()
            found = now.model_id if now else None
            if now and found == model_id:  # another run decided the same
                return now
            raise StaleComparison(model_id=model_id, expected=replaced, found=found) from None
        return new

    def _append(self, **fields: object) -> Decision:
        last = max(self._objects.list_keys(HISTORY), default=f"{HISTORY}00000000.json")
        number = int(last.removeprefix(HISTORY).removesuffix(".json"))
        while True:
            number += 1
            decision = Decision.model_validate({"decision_id": f"{number:08}", "at": self._clock(), **fields})
            try:
                self._objects.create_bytes(f"{HISTORY}{decision.decision_id}.json", _json(decision))
            except ObjectExists:  # another run has just taken this number
                continue
            return decision

    def _pointer(self) -> tuple[Champion | None, str | None]:
        try:
            data, etag = self._objects.get_bytes(POINTER)
        except ObjectMissing:
            return None, None
        try:
            return Champion.model_validate_json(data), etag
        except ValidationError as error:
            raise self._damaged(POINTER, error) from error

    def _decision(self, key: str) -> Decision:
        try:
            return Decision.model_validate_json(self._objects.get_bytes(key).data)
        except ValidationError as error:
            raise self._damaged(key, error) from error

    def _damaged(self, key: str, error: ValidationError) -> RegistryDamaged:
        return RegistryDamaged(
            f"{key} in {self._objects.location} is not readable ({error.errors()[0]['msg']}): restore it from a backup"
        )


def _json(record: BaseModel) -> bytes:
    return (record.model_dump_json(indent=1) + "\n").encode()
