"""All assets of the chain for one dataset, in chain order."""

import dagster as dg

from assets import embeddings, evaluation, graphs, joined, models, promotion, raw_logs, validated
from ml.data.dataset import DatasetSpec


def build_chain(spec: DatasetSpec) -> list[dg.AssetsDefinition]:
    """From raw logs to the promoted model."""
    stages = (raw_logs, joined, validated, embeddings, graphs, models, evaluation, promotion)
    return [asset for stage in stages for asset in stage.build(spec)]
