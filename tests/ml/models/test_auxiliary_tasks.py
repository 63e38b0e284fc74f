"""Extra tasks: their loss against a loop, what they train, and that a model without them is as it was."""

from __future__ import annotations

import math
from collections.abc import Callable

import pytest
import torch

from ml.data.batches import Batch
from ml.data.layout import FeatureLayout
from ml.models.configs.catalog import parse_model_config
from ml.models.contract import ConversionModel
from ml.models.factory import build_model

NAMES = ["esmm", "mlp"]


def _build(layout: FeatureLayout, name: str, **changes: object) -> ConversionModel:
    torch.manual_seed(0)
    return build_model(parse_model_config({"name": name, **changes}), layout).eval()


@pytest.mark.parametrize("name", NAMES)
def test_the_loss_agrees_with_a_loop(
    listed_layout: FeatureLayout, make_listed_batch: Callable[..., Batch], name: str
) -> None:
    model = _build(listed_layout, name, auxiliary_tasks=["cart", "favourite"], auxiliary_weight=0.5, embedding_std=1.0)
    plain, batch = _build(listed_layout, name, embedding_std=1.0), make_listed_batch(50)
    predictions = model(batch)
    losses, without = model.loss(predictions, batch), plain.loss(plain(batch), batch)
    total = 0.0
    for stage in ("cart", "favourite"):
        assert predictions.extras[f"{stage}_logit"].shape == (50,)
        expected = 0.0
        for row, label in enumerate(batch.stages[stage].tolist()):
            p = 1 / (1 + math.exp(-predictions.extras[f"{stage}_logit"][row].item()))
            expected -= math.log(p if label else 1 - p) / 50  # clicked or not
        assert losses.parts[stage].item() == pytest.approx(expected, rel=1e-5)
        total += 0.5 * expected
    assert losses.total.item() == pytest.approx(without.total.item() + total, rel=1e-5)


@pytest.mark.parametrize("name", NAMES)
def test_a_model_without_extra_tasks_has_nothing_of_them(
    listed_layout: FeatureLayout, make_listed_batch: Callable[..., Batch], name: str
) -> None:
    plain, with_task = _build(listed_layout, name), _build(listed_layout, name, auxiliary_tasks=["cart"])
    assert not [key for key in plain.state_dict() if "auxiliary" in key]
    for key, value in plain.state_dict().items():
        assert torch.equal(with_task.state_dict()[key], value), key
    batch = make_listed_batch(8)
    assert set(plain(batch).extras) == {"cvr_logit"}
    assert set(plain.loss(plain(batch), batch).parts) == {"click", "conversion"}


@pytest.mark.parametrize(("name", "table"), [("esmm", "embedding"), ("mlp", "cvr_embedding")])
def test_a_task_trains_its_tower_and_the_embedding_that_conversions_read(
    listed_layout: FeatureLayout, make_listed_batch: Callable[..., Batch], name: str, table: str
) -> None:
    model, batch = _build(listed_layout, name, auxiliary_tasks=["cart"]), make_listed_batch(64)
    model(batch).extras["cart_logit"].sum().backward()
    reached = {key for key, p in model.named_parameters() if p.grad is not None and p.grad.to_dense().any()}
    own = {key for key, _ in model.named_parameters() if key.startswith("auxiliary_tasks")}
    assert own
    assert reached == own | {f"{table}.table.weight"}


def test_a_stage_named_twice_or_unknown_is_refused() -> None:
    with pytest.raises(ValueError, match=r"\['cart', 'cart'\] must name each stage once"):
        parse_model_config({"name": "esmm", "auxiliary_tasks": ["cart", "cart"]})
    with pytest.raises(ValueError, match="auxiliary_tasks"):
        parse_model_config({"name": "esmm", "auxiliary_tasks": ["conversion"]})
    with pytest.raises(ValueError, match="auxiliary_tasks"):
        parse_model_config({"name": "cstwa", "auxiliary_tasks": ["cart"]})
