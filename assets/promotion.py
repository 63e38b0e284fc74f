"""The asset `promoted_model`: carries out the gate's decision on the champion pointer; it decides nothing itself."""

import textwrap
from datetime import UTC, date
from typing import Any

import dagster as dg

from assets.declaration import chain_asset
from assets.evaluation import EVALUATION_FILE
from assets.evaluation import NAME as EVALUATION
from assets.model_history import history_entry
from assets.partitions import MODEL_GROUP
from assets.resources import Platform
from assets.step_pods import LOCAL, StepPods
from assets.training_runs import final_refusals
from infra.registry import BackwardPromotion, Champion, StaleComparison
from ml.data.dataset import DatasetSpec

NAME = "promoted_model"
#: Of decisions as the asset's page shows them; `history_page` has them whole.
_SHOWN_DECISIONS, _SHOWN_ID, _SHOWN_REASON = 50, 12, 90


def build(spec: DatasetSpec, pods: StepPods = LOCAL) -> list[dg.AssetsDefinition]:
    """The asset `promoted_model` of a dataset."""

    @chain_asset(
        spec,
        group=MODEL_GROUP,
        name=NAME,
        deps=[EVALUATION],
        kinds={"registry"},
        op_tags=pods.other,
        description="The champion after the day's decision: moved to the new model only on evidence, by "
        "compare-and-swap, never back to an older as-of day. Every decision is kept with who, when, why and numbers.",
    )
    def promoted_model(
        context: dg.AssetExecutionContext, platform: dg.ResourceParam[Platform]
    ) -> dg.MaterializeResult[Any]:
        as_of = date.fromisoformat(context.partition_key)
        with final_refusals():
            champion, decision = _carry_out(platform, as_of, who=f"dagster run {context.run.run_id}")
        page = history_entry(platform, spec, warn=context.log.warning)
        return dg.MaterializeResult(
            metadata={
                "decision": decision,
                "champion": champion.model_id if champion else "none yet",
                "champion_as_of": champion.as_of.isoformat() if champion else "none yet",
                "history": _history(platform),
                "history_page": page,
            }
        )

    return [promoted_model]


def _carry_out(platform: Platform, as_of: date, *, who: str) -> tuple[Champion | None, str]:
    from ml.evaluation.evaluate import Evaluation

    artifact = platform.artifacts.open(f"{EVALUATION}/{as_of}", remedy=f"materialize {EVALUATION} of {as_of}")
    evaluation = Evaluation.from_json(artifact.path(EVALUATION_FILE).read_text(encoding="utf-8"))
    model_id = evaluation.challenger.model.model_id
    rival = evaluation.champion.model.model_id if evaluation.champion else None
    evidence = {
        "evaluation": artifact.manifest.version,
        "rules": [rule.model_dump(mode="json") for rule in evaluation.decision.rules],
    }
    reason = " ".join(evaluation.decision.reasons)
    decision = evaluation.decision.decision
    if decision == "unchanged":
        champion = platform.registry.champion()
        if champion is None or champion.model_id != model_id:
            found = champion.model_id if champion else "none"
            raise dg.Failure(
                description=f"model {model_id} was the champion when it was judged, and the champion is now {found}; "
                f"materialize {EVALUATION} of {as_of} again to compare with it",
                allow_retries=False,
            )
        return champion, decision
    if decision != "promoted":
        platform.registry.record_decision(
            kind=decision,
            model_id=model_id,
            as_of=as_of,
            champion_id=rival,
            who=who,
            reason=reason,
            evidence=evidence,
        )
        return platform.registry.champion(), decision
    try:
        promoted = platform.registry.promote(
            model_id=model_id, as_of=as_of, expected_model_id=rival, who=who, reason=reason, evidence=evidence
        )
    except (StaleComparison, BackwardPromotion) as refusal:
        raise dg.Failure(
            description=f"{refusal}; materialize {EVALUATION} of {as_of} again to compare with the present champion",
            allow_retries=False,
        ) from refusal
    return promoted, decision


def _history(platform: Platform) -> dg.TableMetadataValue:
    """The newest decisions, a line or two each: a cell that holds a long text makes its row taller than the window."""
    records = [
        dg.TableRecord(
            {
                "at": f"{entry.at.astimezone(UTC):%Y-%m-%d %H:%M}",
                "kind": entry.kind,
                "as_of": entry.as_of.isoformat(),
                "model": entry.model_id[:_SHOWN_ID],
                "who": entry.who,
                "reason": textwrap.shorten(entry.reason, _SHOWN_REASON, placeholder=" …"),
            }
        )
        for entry in reversed(platform.registry.history()[-_SHOWN_DECISIONS:])
    ]
    names = ("at", "kind", "as_of", "model", "who", "reason")
    return dg.TableMetadataValue(
        records=records, schema=dg.TableSchema(columns=[dg.TableColumn(name, "string") for name in names])
    )
