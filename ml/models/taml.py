"""TAML: several learners per task on task adaptive experts, taught by their own mean (Liu et al. 2023)."""

from __future__ import annotations

import torch
from torch.nn import functional

from ml.data.batches import Batch
from ml.data.layout import FeatureLayout
from ml.models.configs.taml import Config
from ml.models.contract import ConversionModel, Losses, Predictions
from ml.models.layers.auxiliary_tasks import AuxiliaryTasks
from ml.models.layers.embedding import FusedEmbedding
from ml.models.layers.experts import Experts
from ml.models.layers.heads import Heads
from ml.models.layers.node_graph import Graphs
from ml.models.layers.task_adaptive_experts import TASKS, TaskAdaptiveExperts
from ml.models.losses import click_loss, product_conversion_loss


class Model(ConversionModel):
    """logit_t = mean_l logit_t^l with logit_t^l = MLP(f_t^l(x)); p_ctcvr = p_ctr · p_cvr (papers/taml.txt, MODELS.md).

    L = BCE(y, p_ctr) + BCE(z, p_ctcvr) + α·L_kd,ctr + β·L_kd,cvr (eq. 6), all over all impressions, and the losses of
    extra tasks, whose towers (``tower_widths``, as a learner's) read the shared embedding.

    Extras: ``cvr_logit`` [B]; ``learner_logits`` [B, 2, n], ctr's before cvr's; ``gate_weights`` [B, 2, n, k], the k
    experts being general, the task's and the learner's own, detached; ``<stage>_logit`` [B] of each extra task.
    """

    def __init__(self, config: Config, layout: FeatureLayout, *, graphs: Graphs | None = None) -> None:
        super().__init__(config, layout, graphs=graphs)
        self._settings = config
        self.embedding = FusedEmbedding(layout, size=config.embedding_size, std=config.embedding_std)
        self.representation = TaskAdaptiveExperts(
            self.embedding.width,
            learners=config.learners,
            general=config.general_experts,
            per_task=config.task_experts,
            per_learner=config.learner_experts,
            widths=config.expert_widths,
            dropout=config.expert_dropout,
        )
        widths, dropout = config.tower_widths, config.tower_dropout
        learners = len(TASKS) * config.learners
        self.learners = Experts(learners, self.representation.width, widths=widths, dropout=dropout)
        self.heads = Heads(learners, self.learners.width)
        self.auxiliary_tasks = AuxiliaryTasks.of(config, self.embedding.width)

    def forward(self, batch: Batch) -> Predictions:
        x = self.embedding(batch)
        representations, gates = self.representation(x)
        logits = self.heads(self.learners(representations)).unflatten(0, (len(TASKS), -1))
        ctr_logit, cvr_logit = logits.mean(dim=1).unbind()
        predictions = Predictions.of_product(ctr_logit, cvr_logit)
        predictions.extras["learner_logits"] = logits.permute(2, 0, 1)
        predictions.extras["gate_weights"] = gates.detach().transpose(0, 1).unflatten(1, (len(TASKS), -1))
        predictions.extras.update(self.auxiliary_tasks(x))
        return predictions

    def loss(self, predictions: Predictions, batch: Batch) -> Losses:
        config = self._settings
        click = click_loss(predictions.ctr_logit, batch.click)
        conversion = product_conversion_loss(predictions.log_ctcvr, batch.conversion)
        ctr_kd, cvr_kd = distillation(predictions.extras["learner_logits"]).unbind()
        auxiliary, parts = self.auxiliary_tasks.loss(predictions.extras, batch)
        total = click + conversion + config.ctr_distillation * ctr_kd + config.cvr_distillation * cvr_kd + auxiliary
        parts |= {"click": click, "conversion": conversion, "ctr_distillation": ctr_kd, "cvr_distillation": cvr_kd}
        return Losses(total, {name: part.detach() for name, part in parts.items()})

    def measures(self, predictions: Predictions, batch: Batch) -> dict[str, torch.Tensor]:
        """The gates' mean weight per expert group, task and learner, such as ``gate.ctr.learner0.general`` (figure 4).

        A group's weight is the sum over its experts: the three of a learner add up to 1. A group without experts has
        no weight to tell.
        """
        means = predictions.extras["gate_weights"].mean(dim=0)
        groups = {group: experts for group, experts in self.representation.groups.items() if experts}
        return {
            f"gate.{task}.learner{learner}.{group}": weight.sum()
            for task, of_task in zip(TASKS, means, strict=True)
            for learner, of_learner in enumerate(of_task)
            for group, weight in zip(groups, of_learner.split(list(groups.values())), strict=True)
        }


def distillation(learner_logits: torch.Tensor) -> torch.Tensor:
    """L_kd,t = Σ_l mean(−[p̂_t·log p̂_t^l + (1 − p̂_t)·log(1 − p̂_t^l)]) of both tasks: [2], from the students' logits
    [B, 2, n] (papers/taml.txt, eq. 2 and 3, where "1 − log" stands for "log(1 −": a misprint).

    The teacher p̂_t, the sigmoid of the learners' mean logit, is fixed: no gradient goes through it [reading]. All in
    logits: finite, with its gradient, for logits of ±100.
    """
    teacher = torch.sigmoid(learner_logits.detach().mean(dim=2, keepdim=True)).expand_as(learner_logits)
    losses = functional.binary_cross_entropy_with_logits(learner_logits, teacher, reduction="none")
    return losses.mean(dim=0).sum(dim=1)
