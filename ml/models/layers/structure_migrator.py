"""CSTWA's structure migrator (SM) of one side: neighbours' representations mixed into a sample's own."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

import torch
from torch import nn
from torch.nn import functional

from ml.data.layout import FeatureLayout, Side
from ml.models.layers.node_graph import NodeGraph

_GATHERED_VALUES = 2**24
"""Most values that one chunk of propagation gathers at once (64 MiB of float32)."""


class StructureMigrator(nn.Module):
    """``u = α·H^L[node] + (1 − α)·lookup``, H^l = G·H^{l−1}, H⁰ the nodes' lookups (MODELS.md, CSTWA 5) [reading].

    The gradient flows through the lookup only. Values out of vocabulary are no nodes: their lookup alone is used.
    ``refresh="epoch"`` keeps H^L of all nodes in a buffer that ``refresh_buffer`` fills, ``refresh="batch"``
    propagates to the batch's nodes on the fly; neither needs more than O(N·K) memory.
    The model's bundle holds what scoring needs: the buffer, or the graph.
    """

    neighbours: torch.Tensor
    weights: torch.Tensor
    node_features: torch.Tensor
    migrated: torch.Tensor
    migrating: torch.Tensor

    def __init__(
        self,
        layout: FeatureLayout,
        side: Side,
        graph: NodeGraph | None,
        *,
        size: int,
        layers: int,
        share: float,
        refresh: Literal["epoch", "batch"],
    ) -> None:
        super().__init__()
        self._key = layout.node_column(side)
        self._first_node_row = layout.columns[self._key].offset + 1
        self._nodes = layout.node_count(side)
        self._fields = len(layout.entity_columns(side))
        self._layers = layers
        self._share = share
        self._refresh = refresh
        self._is_migrating = False
        self._has_graph = graph is not None
        if graph is None:
            graph = _no_graph(self._nodes, self._fields)
        if graph.node_features.shape != (self._nodes, self._fields):
            raise ValueError(
                f"the {side} graph has {tuple(graph.node_features.shape)} nodes × fields, the vocabulary "
                f"{(self._nodes, self._fields)}: build the graph from this vocabulary"
            )
        in_bundle = refresh == "batch"
        self.register_buffer("neighbours", graph.neighbours, persistent=in_bundle)
        self.register_buffer("weights", graph.weights, persistent=in_bundle)
        self.register_buffer("node_features", graph.node_features, persistent=in_bundle)
        if refresh == "epoch":
            self.register_buffer("migrated", torch.zeros(self._nodes, self._fields * size))
        self.register_buffer("migrating", torch.tensor(False))
        self.register_load_state_dict_post_hook(_read_migrating)

    @torch.no_grad()
    def start(self, table: torch.Tensor) -> None:
        """Migrates from now on, with ``table`` float32 [total_rows, d] as it is now (refresh "epoch").

        Raises ``RuntimeError`` if the migrator was built without its graph.
        """
        if not self._has_graph:
            raise RuntimeError("this model was built without its graphs: it can score, but not train on")
        self._is_migrating = True
        self.migrating.fill_(True)
        if self._refresh == "epoch":
            self.migrated.copy_(self._propagate_all(table))

    def forward(self, lookup: torch.Tensor, features: torch.Tensor, table: torch.Tensor) -> torch.Tensor:
        """``lookup`` float32 [B, F·d] of this side's fields, ``features`` int64 [B, C] → u, float32 [B, F·d]."""
        if not self._is_migrating or self._nodes == 0:
            return lookup
        node = features[:, self._key] - self._first_node_row
        known = (node >= 0).unsqueeze(1)
        node = node.clamp(min=0)
        with torch.no_grad():
            state = self.migrated[node] if self._refresh == "epoch" else self._propagate(node, table, self._layers)
        return torch.where(known, self._share * state + (1 - self._share) * lookup, lookup)

    @torch.no_grad()
    def distance(
        self, lookup: torch.Tensor, features: torch.Tensor, table: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """How far ``forward`` moves each row: ‖u − lookup‖ / ‖lookup‖ float32 [B], and which rows are nodes, bool [B].

        0 for what is no node, what is not migrated yet, and a lookup of length 0.
        """
        known = features[:, self._key] >= self._first_node_row
        moved = (self(lookup, features, table) - lookup).norm(dim=1)
        length = lookup.norm(dim=1)
        return torch.where(length > 0, moved / length, 0.0), known

    def prepare_for_state(self, state: Mapping[str, torch.Tensor], prefix: str) -> None:
        """Gives the graph's buffers the sizes they have in ``state``, so that they can be loaded."""
        for name in ("neighbours", "weights", "node_features"):
            if prefix + name in state:
                setattr(self, name, torch.empty_like(state[prefix + name]))
                self._has_graph = True

    def _propagate(self, nodes: torch.Tensor, table: torch.Tensor, layer: int) -> torch.Tensor:
        """H^layer of ``nodes`` [M] → [M, F·d], from their neighbours' H^{layer−1}: O(M·K^layer·F·d)."""
        if layer == 0:
            return functional.embedding(self.node_features[nodes], table).flatten(1)
        neighbours = self.neighbours[nodes]
        below = self._propagate(neighbours.flatten(), table, layer - 1)
        return _weighted_sum(self.weights[nodes], below)

    def _propagate_all(self, table: torch.Tensor) -> torch.Tensor:
        """H^L of every node [N, F·d], chunk by chunk."""
        width = self._fields * table.shape[1]
        chunk = max(1, _GATHERED_VALUES // max(1, self.neighbours.shape[1] * width))
        state: torch.Tensor | None = None
        for _ in range(self._layers):
            parts = []
            for first in range(0, self._nodes, chunk):
                neighbours = self.neighbours[first : first + chunk].flatten()
                below = state[neighbours] if state is not None else self._propagate(neighbours, table, 0)
                parts.append(_weighted_sum(self.weights[first : first + chunk], below))
            state = torch.cat(parts) if parts else table.new_zeros(0, width)
        assert state is not None
        return state


def _weighted_sum(weights: torch.Tensor, states: torch.Tensor) -> torch.Tensor:
    """weights [M, K], states [M·K, W] → [M, W]."""
    return torch.bmm(weights.unsqueeze(1), states.view(*weights.shape, -1)).squeeze(1)


def _no_graph(nodes: int, fields: int) -> NodeGraph:
    """Stands in where there is no graph: scoring with refresh "epoch" reads its buffer alone."""
    return NodeGraph(
        neighbours=torch.zeros(0, 1, dtype=torch.int32),
        weights=torch.zeros(0, 1),
        node_features=torch.zeros(1, 1, dtype=torch.int32).expand(nodes, fields),
    )


def _read_migrating(module: nn.Module, _incompatible_keys: Any) -> None:
    """Keeps the flag on the host too, so that no step waits for the device to tell it."""
    assert isinstance(module, StructureMigrator)
    module._is_migrating = bool(module.migrating)
