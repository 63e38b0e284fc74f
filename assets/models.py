"""The asset `cvr_model`: one multi-task model trained on the window; judging it belongs to `evaluation`."""

from collections.abc import Mapping
from datetime import date
from functools import partial
from pathlib import Path
from typing import Any

import dagster as dg

from assets.declaration import chain_asset
from assets.embeddings import NAME as EMBEDDINGS
from assets.embeddings import TABLE_FILE
from assets.forms import model_form
from assets.graphs import GRAPH_FILE
from assets.partitions import GPU_POOL, MODEL_GROUP, window_before
from assets.resources import DataRefused, Platform
from assets.step_pods import LOCAL, StepPods
from assets.tracking import mirror_training
from assets.training_children import trained
from assets.training_runs import (
    base_train_spec,
    final_refusals,
    read_json,
    training_days,
    training_window,
    window_metadata,
)
from infra.artifacts import Artifact, Manifest
from ml.code_version import code_version
from ml.data.dataset import DatasetSpec
from ml.data.window import TrainingWindow
from ml.training.spec import TrainSpec

NAME = "cvr_model"
POINTER_FILE = "model.json"


def model_key(model_id: str) -> str:
    """Store key of a model bundle: named by what it was made from, not by when."""
    return f"models/{model_id}"


def build(spec: DatasetSpec, pods: StepPods = LOCAL) -> list[dg.AssetsDefinition]:
    """The asset `cvr_model` of a dataset."""
    form = model_form(spec)

    @chain_asset(
        spec,
        group=MODEL_GROUP,
        name=NAME,
        deps=[
            dg.AssetDep("validated_samples", partition_mapping=window_before(spec)),
            EMBEDDINGS,
            "user_graph",
            "item_graph",
        ],
        kinds={"pytorch"},
        pool=GPU_POOL,
        op_tags=pods.training,
        retry_policy=pods.retry_policy,
        description="The conversion model as of the day, trained on the admitted days before it. Its model_id is a "
        "hash of the settings, the receipts of its inputs and the code: what exists is not trained twice.",
    )
    def cvr_model(
        context: dg.AssetExecutionContext,
        platform: dg.ResourceParam[Platform],
        config: form,  # pyright: ignore
    ) -> dg.MaterializeResult[Any]:
        as_of = date.fromisoformat(context.partition_key)
        with final_refusals(), platform.scratch(NAME) as folder:
            window = training_window(platform, as_of=as_of, policy=config.policy(spec))
            settings = {**config.training_settings(spec), "model": config.model_settings(spec)}
            train = conversion_train_spec(platform, spec, as_of=as_of, window=window, settings=settings)
            model_id = train.identity()

            def publish(out: Path) -> Manifest:
                facts = _facts(train, window, exit_record=read_json(out / "exit.json"))
                manifest = platform.artifacts.publish_directory(model_key(model_id), out / "bundle", metadata=facts)
                mirror_training(platform, model_id, log=context.log.warning)
                return manifest

            known, is_new = trained(
                platform,
                train,
                find=lambda: platform.artifacts.find(model_key(model_id)),
                publish=publish,
                run_id=context.run.run_id,
                folder=folder,
                # Each of the child's lines names the model that it trains.
                log=partial(context.log.info, extra={"model_id": model_id}),
                labels={"dataset": spec.name, "asset": NAME, "partition": context.partition_key},
            )
            pointer = folder / POINTER_FILE
            pointer.write_text(f'{{"model_id": "{model_id}"}}\n', encoding="utf-8")
            platform.artifacts.publish(
                f"{NAME}/{as_of.isoformat()}", {POINTER_FILE: pointer}, metadata={"model_id": model_id}
            )
        shown = {name: known.metadata[name] for name in ("model", "epochs", "seed", "exit")}
        return dg.MaterializeResult(
            metadata={"model_id": model_id, "trained": is_new, **window_metadata(window), **shown}
        )

    return [cvr_model]


def conversion_train_spec(
    platform: Platform, spec: DatasetSpec, *, as_of: date, window: TrainingWindow, settings: Mapping[str, Any]
) -> TrainSpec:
    """The training run of a conversion model on the window: embeddings and graphs are those made as of the day.

    settings: the training settings and `model`. Raises DataRefused where the inputs do not belong together, and
    ArtifactMissing naming the asset to materialize.
    """
    embeddings = _input(platform, EMBEDDINGS, as_of)
    user_graph, item_graph = _input(platform, "user_graph", as_of), _input(platform, "item_graph", as_of)
    _require_same_days(embeddings, window)
    for graph in (user_graph, item_graph):
        if graph.manifest.metadata["embedding_id"] != embeddings.manifest.metadata["identity"]:
            raise DataRefused(
                f"{graph.manifest.key} was built from embeddings {str(graph.manifest.metadata['embedding_id'])[:12]}, "
                f"but {EMBEDDINGS} now holds {str(embeddings.manifest.metadata['identity'])[:12]}; materialize the "
                "graph again"
            )
    changes = {
        "task": "cvr",
        **settings,
        "inputs": {
            "vocabulary_dir": embeddings.directory() / "vocabulary",
            # Versions are of content alone: a log with timings beside a table does not make another model.
            "vocabulary_version": _content(embeddings, "vocabulary/"),
            "user_graph_dir": user_graph.directory(),
            "user_graph_version": _content(user_graph, GRAPH_FILE),
            "item_graph_dir": item_graph.directory(),
            "item_graph_version": _content(item_graph, GRAPH_FILE),
            "embedding_table": embeddings.path(TABLE_FILE),
            "embedding_version": _content(embeddings, TABLE_FILE),
        },
    }
    return base_train_spec(platform, spec, as_of=as_of, days=training_days(platform, window), changes=changes)


def _input(platform: Platform, asset: str, as_of: date) -> Artifact:
    remedy = f"materialize {asset} of {as_of.isoformat()}"
    return platform.artifacts.open(f"{asset}/{as_of.isoformat()}", remedy=remedy)


def _content(artifact: Artifact, prefix: str) -> str:
    """Hashes of the artifact's files whose names begin with `prefix`."""
    hashes = [entry.sha256 for name, entry in sorted(artifact.manifest.files.items()) if name.startswith(prefix)]
    if not hashes:
        raise DataRefused(f"{artifact.manifest.key} holds no {prefix}; materialize it again")
    return "+".join(hashes)


def _require_same_days(embeddings: Artifact, window: TrainingWindow) -> None:
    """A day restated since the embeddings were made would join two versions of it in one model."""
    seen: Any = embeddings.manifest.metadata["receipts"]
    restated = [
        day.isoformat() for day, receipt_id in window.days if seen.get(day.isoformat(), receipt_id) != receipt_id
    ]
    if restated:
        raise DataRefused(
            f"{embeddings.manifest.key} was made from other receipts of {', '.join(restated)}; materialize "
            f"{EMBEDDINGS}, user_graph and item_graph of this day again, then cvr_model"
        )


def _facts(train: TrainSpec, window: TrainingWindow, *, exit_record: dict[str, Any]) -> dict[str, Any]:
    settings = train.model_dump(mode="json", exclude={"runtime", "inputs", "days", "fields"})
    return {
        **settings,
        "receipts": {day.isoformat(): receipt_id for day, receipt_id in window.days},
        "missing_days": {day.isoformat(): why for day, why in window.missing},
        "code_version": code_version(),
        "exit": exit_record,
    }


def read_pointer(platform: Platform, as_of: date) -> str:
    """The model_id that `cvr_model` of `as_of` stands for now."""
    artifact = _input(platform, NAME, as_of)
    return str(read_json(Path(artifact.path(POINTER_FILE)))["model_id"])
