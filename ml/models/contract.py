"""What every conversion model takes, returns and answers to; the trainer, the scorer and the bundle know no more."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Literal

import torch
from torch import nn
from torch.nn import functional

from ml.data.batches import Batch
from ml.data.layout import FeatureLayout
from ml.models.configs.base import ModelConfig
from ml.models.layers.node_graph import Graphs


@dataclass(frozen=True, eq=False)
class Predictions:
    """A model's answer for B samples, float32: the CTR logit and the log-probabilities of CVR and CTCVR, each [B].

    ``extras`` holds what only this model has (gate weights, propensities, …). Metrics, calibration, reports and
    promotion read the first three alone.
    """

    ctr_logit: torch.Tensor
    log_cvr: torch.Tensor
    log_ctcvr: torch.Tensor
    extras: dict[str, torch.Tensor] = field(default_factory=dict)

    @staticmethod
    def of_product(ctr_logit: torch.Tensor, cvr_logit: torch.Tensor) -> Predictions:
        """log p_ctcvr = logsigmoid(a_ctr) + logsigmoid(a_cvr): models whose conversion head is p_cvr."""
        ctr_logit, cvr_logit = ctr_logit.float(), cvr_logit.float()  # whatever autocast made of the towers
        log_cvr = functional.logsigmoid(cvr_logit)
        log_ctcvr = functional.logsigmoid(ctr_logit) + log_cvr
        return Predictions(ctr_logit, log_cvr, log_ctcvr, {"cvr_logit": cvr_logit})

    @staticmethod
    def of_impression_space(ctr_logit: torch.Tensor, ctcvr_logit: torch.Tensor) -> Predictions:
        """log p_cvr = min(0, log p_ctcvr − log p_ctr): models whose conversion head is p_ctcvr directly."""
        ctr_logit, ctcvr_logit = ctr_logit.float(), ctcvr_logit.float()
        log_ctcvr = functional.logsigmoid(ctcvr_logit)
        log_cvr = (log_ctcvr - functional.logsigmoid(ctr_logit)).clamp(max=0.0)
        return Predictions(ctr_logit, log_cvr, log_ctcvr, {"ctcvr_logit": ctcvr_logit})

    def at_base_rate(self, negatives_kept: float) -> Predictions:
        """The answer of a model that was trained with a share w of the impressions without a click, for all of them.

        p_ctr = q / (q + (1 − q)/w), which is q's logit + log w (papers/ctr-cvr-gmv.txt); p_cvr stays, as every click
        was kept, and p_ctcvr moves by p_ctr/q. ``negatives_kept`` = w in (0, 1]; 1 changes nothing.
        """
        if negatives_kept == 1:
            return self
        ctr_logit = self.ctr_logit + math.log(negatives_kept)
        # In this order p_ctcvr ≤ p_ctr survives the rounding: a share that was at most 1 stays so.
        log_share = self.log_ctcvr - functional.logsigmoid(self.ctr_logit)
        return replace(self, ctr_logit=ctr_logit, log_ctcvr=functional.logsigmoid(ctr_logit) + log_share)


@dataclass(frozen=True, eq=False)
class Losses:
    """``total``: the scalar to differentiate. ``parts``: its terms by name, detached scalars, unweighted."""

    total: torch.Tensor
    parts: dict[str, torch.Tensor]


class ConversionModel(nn.Module, ABC):
    """Base of all models: the class ``Model`` of ``ml/models/<name>.py`` with its config in ``configs/<name>.py``.

    ``graphs`` is given for training; a model that is loaded from a bundle is built without.
    ``negatives_kept`` is the share of impressions without a click that it was trained on: the trainer sets it, the
    bundle keeps it, ``predict`` corrects for it.
    """

    negatives_kept: float = 1.0

    def __init__(self, config: ModelConfig, layout: FeatureLayout, *, graphs: Graphs | None = None) -> None:
        super().__init__()
        self.config = config
        self.layout = layout

    @abstractmethod
    def forward(self, batch: Batch) -> Predictions:
        """Predictions for the batch's B samples; reads no label."""

    @abstractmethod
    def loss(self, predictions: Predictions, batch: Batch) -> Losses:
        """The training loss of ``predictions`` against the batch's labels, means over the batch."""

    def predict(self, batch: Batch) -> Predictions:
        """What the model says of the log as it is: ``forward``, corrected for negatives left out of training."""
        return self(batch).at_base_rate(self.negatives_kept)

    def measures(self, predictions: Predictions, batch: Batch) -> dict[str, torch.Tensor]:
        """What only this model can tell about itself, by name: scalars, means over the batch's samples.

        Validation averages them over its rows and records them after each epoch, an inspection over a day's: the names
        are the same for every batch, and a share of nothing is 0. They carry no gradient. What is told may need the
        batch's labels; training never asks.
        """
        return {}

    def embedding_spaces(self) -> dict[Literal["ctr", "cvr"], torch.Tensor]:
        """The tables that CTR and CVR read, float32 [total_rows, d], without gradient.

        One and the same memory under both names where the tasks share a table, as here; a model with several says
        which is whose. Empty where that is not known.
        """
        tables = [table.detach() for table in self.embedding_parameters()]
        return {"ctr": tables[0], "cvr": tables[0]} if len(tables) == 1 else {}

    def start_epoch(self, epoch: int) -> None:
        """Called before each epoch's first batch; epochs count from 1."""

    def warm_start(self, table: torch.Tensor) -> None:
        """Called once before training if the config needs the pre-trained CTR table, float32 [total_rows, d]."""
        raise NotImplementedError(f"{type(self).__module__} does not start from a pre-trained table")

    def prepare_for_state(self, state: Mapping[str, torch.Tensor]) -> None:
        """Called before ``load_state_dict``: a model whose buffers' sizes depend on its graphs resizes them."""

    def embedding_parameters(self) -> Iterator[nn.Parameter]:
        """The parameters with sparse gradients: embedding tables."""
        for module in self.modules():
            if isinstance(module, nn.Embedding):
                assert isinstance(module.weight, nn.Parameter)
                yield module.weight

    def dense_parameters(self) -> Iterator[nn.Parameter]:
        """All other parameters."""
        embeddings = {id(parameter) for parameter in self.embedding_parameters()}
        return (parameter for parameter in self.parameters() if id(parameter) not in embeddings)
