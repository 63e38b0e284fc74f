"""The normalised graph against the dense matrix of the paper, and its file."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
import safetensors.numpy

from ml.graphs.graph import CsrGraph, GraphInvalid, build_graph, load_graph, save_graph

Floats = npt.NDArray[np.float32]


def dense_reference(vectors: Floats, k: int, include_self: bool) -> npt.NDArray[np.float64]:
    """G = D^{-1/2} Ŝ D^{-1/2} of MODELS.md (CSTWA 3) with every entry of the N × N matrices in a loop."""
    n = len(vectors)
    cosine = np.zeros((n, n))
    for i in range(n):
        for j in range(n):
            norm = np.linalg.norm(vectors[i].astype(float)) * np.linalg.norm(vectors[j].astype(float))
            cosine[i, j] = vectors[i].astype(float) @ vectors[j].astype(float) / norm if norm else 0.0
    kept = np.zeros((n, n))
    for i in range(n):
        others = [j for j in range(n) if j != i and np.any(vectors[j])]
        others.sort(key=lambda j, i=i: (-round(cosine[i, j], 9), j))
        chosen = ([i, *others] if include_self else others)[:k]
        for j in chosen:
            kept[i, j] = max(cosine[i, j], 0.0)
    degree = [sum(row) for row in kept]
    graph = np.zeros((n, n))
    for i in range(n):
        for j in range(n):
            if degree[i] > 0 and degree[j] > 0:
                graph[i, j] = kept[i, j] / np.sqrt(degree[i] * degree[j])
    return graph


def dense(graph: CsrGraph) -> npt.NDArray[np.float64]:
    matrix = np.zeros((graph.n, graph.n))
    for i in range(graph.n):
        for edge in range(graph.indptr[i], graph.indptr[i + 1]):
            matrix[i, graph.indices[edge]] += graph.weights[edge]
    return matrix


def vectors_with_zero_rows(nodes: int) -> Floats:
    vectors = np.random.default_rng(nodes).normal(size=(nodes, 4)).astype(np.float32)
    vectors[3::10] = 0
    return vectors


@pytest.mark.parametrize("include_self", [True, False])
@pytest.mark.parametrize("k", [1, 3, 8, 50])
def test_the_graph_is_the_papers(k: int, include_self: bool) -> None:
    vectors = vectors_with_zero_rows(40)
    graph = build_graph(representations=vectors, k=k, include_self=include_self)
    expected = dense_reference(vectors, k, include_self)
    np.testing.assert_allclose(dense(graph), expected, atol=1e-6)
    assert graph.edges == (expected > 0).sum()
    assert graph.degrees.max() <= k
    for zero in range(3, 40, 10):
        assert graph.degrees[zero] == 0
        assert zero not in graph.indices


def test_ties_and_opposites() -> None:
    vectors = np.array([[1, 0], [1, 0], [2, 0], [-1, 0], [0, 1], [0, 0]], dtype=np.float32)
    for include_self in (True, False):
        graph = build_graph(representations=vectors, k=2, include_self=include_self)
        np.testing.assert_allclose(dense(graph), dense_reference(vectors, 2, include_self), atol=1e-7)
    without_self = build_graph(representations=vectors, k=2, include_self=False)
    assert without_self.degrees.tolist() == [2, 2, 2, 0, 0, 0]


def test_arrays_are_canonical_and_the_same_every_time() -> None:
    vectors = vectors_with_zero_rows(60)
    first, second = (build_graph(representations=vectors, k=5) for _ in range(2))
    assert (first.indptr.dtype, first.indices.dtype, first.weights.dtype) == (np.int64, np.int32, np.float32)
    for i in range(first.n):
        row = first.indices[first.indptr[i] : first.indptr[i + 1]].tolist()
        assert row == sorted(set(row))
    assert first.weights.tobytes() == second.weights.tobytes()
    assert first.indices.tobytes() == second.indices.tobytes()


@pytest.mark.parametrize("vectors", [np.zeros((0, 3), dtype=np.float32), np.zeros((4, 3), dtype=np.float32)])
def test_a_graph_without_edges(vectors: Floats, tmp_path: Path) -> None:
    graph = build_graph(representations=vectors)
    assert (graph.n, graph.edges, graph.indptr.tolist()) == (len(vectors), 0, [0] * (len(vectors) + 1))
    save_graph(tmp_path / "graph", graph=graph, node_features=np.zeros((graph.n, 2), dtype=np.int32))
    assert load_graph(tmp_path / "graph")[0].edges == 0


def test_the_file_holds_graph_and_node_features_in_the_same_bytes_every_time(tmp_path: Path) -> None:
    graph = build_graph(representations=vectors_with_zero_rows(20), k=4)
    features = np.arange(60, dtype=np.int32).reshape(3, 20).T
    for name in ("first", "second"):
        save_graph(tmp_path / name, graph=graph, node_features=features)
    assert (tmp_path / "first").read_bytes() == (tmp_path / "second").read_bytes()
    loaded, loaded_features = load_graph(tmp_path / "first")
    np.testing.assert_array_equal(dense(loaded), dense(graph))
    np.testing.assert_array_equal(loaded_features, features)
    assert loaded.n == 20
    assert sorted(path.name for path in tmp_path.iterdir()) == ["first", "second"]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"indptr": np.array([0, 2], dtype=np.int64)}, "2 row bounds for 2 nodes"),
        ({"indptr": np.array([0, 2, 1], dtype=np.int64)}, "do not rise"),
        ({"indptr": np.array([0, 0, 1], dtype=np.int64)}, "do not rise"),
        ({"indices": np.array([0, 2], dtype=np.int32)}, "neighbours that are no nodes"),
        ({"indices": np.array([0, -1], dtype=np.int32)}, "neighbours that are no nodes"),
        ({"weights": np.ones(1, dtype=np.float32)}, "1 weights for 2 edges"),
        ({"weights": np.ones(2, dtype=np.float64)}, "float64"),
        ({"extra": np.ones(2, dtype=np.float32)}, "extra"),
    ],
)
def test_a_file_that_is_no_graph_is_refused(tmp_path: Path, change: dict, message: str) -> None:
    tensors = {
        "indptr": np.array([0, 1, 2], dtype=np.int64),
        "indices": np.array([0, 1], dtype=np.int32),
        "weights": np.ones(2, dtype=np.float32),
        "node_features": np.zeros((2, 1), dtype=np.int32),
    }
    safetensors.numpy.save_file(tensors, tmp_path / "graph")
    assert load_graph(tmp_path / "graph")[0].edges == 2
    safetensors.numpy.save_file(tensors | change, tmp_path / "graph")
    with pytest.raises(GraphInvalid, match=message):
        load_graph(tmp_path / "graph")


def test_reading_a_graph_loads_neither_faiss_nor_torch() -> None:
    code = "import sys, ml.graphs.graph, ml.graphs.spec; print(sorted({'faiss', 'torch'} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"
