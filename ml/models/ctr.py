"""The CTR model that is pre-trained for its embedding table, which the similarity graphs are made of."""

from __future__ import annotations

import torch
from torch.nn import functional

from ml.data.batches import Batch
from ml.data.layout import FeatureLayout
from ml.models.configs.ctr import Config
from ml.models.contract import ConversionModel, Losses, Predictions
from ml.models.layers.embedding import FusedEmbedding
from ml.models.layers.node_graph import Graphs
from ml.models.layers.tower import Head, Tower
from ml.models.losses import click_loss


class Model(ConversionModel):
    """CTR pre-training (CSTWA section 3.2): embedding → concatenation → click tower → sigmoid, on all impressions.

    It has no conversion head: its log p_cvr is 0 (p_ctcvr = p_ctr, the upper bound), and nothing reads it.
    """

    def __init__(self, config: Config, layout: FeatureLayout, *, graphs: Graphs | None = None) -> None:
        super().__init__(config, layout, graphs=graphs)
        self.embedding = FusedEmbedding(layout, size=config.embedding_size, std=config.embedding_std)
        self.ctr_tower = Tower(self.embedding.width, widths=config.tower_widths, dropout=config.tower_dropout)
        self.ctr_head = Head(self.ctr_tower.width)

    def forward(self, batch: Batch) -> Predictions:
        logit = self.ctr_head(self.ctr_tower(self.embedding(batch)))
        return Predictions(logit, torch.zeros_like(logit), functional.logsigmoid(logit))

    def loss(self, predictions: Predictions, batch: Batch) -> Losses:
        click = click_loss(predictions.ctr_logit, batch.click)
        return Losses(click, {"click": click.detach()})
