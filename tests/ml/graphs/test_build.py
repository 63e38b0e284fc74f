"""One graph from samples, vocabulary and table to its two files."""

import json
from collections.abc import Callable
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import safetensors.numpy
from pydantic import ValidationError

from ml.data.encoded_day import file_sha256
from ml.data.encoding import encode_day
from ml.data.fields import FieldSpec
from ml.data.vocabulary import Vocabulary, build_vocabulary
from ml.graphs.build import run
from ml.graphs.graph import build_graph, load_graph
from ml.graphs.nodes import node_features
from ml.graphs.spec import GraphSpec

FIELDS = (
    FieldSpec(name="user", entity="user", kind="id"),
    FieldSpec(name="age", entity="user"),
    FieldSpec(name="item", entity="item", kind="id"),
)
DAYS = (date(2026, 1, 1), date(2026, 1, 3))


@pytest.fixture
def inputs(tmp_path: Path) -> Callable[..., GraphSpec]:
    """Writes two days of samples, their vocabulary and a random table, and returns specs of graphs from them."""
    generator = np.random.default_rng(0)
    paths = []
    for day in DAYS:
        users, ages, items = (generator.integers(0, size, 80).astype(str) for size in (30, 4, 12))
        zeros = np.zeros(80, dtype=np.int64)
        columns = {"user": users, "age": ages, "item": items, "click": zeros, "conversion": zeros}
        paths.append(tmp_path / f"{day}.parquet")
        pq.write_table(pa.table(columns | {"value": zeros.astype(float)}), paths[-1])
    vocabulary = build_vocabulary(samples=paths, fields=FIELDS, user_key="user", item_key="item", min_count=2)
    vocabulary.save(tmp_path / "vocabulary")
    table = generator.normal(size=(vocabulary.layout.total_rows, 5)).astype(np.float32)
    safetensors.numpy.save_file({"table": table}, tmp_path / "table.safetensors")

    def spec(**changes: Any) -> GraphSpec:
        settings: dict[str, Any] = {
            "side": "user",
            "table": tmp_path / "table.safetensors",
            "vocabulary_dir": tmp_path / "vocabulary",
            "days": [
                {"day": day, "samples": path, "content_id": file_sha256(path)}
                for day, path in zip(DAYS, paths, strict=True)
            ],
            "encoded_cache": tmp_path / "cache",
            "k": 3,
        }
        return GraphSpec.model_validate(settings | changes)

    return spec


@pytest.mark.parametrize("side", ["user", "item"])
def test_the_files_hold_the_graph_of_the_table_and_what_it_is(
    tmp_path: Path, inputs: Callable[..., GraphSpec], side: Any
) -> None:
    spec = inputs(side=side)
    report = run(spec, tmp_path / "out")
    graph, features = load_graph(tmp_path / "out" / "graph.safetensors")

    vocabulary = Vocabulary.load(spec.vocabulary_dir)
    days = [
        encode_day(samples=entry.samples, vocabulary=vocabulary, out=tmp_path / str(entry.day)) for entry in spec.days
    ]
    assert features.tolist() == node_features(days, vocabulary.layout, side).tolist()
    table = safetensors.numpy.load_file(spec.table)["table"]
    expected = build_graph(representations=table[features].reshape(len(features), -1), k=3)
    assert graph.indices.tolist() == expected.indices.tolist()
    assert graph.weights.tolist() == expected.weights.tolist()

    written = json.loads((tmp_path / "out" / "graph.json").read_text())
    assert written == json.loads(report.model_dump_json())
    assert (written["side"], written["nodes"], written["edges"]) == (side, graph.n, graph.edges)
    assert written["mean_degree"] == graph.edges / graph.n
    assert written["dimensions"] == features.shape[1] * 5
    assert written["graph_sha256"] == file_sha256(tmp_path / "out" / "graph.safetensors")
    assert written["samples_content_ids"] == [entry.content_id for entry in spec.days]
    quantiles = written["similarity_quantiles"]
    assert list(quantiles) == ["0", "0.05", "0.25", "0.5", "0.75", "0.95", "1"]
    assert list(quantiles.values()) == sorted(quantiles.values())
    assert 0 < quantiles["0"] <= quantiles["1"] < 1


def test_the_same_spec_gives_the_same_bytes_and_leaves_nothing_else(
    tmp_path: Path, inputs: Callable[..., GraphSpec]
) -> None:
    for name in ("first", "second"):
        run(inputs(), tmp_path / name)
        assert sorted(path.name for path in (tmp_path / name).iterdir()) == ["graph.json", "graph.safetensors"]
    for file in ("graph.json", "graph.safetensors"):
        assert (tmp_path / "first" / file).read_bytes() == (tmp_path / "second" / file).read_bytes()


def test_nodes_alone_with_themselves_are_counted_as_isolated(tmp_path: Path, inputs: Callable[..., GraphSpec]) -> None:
    spec = inputs(side="item")
    table = safetensors.numpy.load_file(spec.table)["table"]
    layout = Vocabulary.load(spec.vocabulary_dir).layout
    items = layout.columns[layout.node_column("item")]
    axes = np.zeros((items.size, 5), dtype=np.float32)
    axes[1:4] = [[1, 0, 0, 0, 0], [0, 1, 0, 0, 0], [0, 2, 0, 0, 0]]
    table[items.offset : items.offset + items.size] = axes
    safetensors.numpy.save_file({"table": table}, tmp_path / "axes.safetensors")
    report = run(inputs(side="item", table=tmp_path / "axes.safetensors"), tmp_path / "out")
    # Three items have an embedding, and two of these are near each other.
    assert (report.nodes, report.edges, report.isolated_nodes) == (items.size - 1, 5, items.size - 1 - 2)
    assert set(report.similarity_quantiles.values()) == {1.0}
    alone = run(inputs(side="item", table=tmp_path / "axes.safetensors", k=1), tmp_path / "alone")
    assert (alone.edges, alone.isolated_nodes, alone.similarity_quantiles) == (3, items.size - 1, {})


def test_a_table_of_another_vocabulary_is_refused(tmp_path: Path, inputs: Callable[..., GraphSpec]) -> None:
    spec = inputs()
    table = safetensors.numpy.load_file(spec.table)["table"]
    for name, tensors, message in (
        ("short", {"table": table[:-1]}, rf"needs float32 with {len(table)} rows"),
        ("wide", {"table": table.astype(np.float64)}, "is float64"),
        ("unnamed", {"weights": table}, r"holds the tensors \['weights'\]"),
    ):
        safetensors.numpy.save_file(tensors, tmp_path / name)
        with pytest.raises(ValueError, match=message):
            run(inputs(table=tmp_path / name), tmp_path / "out")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("change", [{"k": 0}, {"days": []}, {"side": "context"}, {"threads": 0}])
def test_a_spec_that_cannot_be_is_refused(inputs: Callable[..., GraphSpec], change: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        inputs(**change)


def test_days_out_of_order_are_refused(inputs: Callable[..., GraphSpec]) -> None:
    with pytest.raises(ValidationError, match="days must rise"):
        inputs(days=inputs().days[::-1])
