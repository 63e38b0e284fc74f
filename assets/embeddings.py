"""The asset `ctr_embeddings`: the window's vocabulary and a CTR model's embedding table; graphs are built elsewhere."""

from datetime import date
from functools import partial
from pathlib import Path
from typing import Any

import dagster as dg

from assets.declaration import chain_asset
from assets.forms import pretraining_form
from assets.partitions import GPU_POOL, MODEL_GROUP, window_before
from assets.resources import Platform
from assets.step_pods import LOCAL, StepPods
from assets.training_children import trained
from assets.training_runs import (
    base_train_spec,
    final_refusals,
    read_json,
    training_days,
    training_window,
    window_metadata,
)
from infra.artifacts import Manifest
from ml.data.dataset import DatasetSpec

NAME = "ctr_embeddings"
TABLE_FILE = "table.safetensors"


def build(spec: DatasetSpec, pods: StepPods = LOCAL) -> list[dg.AssetsDefinition]:
    """The asset `ctr_embeddings` of a dataset."""
    form = pretraining_form(spec)

    @chain_asset(
        spec,
        group=MODEL_GROUP,
        name=NAME,
        deps=[dg.AssetDep("validated_samples", partition_mapping=window_before(spec))],
        kinds={"pytorch"},
        pool=GPU_POOL,
        op_tags=pods.training,
        retry_policy=pods.retry_policy,
        description="Vocabulary of the training window (rare ids are out-of-vocabulary) and the embedding table of a "
        "CTR model pre-trained on all its impressions. The as-of day itself is never read.",
    )
    def ctr_embeddings(
        context: dg.AssetExecutionContext,
        platform: dg.ResourceParam[Platform],
        config: form,  # pyright: ignore
    ) -> dg.MaterializeResult[Any]:
        as_of = date.fromisoformat(context.partition_key)
        with final_refusals(), platform.scratch(NAME) as folder:
            window = training_window(platform, as_of=as_of, policy=config.policy(spec))
            changes = {
                "task": "ctr_pretraining",
                "model": {"name": "ctr", "embedding_size": spec.training.embedding_dim},
                "epochs": config.epochs or spec.training.pretraining_epochs,
                "seed": spec.training.seed if config.seed is None else config.seed,
                # The table is of all impressions: the graphs compare users and items as they are.
                "negatives_per_click": None,
                "task_ratio": None,
            }
            days = training_days(platform, window)
            train = base_train_spec(platform, spec, as_of=as_of, days=days, changes=changes)
            identity, key = train.identity(), f"{NAME}/{as_of.isoformat()}"

            def find() -> Manifest | None:
                known = platform.artifacts.find(key)
                return known if known is not None and known.metadata.get("identity") == identity else None

            def publish(out: Path) -> Manifest:
                facts = {
                    "identity": identity,
                    "receipts": {day.day.isoformat(): day.receipt_id for day in days},
                    "pretraining": read_json(out / "pretraining.json"),
                }
                return platform.artifacts.publish_directory(key, out, metadata=facts)

            known, is_new = trained(
                platform,
                train,
                find=find,
                publish=publish,
                run_id=context.run.run_id,
                folder=folder,
                log=partial(context.log.info, extra={"model_id": identity}),
                labels={"dataset": spec.name, "asset": NAME, "partition": context.partition_key},
            )
        return dg.MaterializeResult(
            metadata={
                "trained": is_new,
                "embedding_id": identity,
                **window_metadata(window),
                "pretraining": known.metadata["pretraining"],
            }
        )

    return [ctr_embeddings]
