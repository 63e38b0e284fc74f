"""What CSTWA tells of its parts against loops, with any part missing and in batches of any size."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch

from ml.data.batches import Batch
from ml.data.layout import FeatureLayout
from ml.inspection.day_sample import part_of
from ml.models.configs.cstwa import Config
from ml.models.cstwa import Model
from ml.models.layers.node_graph import Graphs
from ml.training.row_means import RowMeans

ROWS = 300


@pytest.fixture
def build(layout: FeatureLayout, graphs: Graphs, make_batch: Callable[..., Batch]) -> Callable[..., Model]:
    """build(fill=True, **config): a migrating model in evaluation mode, its ring buffer full."""

    def make(fill: bool = True, **changes: Any) -> Model:
        torch.manual_seed(3)
        values = {"embedding_size": 2, "embedding_std": 1.0, "tower_widths": [4], "tower_dropout": [0.0]}
        config = Config.model_validate({"recent_predictions": 50, "high_quantile": 0.7, **values, **changes})
        model = Model(config, layout, graphs=graphs)
        model.start_epoch(2)
        if fill:
            batch = make_batch(200, seed=9)
            model.loss(model(batch), batch)
        return model.eval()

    return make


def _measures(model: Model, batch: Batch) -> dict[str, float]:
    return {name: value.item() for name, value in model.measures(model(batch), batch).items()}


def test_the_curse_escapers_shares_agree_with_a_loop(
    build: Callable[..., Model], make_batch: Callable[..., Batch]
) -> None:
    model, batch = build(), make_batch(ROWS)
    assert model.curse_escaper is not None
    high, low = np.quantile(model.curse_escaper.recent.double().numpy(), [0.7, 0.1])
    over = under = total = 0.0
    for logit, label in zip(model(batch).ctr_logit.tolist(), batch.conversion.tolist(), strict=True):
        p, weight = 1 / (1 + np.exp(-logit)), 1.0
        if label == 0 and p > high:
            over, weight = over + 1, min(3 * p / high, 4)
        if label == 1 and p < low:
            under, weight = under + 1, min(3 * low / p, 4)
        total += weight
    measures = _measures(model, batch)
    assert over > 0
    assert under > 0
    assert measures["curse_escaper.up_weighted.over_clicked"] == pytest.approx(over / ROWS)
    assert measures["curse_escaper.up_weighted.under_clicked"] == pytest.approx(under / ROWS)
    assert measures["curse_escaper.mean_weight"] == pytest.approx(total / ROWS, rel=1e-5)


def test_a_target_above_one_is_a_conversion(build: Callable[..., Model], make_batch: Callable[..., Batch]) -> None:
    model, batch = build(), make_batch(ROWS)
    before = _measures(model, batch)
    batch.conversion.mul_(1.7)
    assert _measures(model, batch) == before


def test_the_click_perceptrons_scale_agrees_with_a_loop(
    build: Callable[..., Model], make_batch: Callable[..., Batch]
) -> None:
    model, batch = build(), make_batch(ROWS)
    scales = [value for row in model(batch).extras["scale"].tolist() for value in row]
    measures = _measures(model, batch)
    assert measures["click_perceptron.scale.mean"] == pytest.approx(sum(scales) / len(scales), rel=1e-5)
    assert measures["click_perceptron.scale.deviation"] == pytest.approx(
        sum(abs(value - 1) for value in scales) / len(scales), rel=1e-4
    )
    assert measures["click_perceptron.scale.above_one"] == pytest.approx(
        sum(value > 1 for value in scales) / len(scales), rel=1e-5
    )


@pytest.mark.parametrize("refresh", ["epoch", "batch"])
def test_the_migrated_distance_agrees_with_a_loop(
    build: Callable[..., Model], graphs: Graphs, layout: FeatureLayout, make_batch: Callable[..., Batch], refresh: str
) -> None:
    model, batch = build(refresh=refresh), make_batch(ROWS)
    table = model.state_dict()["cvr_embedding.table.weight"].double().numpy()
    for side, key in (("user", 0), ("item", 2)):
        graph, distances = getattr(graphs, side), []
        for row in batch.features.tolist():
            node = row[key] - layout.columns[key].offset - 1
            if node < 0:
                continue
            lookup = np.concatenate([table[row[key]], table[row[key + 1]]])
            state = sum(
                weight * table[graph.node_features[neighbour].numpy()].flatten()
                for neighbour, weight in zip(graph.neighbours[node].tolist(), graph.weights[node].tolist(), strict=True)
            )
            moved = 0.3 * state + 0.7 * lookup
            distances.append(np.linalg.norm(moved - lookup) / np.linalg.norm(lookup))
        measures = _measures(model, batch)
        assert 0 < len(distances) < ROWS
        assert measures[f"structure_migrator.{side}.known"] == pytest.approx(len(distances) / ROWS)
        assert measures[f"structure_migrator.{side}.distance"] == pytest.approx(sum(distances) / ROWS, rel=1e-4)
        mean_over_nodes = measures[f"structure_migrator.{side}.distance"] / measures[f"structure_migrator.{side}.known"]
        assert mean_over_nodes == pytest.approx(np.mean(distances), rel=1e-4)


def test_batches_of_one_row_tell_what_one_batch_tells(
    build: Callable[..., Model], make_batch: Callable[..., Batch]
) -> None:
    model, batch = build(), make_batch(40)
    means = RowMeans()
    for row in range(40):
        part = part_of(batch, slice(row, row + 1))
        means.add(model.measures(model(part), part), 1)
    assert means.read() == pytest.approx(_measures(model, batch), rel=1e-4, abs=1e-6)


def test_nothing_is_told_of_a_part_that_is_switched_off(
    build: Callable[..., Model], make_batch: Callable[..., Batch]
) -> None:
    switches = ("structure_migrator", "click_perceptron", "curse_escaper")
    off = dict.fromkeys(switches, False)
    assert _measures(build(fill=False, **off), make_batch(5)) == {}
    for switch in switches:
        told = _measures(build(fill=False, **{**off, switch: True}), make_batch(1))
        assert {name.split(".")[0] for name in told} == {switch}
        assert np.isfinite(list(told.values())).all()


def test_before_the_ring_is_full_and_migration_starts_nothing_is_done(
    layout: FeatureLayout, graphs: Graphs, make_batch: Callable[..., Batch]
) -> None:
    model = Model(Config(), layout, graphs=graphs).eval()
    measures = _measures(model, make_batch(ROWS))
    assert measures["curse_escaper.mean_weight"] == 1
    for name in ("curse_escaper.up_weighted.over_clicked", "curse_escaper.up_weighted.under_clicked"):
        assert measures[name] == 0
    assert measures["structure_migrator.user.distance"] == measures["structure_migrator.item.distance"] == 0


def test_measures_carry_no_gradient_change_no_state_and_survive_embeddings_of_zero(
    build: Callable[..., Model], make_batch: Callable[..., Batch]
) -> None:
    model, batch = build().train(), make_batch(10)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    assert not any(value.requires_grad for value in model.measures(model(batch), batch).values())
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    with torch.no_grad():
        model.cvr_embedding.table.weight.zero_()
    assert _measures(model, batch)["structure_migrator.user.distance"] == 0


def test_training_asks_for_no_measure(
    build: Callable[..., Model], make_batch: Callable[..., Batch], monkeypatch: pytest.MonkeyPatch
) -> None:
    model, batch = build().train(), make_batch(10)

    def refuse(*_: object) -> None:
        raise AssertionError("a training step measured")

    monkeypatch.setattr(model, "measures", refuse)
    for side in ("user", "item"):
        monkeypatch.setattr(model._migrator(side), "distance", refuse)
    model.loss(model(batch), batch).total.backward()
