"""Reads what earlier assets made for a training run: encoded days, graphs, the pre-trained table."""

from __future__ import annotations

import json
from pathlib import Path

import torch
from safetensors.torch import load_file

from ml.atomic_files import sha256_file
from ml.data.batches import WindowBatches
from ml.data.encoding import encode_days
from ml.data.vocabulary import Vocabulary
from ml.graphs.graph import load_graph
from ml.models.layers.node_graph import Graphs, NodeGraph
from ml.training.spec import TrainSpec

TABLE_FILE = "table.safetensors"
TABLE = "table"
GRAPH_FILE = "graph.safetensors"
GRAPH_REPORT = "graph.json"


class InputRefused(ValueError):
    """An input that does not belong to this run, or holds nothing to train on."""


def window_batches(spec: TrainSpec, vocabulary: Vocabulary) -> WindowBatches:
    """The window's encoded days (from the cache where they are there) as batches.

    Raises ``InputRefused`` if no row is left for training.
    """
    encoded = encode_days(
        days={day.day: (day.samples, day.content_sha256) for day in spec.days},
        vocabulary=vocabulary,
        cache=spec.runtime.encoded_cache,
    )
    batches = WindowBatches(
        [encoded[day.day] for day in spec.days],
        batch_size=spec.batch_size,
        seed=spec.seed,
        validation_share=spec.validation_share,
    )
    if batches.training_rows == 0:
        rows = {str(day): encoded[day].rows for day in sorted(encoded)}
        raise InputRefused(
            f"the window holds no row to train on: rows by day {rows}, of which {batches.validation_rows} are for "
            "validation; admit days with samples"
        )
    return batches


def read_graphs(spec: TrainSpec, vocabulary: Vocabulary) -> Graphs | None:
    """Both graphs, or None where the model needs none.

    Raises ``InputRefused`` if a graph differs from its report or was built from another vocabulary, and
    ``GraphInvalid`` if it is no graph.
    """
    if not spec.model.needs_graphs:
        return None
    assert spec.inputs.user_graph_dir is not None
    assert spec.inputs.item_graph_dir is not None
    return Graphs(
        user=_read_graph(spec.inputs.user_graph_dir, vocabulary),
        item=_read_graph(spec.inputs.item_graph_dir, vocabulary),
    )


def read_pretrained_table(spec: TrainSpec) -> torch.Tensor | None:
    """float32 [total_rows, d] of the CTR pre-training, or None where the model needs none."""
    if not spec.model.needs_pretrained_table:
        return None
    assert spec.inputs.embedding_table is not None
    tensors = load_file(str(spec.inputs.embedding_table))
    if TABLE not in tensors:
        raise InputRefused(f"{spec.inputs.embedding_table} holds {sorted(tensors)}, expected a tensor {TABLE!r}")
    return tensors[TABLE]


def _read_graph(directory: Path, vocabulary: Vocabulary) -> NodeGraph:
    report = json.loads((directory / GRAPH_REPORT).read_text(encoding="utf-8"))
    expectations = (
        ("graph_sha256", sha256_file(directory / GRAPH_FILE), "the file was changed: build the graph again"),
        ("vocabulary_digest", vocabulary.digest, "it was built from another vocabulary: build both from one"),
    )
    for key, expected, remedy in expectations:
        if report.get(key) != expected:
            raise InputRefused(f"{directory / GRAPH_REPORT} has {key} {report.get(key)}, not {expected}; {remedy}")
    graph, node_features = load_graph(directory / GRAPH_FILE)
    return NodeGraph.from_csr(
        indptr=torch.from_numpy(graph.indptr),
        indices=torch.from_numpy(graph.indices),
        weights=torch.from_numpy(graph.weights),
        node_features=torch.from_numpy(node_features),
    )
