"""The asset `evaluation_report`: the model judged on its as-of day, which it never saw; promotion acts on it later."""

from datetime import date, timedelta
from pathlib import Path
from typing import Any

import dagster as dg

from assets.declaration import chain_asset
from assets.evaluation_metadata import evaluation_metadata, evaluation_numbers
from assets.models import NAME as MODEL
from assets.models import model_key, read_pointer
from assets.partitions import MODEL_GROUP
from assets.receipts import (
    SAMPLES_FILE,
    day_standing,
    read_receipt,
    read_receipts,
    restated_since_training,
    validated_key,
)
from assets.report_facts import report_facts
from assets.resources import DataRefused, Platform
from assets.step_pods import LOCAL, StepPods
from assets.tracking import mirror_evaluation
from assets.training_runs import final_refusals, read_json, run_child
from data_checks.receipts import Receipt
from infra.artifacts import Artifact
from ml.data.dataset import DatasetSpec, Synthetic
from ml.scoring_spec import ScoreSpec

NAME = "evaluation_report"
EVALUATION_FILE = "evaluation.json"
REPORT_FILE = "report.html"
FACTS_FILE = "report.json"


def build(spec: DatasetSpec, pods: StepPods = LOCAL) -> list[dg.AssetsDefinition]:
    """The asset `evaluation_report` of a dataset."""

    @chain_asset(
        spec,
        group=MODEL_GROUP,
        name=NAME,
        deps=[MODEL, "validated_samples"],
        kinds={"html"},
        op_tags=pods.other,
        retry_policy=pods.retry_policy,
        description="How the model does on the as-of day, which it never saw, against the champion on the same rows: "
        "metrics, pictures, and the gate's decision with every rule, value and bound.",
    )
    def evaluation_report(
        context: dg.AssetExecutionContext, platform: dg.ResourceParam[Platform]
    ) -> dg.MaterializeResult[Any]:
        as_of = date.fromisoformat(context.partition_key)
        with final_refusals(), platform.scratch(NAME) as folder:
            evaluation, pictures = _evaluate(platform, spec, as_of, folder=folder, log=context.log.info)
            files = {name: folder / name for name in (EVALUATION_FILE, REPORT_FILE, FACTS_FILE)}
            manifest = platform.artifacts.publish(
                f"{NAME}/{as_of.isoformat()}",
                files,
                metadata={"model_id": evaluation.challenger.model.model_id, "decision": evaluation.decision.decision},
            )
            report = platform.address(f"{manifest.folder}/{REPORT_FILE}")
            rules = [rule.model_dump(mode="json") for rule in evaluation.decision.rules]
            mirror_evaluation(
                platform,
                model_id=evaluation.challenger.model.model_id,
                as_of=as_of.isoformat(),
                config={"decision": evaluation.decision.decision, **evaluation_numbers(evaluation)},
                rows=[{name: str(value) for name, value in rule.items()} for rule in rules],
                log=context.log.warning,
            )
        return dg.MaterializeResult(
            metadata=evaluation_metadata(evaluation, report=report, rules=rules, pictures=pictures)
        )

    return [evaluation_report]


def _evaluate(platform: Platform, spec: DatasetSpec, as_of: date, *, folder: Path, log: Any) -> tuple[Any, Any]:
    from ml.evaluation.evaluate import evaluate
    from ml.evaluation.evaluated_day import ModelFacts
    from ml.evaluation.gate import GateFacts
    from ml.report.page import render

    receipt, samples = _judged_day(platform, as_of)
    model_id = read_pointer(platform, as_of)
    bundle = platform.artifacts.open(model_key(model_id), remedy=f"materialize {MODEL} of {as_of.isoformat()}")
    scored = _score(platform, bundle, samples, receipt, folder=folder / "challenger", log=log)
    champion = platform.registry.champion()
    is_champion = champion is not None and champion.model_id == model_id
    rival, rival_bundle, rival_trained_on = None, None, {}
    if champion is not None and not is_champion:
        rival_bundle = platform.artifacts.open(model_key(champion.model_id))
        rival_scores = _score(platform, rival_bundle, samples, receipt, folder=folder / "champion", log=log)
        rival_trained_on: Any = rival_bundle.manifest.metadata["receipts"]
        rival = (ModelFacts(**_model_facts(rival_bundle)), rival_scores / "predictions.parquet")
    trained_on: Any = bundle.manifest.metadata["receipts"]
    standings = {day: day_standing(platform, date.fromisoformat(day)) for day in trained_on}
    evaluation = evaluate(
        predictions=scored / "predictions.parquet",
        model=ModelFacts(**_model_facts(bundle)),
        champion=rival,
        truth=_truth(platform, spec, as_of),
        gate=spec.gate,
        facts=GateFacts(
            mature=receipt.labels_mature,
            mature_from=None if receipt.labels_mature else as_of + timedelta(days=spec.label_days + 1),
            judged_day_admitted=day_standing(platform, as_of).admitted,
            inputs_admitted=all(standing.admitted for standing in standings.values()),
            judged_day_in_training=as_of.isoformat() in trained_on,
            smoke_test_max_difference=read_json(scored / "score.json")["smoke_test_max_difference"],
            stale_inputs=restated_since_training(platform, trained_on),
            champion_stale_inputs=restated_since_training(platform, rival_trained_on),
            is_champion=is_champion,
        ),
        samples=samples,
        fields=[field.name for field in spec.fields if field.kind in ("category", "number")],
        base_rates=_base_rates(read_receipts(platform, map(date.fromisoformat, trained_on))),
    )
    (folder / EVALUATION_FILE).write_text(evaluation.to_json(), encoding="utf-8")
    report = render(
        evaluation=evaluation,
        predictions=scored / "predictions.parquet",
        champion_predictions=rival[1] if rival else None,
        training_metrics=bundle.path("metrics.jsonl"),
        facts=report_facts(
            platform,
            spec,
            as_of=as_of,
            receipt=receipt,
            samples=samples,
            bundle=bundle,
            champion=rival_bundle,
            restated=evaluation.facts.stale_inputs,
            mature_from=evaluation.facts.mature_from,
            folder=folder,
            log=log,
        ),
        out=folder / REPORT_FILE,
    )
    return evaluation, report.pictures


def _judged_day(platform: Platform, as_of: date) -> tuple[Receipt, Path]:
    receipt = read_receipt(platform, as_of)
    if receipt is None or receipt.admitted == 0:
        why = (
            "has no receipt"
            if receipt is None
            else f"has no admitted rows ({'; '.join(receipt.reasons) or receipt.verdict})"
        )
        raise DataRefused(f"the judged day {as_of} {why}; materialize its data assets, or choose another as-of day")
    return receipt, platform.artifacts.open(validated_key(as_of)).path(SAMPLES_FILE)


def _score(platform: Platform, bundle: Artifact, samples: Path, receipt: Receipt, *, folder: Path, log: Any) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    score = ScoreSpec(
        bundle_dir=bundle.directory(),
        samples=samples,
        content_sha256=receipt.content_sha256,
        threads=platform.threads,
        encoded_cache=platform.encoded_cache,
    )
    return run_child(platform, "score", score, folder=folder, log=log)


def _model_facts(bundle: Artifact) -> dict[str, Any]:
    facts: Any = bundle.manifest.metadata
    return {
        "model_id": bundle.manifest.key.removeprefix(model_key("")),
        "model": facts["model"]["name"],
        "as_of": facts["as_of"],
        "training_days": tuple(facts["receipts"]),
    }


def _truth(platform: Platform, spec: DatasetSpec, day: date) -> Path | None:
    if not isinstance(spec.source, Synthetic):
        return None
    from ml.data.sources.generated import truth_file

    return truth_file(config=spec.source.config, root=platform.feed_root, day=day)


def _base_rates(receipts: list[Receipt]) -> dict[Any, float]:
    """Shares of positives over the training days: what a predictor without a model would say of the judged day."""
    impressions, clicks = sum(r.admitted for r in receipts), sum(r.clicks for r in receipts)
    conversions = sum(r.conversions for r in receipts)
    rates = {"ctr": (clicks, impressions), "cvr": (conversions, clicks), "ctcvr": (conversions, impressions)}
    return {task: positives / rows for task, (positives, rows) in rates.items() if rows}
