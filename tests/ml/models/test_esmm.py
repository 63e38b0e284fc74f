"""ESMM: the shared embedding, and the loss of the product against a float64 loop."""

from __future__ import annotations

import math
from collections.abc import Callable

import pytest
import torch

from ml.data.batches import Batch
from ml.data.layout import FeatureLayout
from ml.models.configs.esmm import Config
from ml.models.esmm import Model


def test_the_loss_agrees_with_a_loop(layout: FeatureLayout, make_batch: Callable[..., Batch]) -> None:
    torch.manual_seed(1)
    model, batch = Model(Config(embedding_std=1.0), layout).eval(), make_batch(50)
    predictions = model(batch)
    losses = model.loss(predictions, batch)
    click = conversion = 0.0
    for row in range(50):
        p_ctr = 1 / (1 + math.exp(-predictions.ctr_logit[row].item()))
        p_cvr = 1 / (1 + math.exp(-predictions.extras["cvr_logit"][row].item()))
        click -= math.log(p_ctr if batch.click[row] else 1 - p_ctr)
        conversion -= math.log(p_ctr * p_cvr if batch.conversion[row] else 1 - p_ctr * p_cvr)
    assert losses.parts["click"].item() == pytest.approx(click / 50, rel=1e-5)
    assert losses.parts["conversion"].item() == pytest.approx(conversion / 50, rel=1e-5)
    assert losses.total.item() == pytest.approx((click + conversion) / 50, rel=1e-5)


def test_the_conversion_loss_trains_both_towers_and_the_shared_table(
    layout: FeatureLayout, make_batch: Callable[..., Batch]
) -> None:
    model, batch = Model(Config(), layout).eval(), make_batch(64)
    predictions = model(batch)
    predictions.log_ctcvr.sum().backward()
    reached = {name for name, p in model.named_parameters() if p.grad is not None and p.grad.to_dense().any()}
    assert reached == {name for name, _ in model.named_parameters()}
    assert [name for name in reached if "embedding" in name] == ["embedding.table.weight"]
