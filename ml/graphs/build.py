"""Builds one side's similarity graph from a spec and writes it: the body of ``python -m ml graph``; needs no torch."""

from __future__ import annotations

from pathlib import Path

import faiss
import numpy as np
import numpy.typing as npt
import safetensors.numpy
from pydantic import BaseModel, ConfigDict

from ml.atomic_files import atomic_file
from ml.data.encoded_day import file_sha256
from ml.data.encoding import encode_days
from ml.data.layout import Side
from ml.data.vocabulary import Vocabulary
from ml.graphs.graph import CsrGraph, normalised_graph, save_graph
from ml.graphs.nodes import node_features
from ml.graphs.similarity import Neighbours, representations, top_k
from ml.graphs.spec import GraphSpec

GRAPH_FILE = "graph.safetensors"
REPORT_FILE = "graph.json"
_QUANTILES = (0.0, 0.05, 0.25, 0.5, 0.75, 0.95, 1.0)


class GraphReport(BaseModel):
    """What a graph is and was built from. ``similarity_quantiles`` maps a probability to the cosine similarity of the
    edges between different nodes, and is empty where there are none."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    format: int = 1
    side: Side
    k: int
    include_self: bool
    nodes: int
    edges: int
    mean_degree: float
    isolated_nodes: int
    dimensions: int
    similarity_quantiles: dict[str, float]
    vocabulary_digest: str
    table_sha256: str
    samples_content_ids: tuple[str, ...]
    graph_sha256: str


def run(spec: GraphSpec, out_dir: Path) -> GraphReport:
    """Writes graph.safetensors (see ``save_graph``) and, last, graph.json (the report) into ``out_dir``.

    Days without a cached encoding are encoded first. Raises ``ValueError`` (``EncodingMismatch``,
    ``VocabularyInvalid``) if table, vocabulary and samples do not belong together, ``FileNotFoundError`` if one is not
    there.
    """
    faiss.omp_set_num_threads(spec.threads)
    vocabulary = Vocabulary.load(spec.vocabulary_dir)
    table = _read_table(spec.table, rows=vocabulary.layout.total_rows)
    days = encode_days(
        days={entry.day: (entry.samples, entry.content_id) for entry in spec.days},
        vocabulary=vocabulary,
        cache=spec.encoded_cache,
    )
    features = node_features([days[entry.day] for entry in spec.days], vocabulary.layout, spec.side)
    vectors = representations(table, features)
    neighbours = top_k(vectors, k=spec.k, include_self=spec.include_self)
    graph = normalised_graph(neighbours)
    out_dir.mkdir(parents=True, exist_ok=True)
    save_graph(out_dir / GRAPH_FILE, graph=graph, node_features=features)
    report = GraphReport(
        side=spec.side,
        k=spec.k,
        include_self=spec.include_self,
        nodes=graph.n,
        edges=graph.edges,
        mean_degree=graph.edges / max(graph.n, 1),
        isolated_nodes=_isolated(graph),
        dimensions=vectors.shape[1],
        similarity_quantiles=_similarity_quantiles(neighbours),
        vocabulary_digest=vocabulary.digest,
        table_sha256=file_sha256(spec.table),
        samples_content_ids=tuple(entry.content_id for entry in spec.days),
        graph_sha256=file_sha256(out_dir / GRAPH_FILE),
    )
    with atomic_file(out_dir / REPORT_FILE) as draft:
        draft.write_text(report.model_dump_json(indent=1) + "\n", encoding="utf-8")
    return report


def _read_table(path: Path, *, rows: int) -> npt.NDArray[np.float32]:
    tensors = safetensors.numpy.load_file(path)
    if "table" not in tensors:
        raise ValueError(f"{path} holds the tensors {sorted(tensors)}, expected `table`: name a pre-trained table")
    table = tensors["table"]
    if table.dtype != np.float32 or table.ndim != 2 or len(table) != rows:
        raise ValueError(
            f"the table in {path} is {table.dtype} {table.shape}, the vocabulary needs float32 with {rows} rows: take "
            "the table and the vocabulary of one pre-training"
        )
    return table


def _isolated(graph: CsrGraph) -> int:
    """Nodes whose row holds nothing but perhaps themselves: nothing migrates to them."""
    row = np.repeat(np.arange(graph.n), graph.degrees)
    others = np.bincount(row[graph.indices != row], minlength=graph.n)
    return int((others == 0).sum())


def _similarity_quantiles(neighbours: Neighbours) -> dict[str, float]:
    others = (neighbours.ids != np.arange(len(neighbours.ids))[:, None]) & (neighbours.similarities > 0)
    similarities = neighbours.similarities[others]
    if len(similarities) == 0:
        return {}
    found = np.quantile(similarities.astype(np.float64), _QUANTILES)
    return {f"{probability:g}": float(value) for probability, value in zip(_QUANTILES, found, strict=True)}
