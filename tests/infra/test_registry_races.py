"""The registry under racing and killed promotions: one champion, and a history that explains the rest."""

from functools import partial
from typing import Any

import pytest

from infra.local_object_store import LocalObjectStore
from infra.object_store import ObjectStore
from infra.registry import Champion, ModelRegistry, StaleComparison
from tests.infra.promotions import promote


def test_of_racing_promotions_one_wins_and_history_explains_the_rest(store: ObjectStore, race):
    registry = ModelRegistry(store)
    promote(registry, "old", None)
    outcomes = race([partial(promote, registry, f"m{number:02}", "old") for number in range(12)])
    winners = [outcome for outcome in outcomes if isinstance(outcome, Champion)]
    assert all(isinstance(outcome, Champion | StaleComparison) for outcome in outcomes), outcomes
    assert winners == [registry.champion()]
    history = registry.history()
    assert [decision.decision_id for decision in history] == [f"{n:08}" for n in range(1, len(history) + 1)]
    assert [decision.model_id for decision in history if decision.took_effect] == ["old", winners[0].model_id]


def test_racing_first_promotions_have_one_winner(store: ObjectStore, race):
    registry = ModelRegistry(store)
    outcomes = race([partial(promote, registry, f"m{number}", None) for number in range(8)])
    assert [outcome for outcome in outcomes if isinstance(outcome, Champion)] == [registry.champion()]


def test_racing_promotions_of_the_same_model_all_succeed(store: ObjectStore, race):
    registry = ModelRegistry(store)
    outcomes = race([partial(promote, registry, "one", None)] * 8)
    assert outcomes == [registry.champion()] * 8
    assert [decision.took_effect for decision in registry.history()].count(True) == 1


class PowerCut(BaseException):
    pass


class CutBefore(LocalObjectStore):
    """Loses power at the n-th write."""

    left = 0

    def create_bytes(self, key: str, data: bytes) -> str:
        self._cut()
        return super().create_bytes(key, data)

    def replace_bytes(self, key: str, data: bytes, *, etag: str) -> str:
        self._cut()
        return super().replace_bytes(key, data, etag=etag)

    def _cut(self) -> None:
        self.left -= 1
        if self.left == 0:
            raise PowerCut


@pytest.mark.parametrize("act", ["promote", "rollback"])
@pytest.mark.parametrize("write", [1, 2])
def test_a_kill_between_history_and_pointer_is_explained_and_repeated(act: str, write: int, tmp_path):
    objects = CutBefore(tmp_path)
    registry = ModelRegistry(objects)
    promote(registry, "one", None)
    old = promote(registry, "two", "one")

    def again() -> Any:
        if act == "promote":
            return promote(registry, "three", "two")
        return registry.rollback(to_model_id="one", who="bob", reason="r")

    objects.left = write
    with pytest.raises(PowerCut):
        again()
    assert registry.champion() == old
    unfinished = [False] * (write - 1)
    assert [decision.took_effect for decision in registry.history()] == [True, True, *unfinished]
    new = again()
    assert registry.champion() == new != old
    assert [decision.took_effect for decision in registry.history()] == [True, True, *unfinished, True]
