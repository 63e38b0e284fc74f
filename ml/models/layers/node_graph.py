"""The similarity graphs as tensors that a model can gather from: padded neighbour lists, never an N × N matrix."""

from __future__ import annotations

from dataclasses import dataclass

import torch


@dataclass(frozen=True, eq=False)
class NodeGraph:
    """One side's graph G of N nodes with at most K neighbours each.

    ``neighbours`` int32 [N, K] and ``weights`` float32 [N, K] (a shorter row is filled with node 0 at weight 0);
    ``node_features`` int32 [N, F]: the global row ids of each node's own fields. Node i is local id i + 1 of the
    side's key field.
    """

    neighbours: torch.Tensor
    weights: torch.Tensor
    node_features: torch.Tensor

    @staticmethod
    def from_csr(
        *, indptr: torch.Tensor, indices: torch.Tensor, weights: torch.Tensor, node_features: torch.Tensor
    ) -> NodeGraph:
        """From CSR: ``indptr`` int64 [N + 1], ``indices`` integer [E], ``weights`` float32 [E], ``node_features``
        integer [N, F]. Raises ``ValueError`` when the sizes contradict each other or a neighbour is no node."""
        nodes = len(indptr) - 1
        if len(node_features) != nodes:
            raise ValueError(f"the graph has {nodes} nodes, their features {len(node_features)} rows")
        if len(indices) != len(weights) or int(indptr[-1]) != len(indices):
            raise ValueError(
                f"{len(indices)} neighbours, {len(weights)} weights and an indptr that ends at {int(indptr[-1])} "
                "must be equal: the graph's files do not belong together"
            )
        if len(indices) and not (int(indices.min()) >= 0 and int(indices.max()) < nodes):
            raise ValueError(f"neighbours reach from {int(indices.min())} to {int(indices.max())} in {nodes} nodes")
        degrees = indptr.diff()
        width = max(1, int(degrees.max())) if nodes else 1
        row = torch.repeat_interleave(torch.arange(nodes), degrees)
        place = torch.arange(len(indices)) - indptr[:-1][row]
        neighbours = torch.zeros(nodes, width, dtype=torch.int32)
        padded_weights = torch.zeros(nodes, width, dtype=torch.float32)
        neighbours[row, place] = indices.to(torch.int32)
        padded_weights[row, place] = weights.to(torch.float32)
        return NodeGraph(neighbours, padded_weights, node_features.to(torch.int32))


@dataclass(frozen=True, eq=False)
class Graphs:
    """The graph of the users and the graph of the items."""

    user: NodeGraph
    item: NodeGraph
