"""CSTWA: click-aware structure transfer with sample weight assignment (papers/cstwa.txt, MODELS.md)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

import torch
from torch import nn
from torch.nn import functional

from ml.data.batches import Batch
from ml.data.layout import FeatureLayout, Side
from ml.models.configs.cstwa import Config
from ml.models.contract import ConversionModel, Losses, Predictions
from ml.models.layers.curse_escaper import CurseEscaper
from ml.models.layers.embedding import FusedEmbedding, entity_positions
from ml.models.layers.node_graph import Graphs
from ml.models.layers.structure_migrator import StructureMigrator
from ml.models.layers.tower import Head, Tower
from ml.models.losses import click_loss, expectation_constraint

_SIDES: tuple[Side, Side] = ("user", "item")


class Model(ConversionModel):
    """Separate embeddings E_ctr and E_cvr; SM moves E_cvr's users and items towards their neighbours, CP scales the
    conversion tower's input by the click tower's state, CE weights the conversion loss. The head is p_ctcvr.

    Extras: ``ctcvr_logit`` [B]; ``scale`` [B, dim x_cvr], s of CP, where CP is on.
    """

    def __init__(self, config: Config, layout: FeatureLayout, *, graphs: Graphs | None = None) -> None:
        super().__init__(config, layout, graphs=graphs)
        self._settings = config
        size, widths, dropout = config.embedding_size, config.tower_widths, config.tower_dropout
        self.ctr_embedding = FusedEmbedding(layout, size=size, std=config.embedding_std)
        self.cvr_embedding = FusedEmbedding(layout, size=size, std=config.embedding_std)
        self.ctr_tower = Tower(self.ctr_embedding.width, widths=widths, dropout=dropout)
        self.ctcvr_tower = Tower(self.cvr_embedding.width, widths=widths, dropout=dropout)
        self.ctr_head = Head(self.ctr_tower.width)
        self.ctcvr_head = Head(self.ctcvr_tower.width)
        self._add_structure_migrator(graphs)
        self.click_perceptron = self._click_perceptron() if config.click_perceptron else None
        self.curse_escaper = self._curse_escaper() if config.curse_escaper else None

    def forward(self, batch: Batch) -> Predictions:
        click_state = self.ctr_tower(self.ctr_embedding(batch))
        x_cvr = self._migrate(self.cvr_embedding(batch), batch)
        extras: dict[str, torch.Tensor] = {}
        if self.click_perceptron is not None:
            extras["scale"] = 2 * torch.sigmoid(self.click_perceptron(click_state))
            x_cvr = extras["scale"] * x_cvr
        predictions = Predictions.of_impression_space(
            self.ctr_head(click_state), self.ctcvr_head(self.ctcvr_tower(x_cvr))
        )
        predictions.extras.update(extras)
        return predictions

    def loss(self, predictions: Predictions, batch: Batch) -> Losses:
        """L_click + mean(w·BCE(z, p_ctcvr)) + 0.6·constraint; in training mode CE remembers the CTR predictions."""
        click = click_loss(predictions.ctr_logit, batch.click)
        weights = self._sample_weights(predictions, batch)
        logit = predictions.extras["ctcvr_logit"]
        conversion = functional.binary_cross_entropy_with_logits(logit, batch.conversion, weight=weights)
        constraint = expectation_constraint(predictions.log_ctcvr, predictions.ctr_logit)
        total = click + conversion + self._settings.constraint_weight * constraint
        parts = {"click": click, "conversion": conversion, "constraint": constraint}
        return Losses(total, {name: part.detach() for name, part in parts.items()})

    @torch.no_grad()
    def measures(self, predictions: Predictions, batch: Batch) -> dict[str, torch.Tensor]:
        """What each part that is switched on does, by the part's name; ``predictions`` are ``forward``'s.

        - ``curse_escaper.up_weighted.over_clicked``: share of the rows that did not convert, with p_ctr > t_h, and
          weigh more than 1 for it; ``.under_clicked``: that did convert, with p_ctr < t_l;
          ``curse_escaper.mean_weight``: mean w. 0, 0 and 1 until the ring buffer is full.
        - ``click_perceptron.scale.mean``, ``.deviation``, ``.above_one``: of s, over rows and places of x_cvr, the
          mean, mean |s − 1|, and share above 1.
        - ``structure_migrator.<side>.distance``: mean ‖u − lookup‖ / ‖lookup‖, 0 for a row whose value is no node or
          before migration starts; ``.known``: share of the rows whose value is a node. Their quotient is the mean over
          nodes, whatever the batches.
        """
        measures: dict[str, torch.Tensor] = {}
        if self.curse_escaper is not None:
            weights = self.curse_escaper.weights(torch.sigmoid(predictions.ctr_logit), batch.conversion)
            over, under = (weights > 1) & (batch.conversion == 0), (weights > 1) & (batch.conversion > 0)
            measures["curse_escaper.up_weighted.over_clicked"] = over.float().mean()
            measures["curse_escaper.up_weighted.under_clicked"] = under.float().mean()
            measures["curse_escaper.mean_weight"] = weights.mean()
        if "scale" in predictions.extras:
            scale = predictions.extras["scale"].float()
            measures["click_perceptron.scale.mean"] = scale.mean()
            measures["click_perceptron.scale.deviation"] = (scale - 1).abs().mean()
            measures["click_perceptron.scale.above_one"] = (scale > 1).float().mean()
        return measures | self._migrations(batch)

    def embedding_spaces(self) -> dict[Literal["ctr", "cvr"], torch.Tensor]:
        """E_ctr and E_cvr, the latter before migration."""
        return {"ctr": self.ctr_embedding.table.weight.detach(), "cvr": self.cvr_embedding.table.weight.detach()}

    def start_epoch(self, epoch: int) -> None:
        """From ``first_migrating_epoch`` on: R ← α·H^L + (1 − α)·R with E_cvr as it is now."""
        if self.migrators is not None and epoch >= self._settings.first_migrating_epoch:
            for side in _SIDES:
                self._migrator(side).start(self.cvr_embedding.table.weight)

    def warm_start(self, table: torch.Tensor) -> None:
        """E_ctr ← the pre-trained table, float32 [total_rows, d]. Raises ``ValueError`` when the shapes differ."""
        weight = self.ctr_embedding.table.weight
        if table.shape != weight.shape:
            raise ValueError(
                f"the pre-trained table is {tuple(table.shape)}, E_ctr {tuple(weight.shape)}: pre-train with the same "
                "vocabulary and embedding_size, or set warm_start_ctr to false"
            )
        with torch.no_grad():
            weight.copy_(table)

    def prepare_for_state(self, state: Mapping[str, torch.Tensor]) -> None:
        """With refresh "batch" the graphs travel in the weights."""
        if self.migrators is not None:
            for side in _SIDES:
                self._migrator(side).prepare_for_state(state, f"migrators.{side}.")

    def _migrate(self, x: torch.Tensor, batch: Batch) -> torch.Tensor:
        if self.migrators is None:
            return x
        # The table goes in detached: what the neighbours hold is not trained through the sample.
        table = self.cvr_embedding.table.weight.detach()
        parts = []
        for side in _SIDES:
            lookup = x.index_select(1, self.get_buffer(f"{side}_positions"))
            parts.append(self._migrator(side)(lookup, batch.features, table))
        return torch.cat([*parts, x.index_select(1, self.get_buffer("context_positions"))], dim=1)

    def _migrations(self, batch: Batch) -> dict[str, torch.Tensor]:
        """Looked up once more: the training step keeps nothing for it."""
        if self.migrators is None:
            return {}
        x, table = self.cvr_embedding(batch), self.cvr_embedding.table.weight
        measures: dict[str, torch.Tensor] = {}
        for side in _SIDES:
            lookup = x.index_select(1, self.get_buffer(f"{side}_positions"))
            distance, known = self._migrator(side).distance(lookup, batch.features, table)
            measures[f"structure_migrator.{side}.distance"] = distance.mean()
            measures[f"structure_migrator.{side}.known"] = known.float().mean()
        return measures

    def _sample_weights(self, predictions: Predictions, batch: Batch) -> torch.Tensor | None:
        if self.curse_escaper is None:
            return None
        p_ctr = torch.sigmoid(predictions.ctr_logit.detach())
        weights = self.curse_escaper.weights(p_ctr, batch.conversion)
        if self.training:
            self.curse_escaper.remember(p_ctr)
        return weights

    def _migrator(self, side: Side) -> StructureMigrator:
        assert self.migrators is not None
        migrator = self.migrators[side]
        assert isinstance(migrator, StructureMigrator)
        return migrator

    def _add_structure_migrator(self, graphs: Graphs | None) -> None:
        config = self._settings
        self.migrators: nn.ModuleDict | None = None
        if not config.structure_migrator:
            return
        for entity in ("user", "item", "context"):
            positions = entity_positions(self.layout, entity, config.embedding_size)
            self.register_buffer(f"{entity}_positions", positions, persistent=False)
        self.migrators = nn.ModuleDict(
            {
                side: StructureMigrator(
                    self.layout,
                    side,
                    getattr(graphs, side) if graphs is not None else None,
                    size=config.embedding_size,
                    layers=config.propagation_layers,
                    share=config.migration_share,
                    refresh=config.refresh,
                )
                for side in _SIDES
            }
        )

    def _click_perceptron(self) -> nn.Sequential:
        hidden = self._settings.perceptron_widths
        info = Tower(self.ctr_tower.width, widths=hidden, dropout=[0.0] * len(hidden))
        return nn.Sequential(info, nn.Linear(info.width, self.cvr_embedding.width))

    def _curse_escaper(self) -> CurseEscaper:
        config = self._settings
        return CurseEscaper(
            recent=config.recent_predictions,
            low_quantile=config.low_quantile,
            high_quantile=config.high_quantile,
            magnitude=config.weight_magnitude,
            cap=config.weight_cap,
            weighting=config.weighting,
        )
