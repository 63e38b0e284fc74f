"""Judges a model on the window's validation rows after each epoch; the judged day is evaluation's, never seen here."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from pydantic import BaseModel, ConfigDict
from torch.nn import functional

from ml.data.batches import Batch
from ml.evaluation.metrics import Measurement, NotMeasurable, auc, row_log_losses
from ml.models.configs.base import Task
from ml.models.contract import ConversionModel
from ml.training.row_means import RowMeans

FloatArray = npt.NDArray[np.float32]

_LOSS = "loss"
_LOG_LOSS = "log_loss_ctcvr"
_ORDER_VIOLATIONS = "order_violations"


class Validation(BaseModel):
    """Mean loss per row and AUCs on the validation rows; ``score`` decides which epoch is best, higher is better.

    ``log_loss_ctcvr``: mean cross-entropy of p_ctcvr over all rows in nats, comparable between models as ``loss`` with
    their own terms is not. ``order_violations``: share of the rows with p_ctcvr > p_ctr, which no log can show. Both
    are None without a conversion head. ``model``: what the model measured of itself, means per row, None where the mean
    is not finite.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    rows: int
    loss: float | None
    auc_ctr: Measurement
    auc_cvr: Measurement
    auc_ctcvr: Measurement
    score: float | None
    score_is: str
    log_loss_ctcvr: float | None = None
    order_violations: float | None = None
    model: dict[str, float | None] = {}

    def record(self) -> dict[str, Any]:
        """JSON-able: an AUC that is not measurable is null, and ``<name>_reason`` says why."""
        values: dict[str, Any] = {"rows": self.rows, "loss": self.loss, "score": self.score, "score_is": self.score_is}
        for name in ("auc_ctr", "auc_cvr", "auc_ctcvr"):
            measurement: Measurement = getattr(self, name)
            if isinstance(measurement, NotMeasurable):
                values |= {name: None, f"{name}_reason": measurement.reason}
            else:
                values[name] = measurement.value
        if self.log_loss_ctcvr is not None:
            values[_LOG_LOSS] = self.log_loss_ctcvr
        if self.order_violations is not None:
            values[_ORDER_VIOLATIONS] = self.order_violations
        if self.model:
            values["model"] = dict(self.model)
        return values


def validate(
    model: ConversionModel,
    batches: Iterable[Batch],
    *,
    task: Task,
    device: torch.device,
    check: Callable[[], None] = lambda: None,
) -> Validation:
    """The model in evaluation mode over ``batches``; it is put back into training mode.

    The score is AUC_click + AUC_purchase as in AITM's code (over all impressions; AUC_click alone for CTR
    pre-training), or −loss where an AUC of them is not measurable; None without rows.
    CVR AUC is over clicked rows. ``check`` is called after each batch: what it raises ends the validation.
    """
    outputs: list[torch.Tensor] = []
    means, measures = RowMeans(), RowMeans()
    rows = 0
    model.eval()
    with torch.inference_mode():
        for host_batch in batches:
            batch = host_batch.to(device)
            predictions = model(batch)
            # The correction moves p_ctr and p_ctcvr alike: their order is the model's own.
            disordered = predictions.log_ctcvr > functional.logsigmoid(predictions.ctr_logit)
            totals = {_LOSS: model.loss(predictions, batch).total, _ORDER_VIOLATIONS: disordered.float().mean()}
            means.add(totals, len(batch))
            measures.add(model.measures(predictions, batch), len(batch))
            predictions = predictions.at_base_rate(model.negatives_kept)
            rows += len(batch)
            converted = (batch.conversion > 0).float()
            values = (predictions.ctr_logit, predictions.log_cvr, predictions.log_ctcvr, batch.click, converted)
            outputs.append(torch.stack(values))
            check()
    model.train()
    columns = torch.cat(outputs, dim=1).cpu().numpy() if outputs else np.zeros((5, 0), dtype=np.float32)
    return _judge(columns, means=means.read(), measures=measures.read() if rows else {}, task=task)


def _judge(columns: FloatArray, *, means: dict[str, float], measures: dict[str, float], task: Task) -> Validation:
    ctr_logit, log_cvr, log_ctcvr, click, conversion = columns
    loss = means.get(_LOSS)
    log_loss: float | None = None
    auc_ctr = auc(labels=click, scores=ctr_logit, outcome="clicks")
    if task == "ctr_pretraining":
        no_head = NotMeasurable(reason="a CTR model has no conversion head")
        auc_cvr: Measurement = no_head
        auc_ctcvr: Measurement = no_head
        judged = [auc_ctr]
    else:
        clicked = click == 1
        auc_cvr = auc(labels=conversion[clicked], scores=log_cvr[clicked], outcome="conversions")
        auc_ctcvr = auc(labels=conversion, scores=log_ctcvr, outcome="conversions")
        judged = [auc_ctr, auc_ctcvr]
        if click.size:
            probabilities = np.exp(log_ctcvr.astype(np.float64))
            log_loss = float(row_log_losses(labels=conversion, probabilities=probabilities).mean())
    measured = [measurement.value for measurement in judged if not isinstance(measurement, NotMeasurable)]
    if loss is None:
        score, score_is = None, "none: there are no validation rows"
    elif len(measured) == len(judged):
        score, score_is = sum(measured), "auc_ctr" if task == "ctr_pretraining" else "auc_ctr + auc_ctcvr"
    else:
        score, score_is = -loss, "−loss: not every AUC is measurable"
    return Validation(
        rows=click.size,
        loss=loss,
        auc_ctr=auc_ctr,
        auc_cvr=auc_cvr,
        auc_ctcvr=auc_ctcvr,
        score=score,
        score_is=score_is,
        log_loss_ctcvr=log_loss,
        order_violations=None if task == "ctr_pretraining" else means.get(_ORDER_VIOLATIONS),
        model={name: value if math.isfinite(value) else None for name, value in measures.items()},
    )
