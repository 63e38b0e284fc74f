"""CSTWA: the whole forward pass and loss against a float64 loop, its switches, gradients and warm start."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import pytest
import torch

from ml.data.batches import Batch
from ml.data.layout import FeatureLayout
from ml.models.configs.cstwa import Config
from ml.models.cstwa import Model
from ml.models.layers.node_graph import Graphs


def _config(**changes: object) -> Config:
    return Config.model_validate(
        {"embedding_size": 2, "embedding_std": 1.0, "tower_widths": [4], "tower_dropout": [0.0], **changes}
    )


def _tower(model: Model, name: str, x: np.ndarray) -> tuple[np.ndarray, float]:
    weights = {key: value.double().numpy() for key, value in model.state_dict().items()}
    hidden = np.maximum(weights[f"{name}_tower.layers.0.weight"] @ x + weights[f"{name}_tower.layers.0.bias"], 0)
    logit = weights[f"{name}_head.unit.weight"] @ hidden + weights[f"{name}_head.unit.bias"]
    return hidden, float(logit[0])


def _migrated(model: Model, graphs: Graphs, side: str, key: int) -> np.ndarray:
    """H¹ of one node by hand: Σ_k weight_k · (the neighbour's fields read from E_cvr)."""
    table = model.state_dict()["cvr_embedding.table.weight"].double().numpy()
    graph = getattr(graphs, side)
    parts = [
        weight * table[graph.node_features[neighbour].numpy()].flatten()
        for neighbour, weight in zip(graph.neighbours[key].tolist(), graph.weights[key].tolist(), strict=True)
    ]
    return np.sum(parts, axis=0)


def test_forward_agrees_with_a_loop(layout: FeatureLayout, graphs: Graphs, make_batch: Callable[..., Batch]) -> None:
    torch.manual_seed(2)
    model, batch = Model(_config(), layout, graphs=graphs).eval(), make_batch(40)
    model.start_epoch(2)
    predictions = model(batch)
    weights = {key: value.double().numpy() for key, value in model.state_dict().items()}
    x_ctr = model.ctr_embedding(batch).detach().double().numpy()
    x_cvr = model.cvr_embedding(batch).detach().double().numpy()
    for row in range(40):
        hidden, ctr_logit = _tower(model, "ctr", x_ctr[row])
        x = x_cvr[row].copy()  # [user, age | item, brand | hour, history]: two values a field
        for side, column, where in (("user", 0, slice(0, 4)), ("item", 2, slice(4, 8))):
            node = int(batch.features[row, column]) - layout.columns[column].offset - 1
            if node >= 0:
                x[where] = 0.3 * _migrated(model, graphs, side, node) + 0.7 * x[where]
        info = weights["click_perceptron.1.weight"] @ hidden + weights["click_perceptron.1.bias"]
        x = 2 / (1 + np.exp(-info)) * x
        _, ctcvr_logit = _tower(model, "ctcvr", x)
        assert predictions.ctr_logit[row].item() == pytest.approx(ctr_logit, rel=1e-4, abs=1e-5)
        assert predictions.extras["ctcvr_logit"][row].item() == pytest.approx(ctcvr_logit, rel=1e-4, abs=1e-5)
        log_p_ctr, log_p_ctcvr = (-math.log1p(math.exp(-logit)) for logit in (ctr_logit, ctcvr_logit))
        assert predictions.log_cvr[row].item() == pytest.approx(min(0, log_p_ctcvr - log_p_ctr), rel=1e-3, abs=1e-4)


def test_the_loss_agrees_with_a_loop(layout: FeatureLayout, graphs: Graphs, make_batch: Callable[..., Batch]) -> None:
    torch.manual_seed(2)
    model = Model(_config(recent_predictions=30), layout, graphs=graphs)
    model.loss(model(make_batch(30, seed=9)), make_batch(30, seed=9))  # fills the ring buffer
    assert model.curse_escaper is not None
    high, low = np.quantile(model.curse_escaper.recent.double().numpy(), [0.99, 0.1])
    batch = make_batch(400, seed=4)
    predictions = model(batch)
    losses = model.loss(predictions, batch)
    click = conversion = constraint = 0.0
    weights = set()
    for row in range(400):
        p_ctr, p_ctcvr = (
            1 / (1 + math.exp(-values[row].item()))
            for values in (predictions.ctr_logit, predictions.extras["ctcvr_logit"])
        )
        y, z = batch.click[row].item(), batch.conversion[row].item()
        weight = 1.0
        if z == 0 and p_ctr > high:
            weight = min(3 * p_ctr / high, 4)
        if z == 1 and p_ctr < low:
            weight = min(3 * low / p_ctr, 4)
        weights.add(weight)
        click -= math.log(p_ctr if y else 1 - p_ctr) / 400
        conversion -= weight * math.log(p_ctcvr if z else 1 - p_ctcvr) / 400
        constraint += max(p_ctcvr - p_ctr, 0) / 400
    assert losses.parts["click"].item() == pytest.approx(click, rel=1e-4)
    assert losses.parts["conversion"].item() == pytest.approx(conversion, rel=1e-4)
    assert losses.parts["constraint"].item() == pytest.approx(constraint, rel=1e-4)
    assert losses.total.item() == pytest.approx(click + conversion + 0.6 * constraint, rel=1e-4)
    assert len(weights) > 2
    assert constraint > 0


def test_the_conversion_weights_do_not_train_the_click_tower(
    layout: FeatureLayout, make_batch: Callable[..., Batch]
) -> None:
    """Without CP and constraint, the weighted conversion loss reaches the conversion network alone."""
    config = _config(
        structure_migrator=False, click_perceptron=False, constraint_weight=0.0, recent_predictions=5, low_quantile=0.5
    )
    model, batch = Model(config, layout), make_batch(200)
    model.loss(model(batch), batch)
    with_escaper = model.loss(model(batch), batch)
    predictions = model(batch)
    click = torch.nn.functional.binary_cross_entropy_with_logits(predictions.ctr_logit, batch.click)
    model.zero_grad()
    (model.loss(predictions, batch).total - click).backward()
    unweighted = torch.nn.functional.binary_cross_entropy_with_logits(
        predictions.extras["ctcvr_logit"], batch.conversion
    )
    assert with_escaper.parts["conversion"] > unweighted
    for name, parameter in model.named_parameters():
        moved = parameter.grad is not None and parameter.grad.to_dense().abs().max() > 1e-6
        assert moved == name.startswith(("ctcvr", "cvr")), name


def test_the_click_perceptron_starts_near_one_and_lies_between_zero_and_two(
    layout: FeatureLayout, graphs: Graphs, make_batch: Callable[..., Batch]
) -> None:
    scale = Model(_config(embedding_std=0.01), layout, graphs=graphs)(make_batch(64)).extras["scale"]
    assert scale.shape == (64, 12)
    assert ((scale > 0) & (scale < 2)).all()
    assert abs(scale.mean().item() - 1) < 0.3


def test_switches_remove_their_parts(layout: FeatureLayout, graphs: Graphs, make_batch: Callable[..., Batch]) -> None:
    off = _config(structure_migrator=False, click_perceptron=False, curse_escaper=False)
    names = set(Model(off, layout).state_dict())
    assert not any(name.startswith(("migrators", "click_perceptron", "curse_escaper")) for name in names)
    for switch, part in (
        ("structure_migrator", "migrators"),
        ("click_perceptron", "click_perceptron"),
        ("curse_escaper", "curse_escaper"),
    ):
        model = Model(off.model_copy(update={switch: True}), layout, graphs=graphs)
        assert {name.split(".")[0] for name in set(model.state_dict()) - names} == {part}
        model.start_epoch(2)
        assert torch.isfinite(model.loss(model(make_batch(8)), make_batch(8)).total)


def test_migration_begins_with_the_second_epoch(
    layout: FeatureLayout, graphs: Graphs, make_batch: Callable[..., Batch]
) -> None:
    torch.manual_seed(0)
    model, batch = Model(_config(), layout, graphs=graphs).eval(), make_batch(20)
    untouched = model(batch).log_ctcvr
    model.start_epoch(1)
    assert torch.equal(model(batch).log_ctcvr, untouched)
    model.start_epoch(2)
    assert not torch.equal(model(batch).log_ctcvr, untouched)


def test_neighbours_get_no_gradient_but_the_samples_fields_do(
    layout: FeatureLayout, graphs: Graphs, make_batch: Callable[..., Batch]
) -> None:
    model, batch = Model(_config(refresh="batch"), layout, graphs=graphs), make_batch(1, seed=1)
    model.start_epoch(2)
    model(batch).log_ctcvr.sum().backward()
    gradient = model.cvr_embedding.table.weight.grad
    assert gradient is not None
    touched = set(gradient.to_dense().abs().sum(dim=1).nonzero().flatten().tolist())
    history = {i for i in batch.sequences["history"][0].tolist() if i >= 0}
    assert touched <= set(batch.features[0].tolist()) | history
    assert set(batch.features[0].tolist()) <= touched


def test_validation_does_not_touch_the_ring_buffer(layout: FeatureLayout, make_batch: Callable[..., Batch]) -> None:
    model, batch = Model(_config(structure_migrator=False), layout), make_batch(10)
    assert model.curse_escaper is not None
    model.eval().loss(model(batch), batch)
    assert model.curse_escaper.seen == 0
    model.train().loss(model(batch), batch)
    assert model.curse_escaper.seen == 10


def test_warm_start_copies_the_table_into_the_click_side_only(layout: FeatureLayout, graphs: Graphs) -> None:
    model = Model(_config(warm_start_ctr=True), layout, graphs=graphs)
    table = torch.arange(layout.total_rows * 2, dtype=torch.float32).reshape(-1, 2)
    model.warm_start(table)
    assert torch.equal(model.ctr_embedding.table.weight, table)
    assert not torch.equal(model.cvr_embedding.table.weight, table)
    with pytest.raises(ValueError, match="embedding_size"):
        model.warm_start(table[:, :1])
