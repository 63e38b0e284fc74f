"""The MLP baseline: two networks that share nothing, the conversion one trained on clicked samples."""

from __future__ import annotations

from typing import Literal

import torch

from ml.data.batches import Batch
from ml.data.layout import FeatureLayout
from ml.models.configs.mlp import Config
from ml.models.contract import ConversionModel, Losses, Predictions
from ml.models.layers.auxiliary_tasks import AuxiliaryTasks
from ml.models.layers.embedding import FusedEmbedding
from ml.models.layers.node_graph import Graphs
from ml.models.layers.tower import Head, Tower
from ml.models.losses import click_space_losses


class Model(ConversionModel):
    """One embedding, tower and head per task; L = BCE(y, p_ctr) + BCE(z, p_cvr) over the clicked (MODELS.md).

    Extras: ``cvr_logit`` [B], and ``<stage>_logit`` [B] of each extra task. Its tower reads the conversion embedding:
    on one of its own it would teach the conversion network nothing [reading].
    """

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
        self.auxiliary_tasks = AuxiliaryTasks.of(config, self.cvr_embedding.width)

    def forward(self, batch: Batch) -> Predictions:
        ctr_logit = self.ctr_head(self.ctr_tower(self.ctr_embedding(batch)))
        x_cvr = self.cvr_embedding(batch)
        predictions = Predictions.of_product(ctr_logit, self.cvr_head(self.cvr_tower(x_cvr)))
        predictions.extras.update(self.auxiliary_tasks(x_cvr))
        return predictions

    def loss(self, predictions: Predictions, batch: Batch) -> Losses:
        click, conversion = click_space_losses(predictions.ctr_logit, predictions.extras["cvr_logit"], batch)
        auxiliary, parts = self.auxiliary_tasks.loss(predictions.extras, batch)
        total = click + conversion + auxiliary
        return Losses(total, {"click": click.detach(), "conversion": conversion.detach(), **parts})

    def embedding_spaces(self) -> dict[Literal["ctr", "cvr"], torch.Tensor]:
        """Each task's own."""
        return {"ctr": self.ctr_embedding.table.weight.detach(), "cvr": self.cvr_embedding.table.weight.detach()}
