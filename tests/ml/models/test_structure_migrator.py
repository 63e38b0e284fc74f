"""SM against a dense float64 loop over nodes, its memory shape, and its state in weights."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

import numpy as np
import pytest
import torch

from ml.data.batches import Batch
from ml.data.layout import FeatureLayout
from ml.models.layers import structure_migrator
from ml.models.layers.node_graph import Graphs, NodeGraph
from ml.models.layers.structure_migrator import StructureMigrator

SIZE = 2
Refresh = Literal["epoch", "batch"]


def _table(layout: FeatureLayout) -> torch.Tensor:
    return torch.from_numpy(np.random.default_rng(5).normal(size=(layout.total_rows, SIZE)).astype(np.float32))


def _migrator(
    layout: FeatureLayout, graph: NodeGraph | None, *, refresh: Refresh, layers: int = 1
) -> StructureMigrator:
    return StructureMigrator(layout, "user", graph, size=SIZE, layers=layers, share=0.3, refresh=refresh)


def _lookup(layout: FeatureLayout, batch: Batch, table: torch.Tensor) -> torch.Tensor:
    return table[batch.features[:, list(layout.entity_columns("user"))]].flatten(1)


def _dense_states(graph: NodeGraph, table: torch.Tensor, layers: int) -> np.ndarray:
    nodes = len(graph.node_features)
    dense = np.zeros((nodes, nodes))
    for node in range(nodes):
        for neighbour, weight in zip(graph.neighbours[node].tolist(), graph.weights[node].tolist(), strict=True):
            dense[node, neighbour] += weight
    state = np.stack([table[row.long()].flatten().double().numpy() for row in graph.node_features])
    for _ in range(layers):
        state = dense @ state
    return state


@pytest.mark.parametrize("layers", [1, 2])
@pytest.mark.parametrize("refresh", ["epoch", "batch"])
def test_migration_agrees_with_a_dense_loop(
    layout: FeatureLayout,
    graphs: Graphs,
    make_batch: Callable[..., Batch],
    monkeypatch: pytest.MonkeyPatch,
    refresh: Refresh,
    layers: int,
) -> None:
    monkeypatch.setattr(structure_migrator, "_GATHERED_VALUES", 20)  # several chunks for six nodes
    table, batch = _table(layout), make_batch(50)
    migrator = _migrator(layout, graphs.user, refresh=refresh, layers=layers)
    migrator.start(table)
    lookup = _lookup(layout, batch, table)
    answer = migrator(lookup, batch.features, table)
    states = _dense_states(graphs.user, table, layers)
    for row in range(50):
        node = int(batch.features[row, 0]) - 1
        expected = lookup[row].double().numpy()
        if node >= 0:
            expected = 0.3 * states[node] + 0.7 * expected
        np.testing.assert_allclose(answer[row].numpy(), expected, rtol=1e-4, atol=1e-6)
    assert (batch.features[:, 0] == 0).any(), "the batch must hold an out-of-vocabulary user"


def test_before_it_is_started_it_is_the_lookup(
    layout: FeatureLayout, graphs: Graphs, make_batch: Callable[..., Batch]
) -> None:
    table, batch = _table(layout), make_batch(10)
    lookup = _lookup(layout, batch, table)
    assert _migrator(layout, graphs.user, refresh="epoch")(lookup, batch.features, table) is lookup


@pytest.mark.parametrize("refresh", ["epoch", "batch"])
def test_gradient_flows_through_the_lookup_only(
    layout: FeatureLayout, graphs: Graphs, make_batch: Callable[..., Batch], refresh: Refresh
) -> None:
    batch = make_batch(20)
    table = _table(layout).requires_grad_()
    migrator = _migrator(layout, graphs.user, refresh=refresh)
    migrator.start(table)
    lookup = _lookup(layout, batch, table.detach()).requires_grad_()
    answer = migrator(lookup, batch.features, table)
    gradients = torch.autograd.grad(answer.sum(), [lookup, table], allow_unused=True)
    known = (batch.features[:, :1] > 0).expand_as(lookup)
    torch.testing.assert_close(gradients[0], torch.where(known, 0.7, 1.0))
    assert gradients[1] is None


def test_the_epoch_buffer_keeps_the_table_of_its_refresh(
    layout: FeatureLayout, graphs: Graphs, make_batch: Callable[..., Batch]
) -> None:
    table, batch = _table(layout), make_batch(10)
    epoch, on_the_fly = (_migrator(layout, graphs.user, refresh=refresh) for refresh in ("epoch", "batch"))
    for migrator in (epoch, on_the_fly):
        migrator.start(table)
    lookup = _lookup(layout, batch, table)
    before = epoch(lookup, batch.features, table)
    assert torch.equal(epoch(lookup, batch.features, table * 2), before)
    assert not torch.equal(on_the_fly(lookup, batch.features, table * 2), before)


@pytest.mark.parametrize("refresh", ["epoch", "batch"])
def test_state_moves_to_a_migrator_without_graph(
    layout: FeatureLayout, graphs: Graphs, make_batch: Callable[..., Batch], refresh: Refresh
) -> None:
    table, batch = _table(layout), make_batch(30)
    trained = _migrator(layout, graphs.user, refresh=refresh)
    trained.start(table)
    loaded = _migrator(layout, None, refresh=refresh)
    state = trained.state_dict()
    loaded.prepare_for_state(state, "")
    loaded.load_state_dict(state)
    lookup = _lookup(layout, batch, table)
    assert torch.equal(loaded(lookup, batch.features, table), trained(lookup, batch.features, table))


def test_training_without_graph_is_refused(layout: FeatureLayout) -> None:
    with pytest.raises(RuntimeError, match="without its graphs"):
        _migrator(layout, None, refresh="epoch").start(_table(layout))


def test_a_graph_of_other_nodes_is_refused(layout: FeatureLayout, graphs: Graphs) -> None:
    with pytest.raises(ValueError, match="build the graph from this vocabulary"):
        StructureMigrator(layout, "user", graphs.item, size=SIZE, layers=1, share=0.3, refresh="epoch")


def test_memory_is_linear_in_nodes() -> None:
    nodes = 200_000  # a dense matrix of these would need 160 GB
    generator = torch.Generator().manual_seed(0)
    graph = NodeGraph.from_csr(
        indptr=torch.arange(nodes + 1) * 2,
        indices=torch.randint(nodes, (2 * nodes,), generator=generator, dtype=torch.int32),
        weights=torch.full((2 * nodes,), 0.5),
        node_features=(torch.arange(nodes, dtype=torch.int32) + 1).unsqueeze(1),
    )
    layout = FeatureLayout.model_validate(
        {
            "columns": [
                {"name": "user", "entity": "user", "kind": "id", "offset": 0, "size": nodes + 1},
                {"name": "item", "entity": "item", "kind": "id", "offset": nodes + 1, "size": 1},
            ],
            "total_rows": nodes + 2,
            "user_key": "user",
            "item_key": "item",
        }
    )
    table = torch.randn(nodes + 2, SIZE, generator=generator)
    migrator = _migrator(layout, graph, refresh="epoch")
    migrator.start(table)
    expected = 0.5 * (table[graph.neighbours[:, 0] + 1] + table[graph.neighbours[:, 1] + 1])
    torch.testing.assert_close(migrator.migrated, expected)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"indices": torch.tensor([0, 9], dtype=torch.int32)}, "reach from"),
        ({"weights": torch.ones(3)}, "do not belong together"),
        ({"node_features": torch.zeros(5, 1, dtype=torch.int32)}, "2 nodes, their features 5 rows"),
    ],
)
def test_contradicting_graph_parts_are_refused(change: dict[str, torch.Tensor], message: str) -> None:
    parts = {
        "indptr": torch.tensor([0, 1, 2]),
        "indices": torch.tensor([0, 1], dtype=torch.int32),
        "weights": torch.ones(2),
        "node_features": torch.zeros(2, 1, dtype=torch.int32),
    }
    with pytest.raises(ValueError, match=message):
        NodeGraph.from_csr(**{**parts, **change})
