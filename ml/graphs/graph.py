"""The sparse, normalised similarity graph and its file; it knows neighbours by number and nothing of embeddings."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
import safetensors.numpy

from ml.atomic_files import atomic_file

if TYPE_CHECKING:
    from ml.graphs.similarity import Neighbours

_TENSORS = {"indptr": np.int64, "indices": np.int32, "weights": np.float32, "node_features": np.int32}


class GraphInvalid(ValueError):
    """A graph file that is none, or whose parts do not fit together."""


@dataclass(frozen=True, eq=False)
class CsrGraph:
    """G as a compressed sparse row matrix [n, n]: row i has columns ``indices[indptr[i]:indptr[i + 1]]`` (rising) with
    ``weights`` there. ``indptr`` int64 [n + 1], ``indices`` int32 [E], ``weights`` float32 [E], all > 0."""

    indptr: npt.NDArray[np.int64]
    indices: npt.NDArray[np.int32]
    weights: npt.NDArray[np.float32]
    n: int

    @property
    def edges(self) -> int:
        """Entries of the matrix, those on its diagonal included."""
        return len(self.indices)

    @property
    def degrees(self) -> npt.NDArray[np.int64]:
        """int64 [n]: entries of each row."""
        return np.diff(self.indptr)


def build_graph(*, representations: npt.NDArray[np.float32], k: int = 8, include_self: bool = True) -> CsrGraph:
    """The top-``k`` cosine graph of ``representations`` float32 [n, D], normalised (MODELS.md, CSTWA 3).

    Raises ``ValueError`` for k < 1 or representations that are not finite.
    """
    # A trainer reads graphs beside torch: faiss and its own OpenMP runtime are loaded only where neighbours are sought.
    from ml.graphs.similarity import top_k

    return normalised_graph(top_k(representations, k=k, include_self=include_self))


def normalised_graph(neighbours: Neighbours) -> CsrGraph:
    """G = D^{-1/2} Ŝ D^{-1/2}, where Ŝ holds each row's positive similarities and D = diag(row sums of Ŝ).

    Ŝ need not be symmetric, as a node may be near one that has nearer neighbours. Rows of degree 0 stay 0.
    """
    nodes, _ = neighbours.ids.shape
    positive = (neighbours.ids >= 0) & (neighbours.similarities > 0)
    similarities = np.where(positive, neighbours.similarities, 0).astype(np.float64)
    degree = similarities.sum(axis=1)
    scale = np.zeros(nodes)
    np.divide(1.0, np.sqrt(degree), out=scale, where=degree > 0)
    row = np.repeat(np.arange(nodes), positive.sum(axis=1))
    column = neighbours.ids[positive]
    weight = (scale[row] * similarities[positive] * scale[column]).astype(np.float32)
    order = np.lexsort((column, row))
    order = order[weight[order] > 0]
    return CsrGraph(
        indptr=np.concatenate([[0], np.cumsum(np.bincount(row[order], minlength=nodes))]).astype(np.int64),
        indices=column[order].astype(np.int32),
        weights=weight[order],
        n=nodes,
    )


def save_graph(path: Path, *, graph: CsrGraph, node_features: npt.NDArray[np.int32]) -> None:
    """Writes ``graph`` and ``node_features`` int32 [n, F] into one safetensors file, which appears whole; same graph,
    same bytes. Raises ``GraphInvalid`` if the two do not fit."""
    tensors = {
        "indptr": graph.indptr,
        "indices": graph.indices,
        "weights": graph.weights,
        "node_features": node_features,
    }
    _refuse_invalid(path, tensors)
    with atomic_file(path) as draft:
        safetensors.numpy.save_file({name: np.ascontiguousarray(array) for name, array in tensors.items()}, draft)


def load_graph(path: Path) -> tuple[CsrGraph, npt.NDArray[np.int32]]:
    """The graph and node features [n, F] that ``save_graph`` wrote; raises ``GraphInvalid`` if they cannot be."""
    tensors = safetensors.numpy.load_file(path)
    _refuse_invalid(path, tensors)
    graph = CsrGraph(
        indptr=tensors["indptr"],
        indices=tensors["indices"],
        weights=tensors["weights"],
        n=len(tensors["node_features"]),
    )
    return graph, tensors["node_features"]


def _refuse_invalid(path: Path, tensors: dict[str, npt.NDArray]) -> None:
    found = {name: array.dtype for name, array in tensors.items()}
    if found != {name: np.dtype(kind) for name, kind in _TENSORS.items()}:
        raise GraphInvalid(f"{path} holds {found}, a graph has {_TENSORS}: build the graph again")
    indptr, indices, nodes = tensors["indptr"], tensors["indices"], len(tensors["node_features"])
    faults = {
        f"{len(indptr)} row bounds for {nodes} nodes": len(indptr) != nodes + 1,
        "row bounds that do not rise from 0 to the number of edges": len(indptr) == 0
        or indptr[0] != 0
        or indptr[-1] != len(indices)
        or bool((np.diff(indptr) < 0).any()),
        "neighbours that are no nodes": len(indices) > 0 and not 0 <= indices.min() <= indices.max() < nodes,
        f"{len(tensors['weights'])} weights for {len(indices)} edges": len(tensors["weights"]) != len(indices),
    }
    for fault, present in faults.items():
        if present:
            raise GraphInvalid(f"{path} has {fault}: build the graph again")
