"""The assets `user_graph` and `item_graph`: who is similar to whom by the pre-trained embeddings; models read them."""

from datetime import date
from typing import Any, Literal

import dagster as dg

from assets.declaration import chain_asset
from assets.embeddings import NAME as EMBEDDINGS
from assets.embeddings import TABLE_FILE
from assets.partitions import MODEL_GROUP
from assets.receipts import admitted_samples
from assets.resources import Platform
from assets.step_pods import LOCAL, StepPods
from assets.training_runs import final_refusals, read_json, run_child
from ml.data.dataset import DatasetSpec
from ml.graphs.spec import GraphDay, GraphSpec

GRAPH_FILE = "graph.safetensors"


def build(spec: DatasetSpec, pods: StepPods = LOCAL) -> list[dg.AssetsDefinition]:
    """Both graph assets of a dataset."""
    return [_graph_asset(spec, pods, "user"), _graph_asset(spec, pods, "item")]


def _graph_asset(spec: DatasetSpec, pods: StepPods, side: Literal["user", "item"]) -> dg.AssetsDefinition:
    name = f"{side}_graph"

    @chain_asset(
        spec,
        group=MODEL_GROUP,
        name=name,
        deps=[EMBEDDINGS],
        kinds={"faiss"},
        op_tags=pods.other,
        retry_policy=pods.retry_policy,
        description=f"Each {side}'s {spec.training.graph_neighbours} most similar {side}s by cosine of their CTR "
        "embeddings, symmetrically normalised, stored sparse (CSTWA, section 3.3).",
    )
    def graph(context: dg.AssetExecutionContext, platform: dg.ResourceParam[Platform]) -> dg.MaterializeResult[Any]:
        as_of = date.fromisoformat(context.partition_key)
        with final_refusals(), platform.scratch(name) as folder:
            remedy = f"materialize {EMBEDDINGS} of {as_of.isoformat()}"
            embeddings = platform.artifacts.open(f"{EMBEDDINGS}/{as_of.isoformat()}", remedy=remedy)
            graph_spec = GraphSpec(
                side=side,
                table=embeddings.path(TABLE_FILE),
                vocabulary_dir=embeddings.directory() / "vocabulary",
                days=tuple(_days(platform, embeddings.manifest.metadata["receipts"])),
                encoded_cache=platform.encoded_cache,
                k=spec.training.graph_neighbours,
                threads=platform.threads,
            )
            out = run_child(platform, "graph", graph_spec, folder=folder, log=context.log.info)
            facts = {"embedding_id": embeddings.manifest.metadata["identity"], "graph": read_json(out / "graph.json")}
            platform.artifacts.publish_directory(f"{name}/{as_of.isoformat()}", out, metadata=facts)
        return dg.MaterializeResult(metadata=facts)

    return graph


def _days(platform: Platform, receipts: Any) -> list[GraphDay]:
    days = []
    for day, receipt_id in sorted(receipts.items()):
        samples, receipt = admitted_samples(platform, date.fromisoformat(day), receipt_id=receipt_id)
        days.append(GraphDay(day=date.fromisoformat(day), samples=samples, content_id=receipt.content_sha256))
    return days
