"""Carrying out the gate's decision: the champion moves only as judged, and a comparison gone stale ends for good."""

from collections.abc import Callable
from datetime import date
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import dagster as dg
import pytest

from assets.promotion import build as build_promotion
from assets.resources import Platform
from infra.registry import Champion
from ml.data.dataset import DatasetSpec

AS_OF = date(2026, 1, 9)


class Judged(SimpleNamespace):
    """Stands for `Evaluation`: what promotion reads of it, from JSON."""

    @staticmethod
    def from_json(text: str) -> SimpleNamespace:
        challenger, champion, decision = text.split()
        rival = None if champion == "none" else SimpleNamespace(model=SimpleNamespace(model_id=champion))
        return SimpleNamespace(
            challenger=SimpleNamespace(model=SimpleNamespace(model_id=challenger)),
            champion=rival,
            decision=SimpleNamespace(decision=decision, reasons=("because", "it is so"), rules=()),
        )


def _history_entry(platform: Platform, spec: DatasetSpec, *, warn: Callable[[str], None]) -> dg.MetadataValue[Any]:
    newest = platform.registry.history()[-1]
    return dg.MetadataValue.path(f"page after decision {newest.decision_id}, {newest.kind}")


@pytest.fixture
def promote(
    platform: Platform,
    spec: DatasetSpec,
    instance: dg.DagsterInstance,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> Callable[..., dg.ExecuteInProcessResult]:
    """promote(challenger, champion, decision, as_of): runs the asset on such an evaluation."""
    monkeypatch.setattr("ml.evaluation.evaluate.Evaluation", Judged)
    # Of such evaluations no page can be drawn; what the page shows is test_model_history's.
    monkeypatch.setattr("assets.promotion.history_entry", _history_entry)

    def run(challenger: str, champion: str, decision: str, *, as_of: date = AS_OF) -> dg.ExecuteInProcessResult:
        (tmp_path / "evaluation.json").write_text(f"{challenger} {champion} {decision}")
        files = {"evaluation.json": tmp_path / "evaluation.json"}
        platform.artifacts.publish(f"evaluation_report/{as_of}", files, metadata={})
        return dg.materialize(
            build_promotion(spec),
            partition_key=as_of.isoformat(),
            instance=instance,
            resources={"platform": dg.ResourceDefinition.hardcoded_resource(platform)},
            raise_on_error=False,
        )

    return run


def refusal(result: dg.ExecuteInProcessResult) -> str:
    [failure] = [event for event in result.all_events if event.is_step_failure]
    told = failure.step_failure_data.user_failure_data
    assert told is not None, "not a final failure"
    assert not any(event.is_step_up_for_retry for event in result.all_events)
    return str(told.description)


def champion(platform: Platform) -> Champion:
    found = platform.registry.champion()
    assert found is not None
    return found


def test_a_promoted_model_becomes_champion_with_its_evidence(platform: Platform, promote: Callable[..., Any]):
    result = promote("first", "none", "promoted")
    assert result.success
    now = champion(platform)
    assert (now.model_id, now.as_of, now.reason) == ("first", AS_OF, "because it is so")
    assert now.promoted_by == f"dagster run {result.run_id}"
    manifest = platform.artifacts.find(f"evaluation_report/{AS_OF}")
    assert manifest is not None
    assert now.evidence["evaluation"] == manifest.version


@pytest.mark.parametrize("decision", ["rejected", "insufficient_evidence"])
def test_any_other_decision_is_recorded_and_leaves_the_champion(
    platform: Platform, promote: Callable[..., Any], decision: str
):
    promote("first", "none", "promoted")
    before = champion(platform)
    result = promote("second", "first", decision)
    assert result.success
    assert champion(platform) == before
    entry = platform.registry.history()[-1]
    assert (entry.kind, entry.model_id, entry.champion_id, entry.reason) == (
        decision,
        "second",
        "first",
        "because it is so",
    )
    [shown] = result.asset_materializations_for_node("promoted_model")
    assert shown.metadata["decision"].value == decision
    assert shown.metadata["champion"].value == "first"
    records = [record.data for record in shown.metadata["history"].value.records]
    assert [(record["kind"], record["model"]) for record in records] == [(decision, "second"), ("promoted", "first")]
    assert {record["reason"] for record in records} == {"because it is so"}


def test_a_comparison_with_a_champion_of_yesterday_is_a_final_failure(platform: Platform, promote: Callable[..., Any]):
    promote("first", "none", "promoted")
    promote("second", "first", "promoted")
    told = refusal(promote("third", "first", "promoted"))
    assert "second" in told
    assert f"materialize evaluation_report of {AS_OF} again" in told
    assert champion(platform).model_id == "second"


def test_a_promotion_back_in_time_is_a_final_failure(platform: Platform, promote: Callable[..., Any]):
    promote("newer", "none", "promoted")
    told = refusal(promote("older", "newer", "promoted", as_of=date(2026, 1, 8)))
    assert "2026-01-08" in told
    assert champion(platform).model_id == "newer"


def test_the_same_promotion_again_changes_nothing(platform: Platform, promote: Callable[..., Any]):
    promote("first", "none", "promoted")
    history = platform.registry.history()
    assert promote("first", "none", "promoted").success
    assert platform.registry.history() == history


def test_the_champion_judged_again_stays_and_nothing_is_recorded(platform: Platform, promote: Callable[..., Any]):
    promote("first", "none", "promoted")
    before, history = champion(platform), platform.registry.history()
    result = promote("first", "none", "unchanged")
    assert result.success
    [shown] = result.asset_materializations_for_node("promoted_model")
    assert (shown.metadata["decision"].value, shown.metadata["champion"].value) == ("unchanged", "first")
    assert (champion(platform), platform.registry.history()) == (before, history)


@pytest.mark.parametrize(("now", "named"), [(["first", "second"], "second"), ([], "none")])
def test_a_champion_replaced_since_it_was_judged_is_a_final_failure(
    platform: Platform, promote: Callable[..., Any], now: list[str], named: str
):
    for rival, model in zip(["none", *now], now, strict=False):
        promote(model, rival, "promoted")
    told = refusal(promote("first", "none", "unchanged"))
    assert f"is now {named}" in told
    assert f"materialize evaluation_report of {AS_OF} again" in told


def test_without_an_evaluation_there_is_nothing_to_carry_out(
    platform: Platform, spec: DatasetSpec, instance: dg.DagsterInstance
):
    result = dg.materialize(
        build_promotion(spec),
        partition_key=AS_OF.isoformat(),
        instance=instance,
        resources={"platform": dg.ResourceDefinition.hardcoded_resource(platform)},
        raise_on_error=False,
    )
    assert "materialize evaluation_report of 2026-01-09" in refusal(result)
    assert platform.registry.champion() is None


@pytest.mark.parametrize("decision", ["promoted", "rejected", "insufficient_evidence", "unchanged"])
def test_every_decision_is_followed_by_the_page_that_shows_it(promote: Callable[..., Any], decision: str):
    promote("first", "none", "promoted")
    model = "first" if decision == "unchanged" else "second"
    [shown] = promote(model, "first", decision).asset_materializations_for_node("promoted_model")
    told = "00000001, promoted" if decision == "unchanged" else f"00000002, {decision}"
    assert shown.metadata["history_page"].value == f"page after decision {told}"
