"""All assets of the chain for one dataset, in chain order."""

import dagster as dg

from assets import embeddings, evaluation, graphs, joined, models, promotion, raw_logs, validated
from assets.step_pods import LOCAL, StepPods
from ml.data.dataset import DatasetSpec


def build_chain(spec: DatasetSpec, *, pods: StepPods = LOCAL) -> list[dg.AssetsDefinition]:
    """From raw logs to the promoted model; `pods` is what their steps ask for where each runs in a pod."""
    stages = (raw_logs, joined, validated, embeddings, graphs, models, evaluation, promotion)
    return [asset for stage in stages for asset in stage.build(spec, pods)]
