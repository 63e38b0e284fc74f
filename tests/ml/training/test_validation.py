"""Validation: each task over its population, violations of the order, a model's own measures, what has no answer."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch

from ml.data.batches import Batch
from ml.data.layout import FeatureLayout
from ml.evaluation.metrics import Measured
from ml.models.configs.esmm import Config
from ml.models.contract import Losses, Predictions
from ml.models.esmm import Model
from ml.training.validation import validate


def test_validation_measures_each_task_over_its_population(
    layout: FeatureLayout, make_batch: Callable[..., Batch]
) -> None:
    from sklearn.metrics import log_loss, roc_auc_score

    model, batches = Model(Config(embedding_std=1.0), layout), [make_batch(60, seed=seed) for seed in range(3)]
    answer = validate(model, batches, task="cvr", device=torch.device("cpu"))
    model.eval()
    click = torch.cat([batch.click for batch in batches]).numpy()
    conversion = torch.cat([batch.conversion for batch in batches]).numpy()
    with torch.no_grad():
        predictions = [model(batch) for batch in batches]
        log_cvr, log_ctcvr, ctr = (
            torch.cat([getattr(p, name) for p in predictions]).numpy() for name in ("log_cvr", "log_ctcvr", "ctr_logit")
        )
        losses = [model.loss(p, batch).total.item() for p, batch in zip(predictions, batches, strict=True)]
    assert isinstance(answer.auc_ctr, Measured)
    assert isinstance(answer.auc_cvr, Measured)
    assert isinstance(answer.auc_ctcvr, Measured)
    assert answer.auc_ctr.value == pytest.approx(roc_auc_score(click, ctr))
    assert answer.auc_cvr.value == pytest.approx(roc_auc_score(conversion[click == 1], log_cvr[click == 1]))
    assert answer.auc_ctcvr.value == pytest.approx(roc_auc_score(conversion, log_ctcvr))
    assert answer.score == pytest.approx(answer.auc_ctr.value + answer.auc_ctcvr.value)
    assert answer.loss == pytest.approx(sum(losses) / 3, rel=1e-5)
    assert answer.log_loss_ctcvr == pytest.approx(log_loss(conversion, np.exp(log_ctcvr)), rel=1e-5)
    assert answer.record()["log_loss_ctcvr"] == answer.log_loss_ctcvr


@pytest.mark.parametrize("rates", [(1.0, 0.5), (0.0, 0.0), (0.5, 0.0)])
def test_what_is_not_measurable_is_null_with_a_reason(
    layout: FeatureLayout, make_batch: Callable[..., Batch], rates: tuple[float, float]
) -> None:
    batch = make_batch(40, click_rate=rates[0], conversion_rate=rates[1])
    answer = validate(Model(Config(), layout), [batch], task="cvr", device=torch.device("cpu"))
    assert answer.loss is not None
    assert answer.score == -answer.loss
    record = answer.record()
    missing = [name for name in ("auc_ctr", "auc_cvr", "auc_ctcvr") if record[name] is None]
    assert missing
    assert all("40 rows" in record[f"{name}_reason"] or "rows" in record[f"{name}_reason"] for name in missing)


class Disordered(Model):
    """Answers as a model whose conversion head is p_ctcvr, and measures a mean over its rows."""

    def forward(self, batch: Batch) -> Predictions:
        logit = super().forward(batch).ctr_logit - 0.05  # about half of them are below 0
        return Predictions.of_impression_space(logit, -logit)

    def loss(self, predictions: Predictions, batch: Batch) -> Losses:
        return Losses(predictions.ctr_logit.mean(), {})

    def measures(self, predictions: Predictions, batch: Batch) -> dict[str, torch.Tensor]:
        clicked = predictions.ctr_logit[batch.click > 1]
        return {"share": torch.sigmoid(predictions.ctr_logit).mean(), "nothing": clicked.mean()}


def test_violations_of_the_order_and_the_models_own_measures_are_means_over_rows(
    layout: FeatureLayout, make_batch: Callable[..., Batch]
) -> None:
    torch.manual_seed(0)
    model = Disordered(Config(embedding_std=1.0), layout)
    batches = [make_batch(rows, seed=rows) for rows in (60, 7)]
    model.eval()
    with torch.no_grad():
        logits = torch.cat([model(batch).ctr_logit for batch in batches]).double()
    answer = validate(model, batches, task="cvr", device=torch.device("cpu"))
    # p_ctcvr = σ(−a) > σ(a) = p_ctr where a < 0.
    assert answer.order_violations == pytest.approx(float((logits < 0).double().mean()))
    assert 0 < float((logits < 0).double().mean()) < 1
    assert answer.model["share"] == pytest.approx(float(torch.sigmoid(logits).mean()), rel=1e-5)
    assert answer.model["nothing"] is None
    assert answer.record()["order_violations"] == answer.order_violations
    assert answer.record()["model"] == answer.model


def test_a_product_has_no_violations_whatever_is_corrected(
    layout: FeatureLayout, make_batch: Callable[..., Batch]
) -> None:
    model = Model(Config(embedding_std=1.0), layout)
    model.negatives_kept = 0.1
    answer = validate(model, [make_batch(200)], task="cvr", device=torch.device("cpu"))
    assert answer.order_violations == 0
    assert answer.model == {}
    assert "model" not in answer.record()
    assert model.training
    pretrained = validate(model, [make_batch(9)], task="ctr_pretraining", device=torch.device("cpu"))
    assert pretrained.order_violations is None
    assert "order_violations" not in pretrained.record()


def test_without_validation_rows_there_is_no_score(layout: FeatureLayout) -> None:
    answer = validate(Model(Config(), layout), [], task="cvr", device=torch.device("cpu"))
    assert (answer.rows, answer.loss, answer.score) == (0, None, None)
