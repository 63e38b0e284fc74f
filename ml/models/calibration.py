"""Calibration-based multi-task learning: CTR networks calibrate CVR networks, bias networks take the display's bias
(papers/calibration-mtl.txt, MODELS.md)."""

from __future__ import annotations

import warnings
from typing import Literal

import torch
from torch import nn
from torch.nn import functional

from ml.data.batches import Batch
from ml.data.layout import FeatureLayout
from ml.models.configs.calibration import Config
from ml.models.contract import ConversionModel, Losses, Predictions
from ml.models.layers.bias_level import BiasLevel
from ml.models.layers.embedding import FusedEmbedding, column_positions
from ml.models.layers.node_graph import Graphs
from ml.models.layers.task_chain import TaskChain
from ml.models.layers.triplet_loss import conflict_triplet_loss
from ml.models.losses import click_space_losses


class SharedNetworks(nn.Module):
    """An embedding under a chain of main networks (all fields that are no bias, and sequences) and a chain of bias
    networks (the fields with ``bias: true``; left out where the layout has none)."""

    main_positions: torch.Tensor
    bias_positions: torch.Tensor

    def __init__(self, config: Config, layout: FeatureLayout, *, tasks: tuple[str, ...]) -> None:
        super().__init__()
        size = config.embedding_size
        self.embedding = FusedEmbedding(layout, size=size, std=config.embedding_std)
        bias = [place for place, column in enumerate(layout.columns) if column.bias]
        main = [place for place in range(self.embedding.width // size) if place not in bias]
        if not main:
            names = [column.name for column in layout.columns]
            raise ValueError(
                f"every field of the layout is a bias field ({names}): the main networks need one of others"
            )
        self.register_buffer("main_positions", column_positions(main, size), persistent=False)
        self.register_buffer("bias_positions", column_positions(bias, size), persistent=False)
        structure = None if config.structure == "single_task" else config.structure
        self.main = TaskChain(
            len(main) * size, tasks=tasks, widths=config.tower_widths, dropout=config.tower_dropout,
            structure=structure, reduction=config.gate_reduction,
        )  # fmt: skip
        self.bias: TaskChain | None = None
        if bias:
            self.bias = TaskChain(
                len(bias) * size, tasks=tasks, widths=config.bias_widths, dropout=config.bias_dropout,
                structure=structure, reduction=config.gate_reduction,
            )  # fmt: skip

    def forward(self, batch: Batch) -> dict[str, torch.Tensor]:
        """By name, float32: ``<task>_main_logit``, ``<task>_bias_logit`` [B], ``<task>_state`` [B, w] (the last hidden
        state of the main network itself), ``main_gate_<task>_<layer>`` and ``bias_gate_<task>_<layer>`` [B, w]."""
        x = self.embedding(batch)
        answers: dict[str, torch.Tensor] = {}
        chains = [("main", self.main, x)]
        if self.bias is not None:
            chains = [
                ("main", self.main, x.index_select(1, self.main_positions)),
                ("bias", self.bias, x.index_select(1, self.bias_positions)),
            ]
        for kind, chain, inputs in chains:
            for task, states in chain(inputs).items():
                answers[f"{task}_{kind}_logit"] = states.logit
                answers |= {f"{kind}_gate_{task}_{layer}": gate for layer, gate in enumerate(states.gates, start=1)}
                if kind == "main":
                    answers[f"{task}_state"] = states.hidden[-1]
        return answers


class Model(ConversionModel):
    """The chain click → ``stages`` → conversion [reading of the order], each task calibrated by the one before:
    L = BCE(y, p_ctr) + Σ w_s·BCE(stage, P(stage | x)) + BCE(z, p_cvr) over the clicked + w_t·triplet loss.

    A task's logit is main + bias in training mode; in evaluation mode the bias is left out (``bias_at_scoring``
    false), and its mean over recent training stands in its place: a constant, which changes no ranking by p_ctr or
    p_cvr and keeps their level (``mean_bias_at_scoring`` [reading]). The losses take main + bias in both modes, so that
    the validation loss is that of what is trained. The calibrating CTR states are not detached: the CVR loss trains
    the CTR networks too (layers/calibration_unit) [reading].
    ``single_task``: an embedding and networks of its own for each task, so that CVR learns nothing from CTR; the
    source's baseline is the CVR half, the CTR half is there to answer p_ctr [reading].
    A layout without bias fields leaves a model without bias networks, and a warning says so.

    Extras: what ``SharedNetworks`` answers, ``cvr_logit`` and ``<stage>_logit`` [B] (as scored, see above).
    """

    def __init__(self, config: Config, layout: FeatureLayout, *, graphs: Graphs | None = None) -> None:
        super().__init__(config, layout, graphs=graphs)
        self._settings = config
        self._bias_fields = tuple(column.name for column in layout.columns if column.bias)
        if not self._bias_fields:
            warnings.warn(
                "calibration: no field of the dataset is tagged `bias: true`, so the model has main networks alone; "
                "tag the fields that are known only once an item is shown (its position), if the log has any",
                stacklevel=2,
            )
        self.tasks = ("ctr", *config.stages, "cvr")
        chains = (("ctr",), ("cvr",)) if config.structure == "single_task" else (self.tasks,)
        self.bias_level = BiasLevel(self.tasks) if self._bias_fields else None
        self.groups = nn.ModuleList([SharedNetworks(config, layout, tasks=tasks) for tasks in chains])

    def forward(self, batch: Batch) -> Predictions:
        answers: dict[str, torch.Tensor] = {}
        for group in self.groups:
            answers |= group(batch)
        if self.training or self._settings.bias_at_scoring:
            logits = {task: self._shown_logit(answers, task) for task in self.tasks}
        else:
            logits = {task: self._ranking_logit(answers, task) for task in self.tasks}
        predictions = Predictions.of_product(logits["ctr"], logits["cvr"])
        predictions.extras.update(answers)
        predictions.extras.update({f"{stage}_logit": logits[stage] for stage in self._settings.stages})
        return predictions

    def loss(self, predictions: Predictions, batch: Batch) -> Losses:
        """In training mode the level of the bias logits is remembered, too."""
        extras, config = predictions.extras, self._settings
        if self.training:
            self._remember_level(extras, batch)
        click, conversion = click_space_losses(
            self._shown_logit(extras, "ctr"), self._shown_logit(extras, "cvr"), batch
        )
        parts = {"click": click, "conversion": conversion}
        total = click + conversion
        impressions = len(batch) - batch.clicked_rows
        for stage in config.stages:
            logit = self._shown_logit(extras, stage)[:impressions]
            parts[stage] = functional.binary_cross_entropy_with_logits(logit, batch.stages[stage][:impressions])
            total = total + config.stage_weight * parts[stage]
        if config.triplet_weight:
            # As the conversion loss: the rows drawn for it, where there are some.
            first = impressions if batch.clicked_rows else 0
            parts["triplet"] = conflict_triplet_loss(
                extras["cvr_state"][first:], batch.click[first:], batch.conversion[first:], margin=config.triplet_margin
            )
            total = total + config.triplet_weight * parts["triplet"]
        return Losses(total, {name: part.detach() for name, part in parts.items()})

    def measures(self, predictions: Predictions, batch: Batch) -> dict[str, torch.Tensor]:
        """``<main|bias>_scale_<task>_<layer>`` (s of ctr_scaled), the mean of every gate under its name in the extras,
        and ``<task>_bias_logit_size``, the mean of |bias logit|."""
        measures = {name: value.mean() for name, value in predictions.extras.items() if "_gate_" in name}
        for name, value in predictions.extras.items():
            if name.endswith("_bias_logit"):
                measures[f"{name}_size"] = value.abs().mean()
        for group in self.groups:
            assert isinstance(group, SharedNetworks)
            for kind, chain in (("main", group.main), ("bias", group.bias)):
                if chain is not None:
                    measures |= {f"{kind}_scale_{name}": scale.detach() for name, scale in chain.scales()}
        return measures

    def embedding_spaces(self) -> dict[Literal["ctr", "cvr"], torch.Tensor]:
        """``single_task``: each task's own, else the shared one."""
        first, last = self.groups[0], self.groups[-1]
        assert isinstance(first, SharedNetworks)
        assert isinstance(last, SharedNetworks)
        tables = [group.embedding.table.weight for group in (first, last)]
        return {"ctr": tables[0].detach(), "cvr": tables[1].detach()}

    def _remember_level(self, extras: dict[str, torch.Tensor], batch: Batch) -> None:
        """Over the samples of each task: impressions, and clicked ones for CVR."""
        if self.bias_level is None:
            return
        clicked_rows = torch.arange(len(batch), device=batch.click.device) >= len(batch) - batch.clicked_rows
        impressions = (~clicked_rows).to(batch.click.dtype)
        counted = dict.fromkeys(self.tasks, impressions) | {"cvr": batch.click}
        self.bias_level.remember({task: extras[f"{task}_bias_logit"] for task in self.tasks}, counted)

    def _ranking_logit(self, answers: dict[str, torch.Tensor], task: str) -> torch.Tensor:
        """main, and the same constant for every sample: an item's logit before it is known where it will be shown."""
        main = answers[f"{task}_main_logit"]
        if self.bias_level is None or not self._settings.mean_bias_at_scoring:
            return main
        return main + self.bias_level.levels()[task]

    def _shown_logit(self, answers: dict[str, torch.Tensor], task: str) -> torch.Tensor:
        """main + bias: the logit of an impression at the position where it was shown."""
        main = answers[f"{task}_main_logit"]
        return main + answers[f"{task}_bias_logit"] if self._bias_fields else main
