"""The MLP baseline: two networks that share nothing, the conversion one trained on clicked samples."""

from __future__ import annotations

from ml.data.batches import Batch
from ml.data.layout import FeatureLayout
from ml.models.configs.mlp import Config
from ml.models.contract import ConversionModel, Losses, Predictions
from ml.models.layers.embedding import FusedEmbedding
from ml.models.layers.node_graph import Graphs
from ml.models.layers.tower import Head, Tower
from ml.models.losses import click_loss, clicked_conversion_loss


class Model(ConversionModel):
    """One embedding, tower and head per task; L = BCE(y, p_ctr) + BCE(z, p_cvr) over the clicked (MODELS.md)."""

    def __init__(self, config: Config, layout: FeatureLayout, *, graphs: Graphs | None = None) -> None:
        super().__init__(config, layout, graphs=graphs)
        size, std = config.embedding_size, config.embedding_std
        widths, dropout = config.tower_widths, config.tower_dropout
        self.ctr_embedding = FusedEmbedding(layout, size=size, std=std)
        self.cvr_embedding = FusedEmbedding(layout, size=size, std=std)
        self.ctr_tower = Tower(self.ctr_embedding.width, widths=widths, dropout=dropout)
        self.cvr_tower = Tower(self.cvr_embedding.width, widths=widths, dropout=dropout)
        self.ctr_head = Head(self.ctr_tower.width)
        self.cvr_head = Head(self.cvr_tower.width)

    def forward(self, batch: Batch) -> Predictions:
        ctr_logit = self.ctr_head(self.ctr_tower(self.ctr_embedding(batch)))
        cvr_logit = self.cvr_head(self.cvr_tower(self.cvr_embedding(batch)))
        return Predictions.of_product(ctr_logit, cvr_logit)

    def loss(self, predictions: Predictions, batch: Batch) -> Losses:
        click = click_loss(predictions.ctr_logit, batch.click)
        conversion = clicked_conversion_loss(predictions.extras["cvr_logit"], batch.click, batch.conversion)
        return Losses(click + conversion, {"click": click.detach(), "conversion": conversion.detach()})
