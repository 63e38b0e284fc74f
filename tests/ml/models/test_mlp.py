"""MLP: its two tasks share nothing, and its conversion loss sees clicked samples only."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch

from ml.data.batches import Batch
from ml.data.layout import FeatureLayout
from ml.models.configs.mlp import Config
from ml.models.mlp import Model


def _touched(model: Model) -> dict[str, bool]:
    def is_touched(gradient: torch.Tensor | None) -> bool:
        return gradient is not None and bool((gradient.to_dense() != 0).any())

    return {name: is_touched(parameter.grad) for name, parameter in model.named_parameters()}


@pytest.mark.parametrize("task", ["ctr", "cvr"])
def test_a_task_reaches_its_own_parameters_only(
    layout: FeatureLayout, make_batch: Callable[..., Batch], task: str
) -> None:
    model, batch = Model(Config(), layout).eval(), make_batch(64)
    predictions = model(batch)
    logit = predictions.ctr_logit if task == "ctr" else predictions.extras["cvr_logit"]
    logit.sum().backward()
    assert {name for name, touched in _touched(model).items() if touched} == {
        name for name, _ in model.named_parameters() if name.startswith(task)
    }


def test_unclicked_samples_do_not_move_the_conversion_network(
    layout: FeatureLayout, make_batch: Callable[..., Batch]
) -> None:
    model, batch = Model(Config(), layout).eval(), make_batch(32, click_rate=0.0)
    losses = model.loss(model(batch), batch)
    losses.total.backward()
    assert losses.parts["conversion"] == 0
    assert not any(touched for name, touched in _touched(model).items() if name.startswith("cvr"))
