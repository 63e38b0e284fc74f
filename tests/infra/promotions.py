"""Promotions for tests of the registry: made without ceremony, and told in short."""

from datetime import date

from infra.registry import Champion, ModelRegistry

DAY = date(2026, 1, 10)


def promote(registry: ModelRegistry, model_id: str, expected: str | None, *, as_of: date = DAY) -> Champion:
    return registry.promote(
        model_id=model_id,
        as_of=as_of,
        expected_model_id=expected,
        who="ada",
        reason=f"{model_id} is better",
        evidence={"auc_cvr": {"low": 0.01, "high": 0.03}, "of": model_id},
    )


def told(registry: ModelRegistry) -> list[tuple[str, str, bool | None]]:
    """Kind, model and effect of every decision, in order."""
    return [(decision.kind, decision.model_id, decision.took_effect) for decision in registry.history()]
