"""The registry: one champion, moved by compare-and-swap, and a history that explains every state."""

import itertools
from datetime import UTC, datetime, timedelta
from functools import partial

import pytest

from infra.local_object_store import LocalObjectStore
from infra.object_store import ObjectStore
from infra.registry import BackwardPromotion, ModelRegistry, NeverChampion, RegistryDamaged, StaleComparison
from tests.infra.promotions import DAY, promote, told


@pytest.fixture
def registry(store: ObjectStore) -> ModelRegistry:
    ticks = (datetime(2026, 1, 10, tzinfo=UTC) + timedelta(minutes=minute) for minute in itertools.count())
    return ModelRegistry(store, clock=lambda: next(ticks))


def test_before_the_first_promotion_there_is_nobody(registry: ModelRegistry):
    assert registry.champion() is None
    assert registry.history() == ()


def test_promotions_follow_one_another_and_are_explained(registry: ModelRegistry, store: ObjectStore):
    first = promote(registry, "one", None)
    second = promote(registry, "two", "one", as_of=DAY + timedelta(days=1))
    assert ModelRegistry(store).champion() == second != first
    assert (second.model_id, second.promoted_by, second.reason) == ("two", "ada", "two is better")
    assert second.evidence == {"auc_cvr": {"low": 0.01, "high": 0.03}, "of": "two"}
    assert told(registry) == [("promoted", "one", True), ("promoted", "two", True)]
    record = registry.history()[1]
    assert (record.decision_id, record.champion_id, record.replaces) == ("00000002", "one", "00000001")
    assert (record.at, record.evidence, record.who) == (second.promoted_at, second.evidence, "ada")


def test_the_same_model_again_changes_nothing(registry: ModelRegistry, store: ObjectStore):
    first = promote(registry, "one", None)
    before = list(store.list_keys())
    assert promote(registry, "one", None) == first
    assert promote(registry, "one", "somebody else", as_of=DAY - timedelta(days=9)) == first
    assert list(store.list_keys()) == before


@pytest.mark.parametrize("expected", [None, "zero"])
def test_a_comparison_with_another_champion_is_stale(registry: ModelRegistry, expected: str | None):
    first = promote(registry, "one", None)
    with pytest.raises(StaleComparison, match=rf"two .*{expected or 'none'}.*now one.*evaluate it against"):
        promote(registry, "two", expected)
    assert registry.champion() == first
    assert told(registry) == [("promoted", "one", True)]


def test_expecting_a_champion_where_there_is_none_is_stale(registry: ModelRegistry):
    with pytest.raises(StaleComparison, match="champion zero, but the champion is now none"):
        promote(registry, "one", "zero")


def test_an_older_day_is_never_promoted_but_the_same_day_is(registry: ModelRegistry):
    promote(registry, "one", None)
    with pytest.raises(BackwardPromotion, match=r"older is of 2026-01-09, champion one of 2026-01-10.*roll back"):
        promote(registry, "older", "one", as_of=DAY - timedelta(days=1))
    assert promote(registry, "again", "one").model_id == "again"


def test_other_decisions_are_kept_in_order_and_move_nothing(registry: ModelRegistry):
    first = promote(registry, "one", None)
    for kind, model_id in (("rejected", "two"), ("insufficient_evidence", "three")):
        record = registry.record_decision(
            kind=kind,  # type: ignore[arg-type]
            model_id=model_id,
            as_of=DAY,
            champion_id="one",
            who="dagster",
            reason="too few conversions",
            evidence={"conversions": 12},
        )
        assert registry.history()[-1] == record
    assert registry.champion() == first
    assert told(registry) == [
        ("promoted", "one", True),
        ("rejected", "two", None),
        ("insufficient_evidence", "three", None),
    ]


def test_rollback_restores_a_former_champion(registry: ModelRegistry):
    first = promote(registry, "one", None)
    promote(registry, "two", "one", as_of=DAY + timedelta(days=1))
    back = registry.rollback(to_model_id="one", who="bob", reason="two breaks checkout")
    assert (back.model_id, back.as_of, back.evidence) == ("one", DAY, first.evidence)
    assert (back.promoted_by, back.reason) == ("bob", "two breaks checkout")
    assert registry.champion() == back
    assert told(registry)[-1] == ("rolled_back", "one", True)
    assert registry.history()[-1].champion_id == "two"
    assert registry.rollback(to_model_id="one", who="bob", reason="again") == back
    assert registry.rollback(to_model_id="two", who="bob", reason="it was not two").model_id == "two"
    assert [decision.took_effect for decision in registry.history()] == [True] * 4


def test_rollback_goes_only_to_former_champions(registry: ModelRegistry):
    with pytest.raises(NeverChampion, match="none so far"):
        registry.rollback(to_model_id="one", who="bob", reason="r")
    promote(registry, "one", None)
    registry.record_decision(
        kind="rejected", model_id="two", as_of=DAY, champion_id="one", who="d", reason="r", evidence={}
    )
    with pytest.raises(NeverChampion, match="two: it never was champion; choose one of one"):
        registry.rollback(to_model_id="two", who="bob", reason="r")


def test_damage_is_named_with_a_remedy(tmp_path):
    objects = LocalObjectStore(tmp_path)
    registry = ModelRegistry(objects)
    promote(registry, "one", None)
    good = objects.get_bytes("registry/history/00000001.json").data
    objects.put_bytes("registry/history/00000001.json", b"{}")
    with pytest.raises(RegistryDamaged, match=r"history/00000001\.json.*restore it from a backup"):
        registry.history()
    objects.delete("registry/history/00000001.json")
    with pytest.raises(RegistryDamaged, match=r"00000001\.json is missing"):
        registry.history()
    objects.put_bytes("registry/history/00000001.json", good)
    objects.put_bytes("registry/champion.json", b"{")
    for call in (registry.champion, registry.history, partial(promote, registry, "two", "one")):
        with pytest.raises(RegistryDamaged, match=r"champion\.json"):
            call()


def test_evidence_that_is_no_json_is_refused_before_anything_is_written(tmp_path):
    objects = LocalObjectStore(tmp_path)
    with pytest.raises(ValueError, match="NaN"):
        ModelRegistry(objects).record_decision(
            kind="rejected",
            model_id="m",
            as_of=DAY,
            champion_id=None,
            who="w",
            reason="r",
            evidence={"auc": float("nan")},
        )
    assert list(objects.list_keys()) == []
