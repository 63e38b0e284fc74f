"""What the report is told beside the evaluation: days, labels, cost and inspections, with a stand-in for the child."""

import dataclasses
import json
from collections.abc import Callable
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import pytest

from assets.models import model_key
from assets.report_facts import report_facts
from assets.resources import Platform
from data_checks.receipts import Receipt
from infra.artifacts import Artifact
from ml.data.dataset import DatasetSpec

AS_OF = date(2026, 1, 9)
TRAINED = [AS_OF - timedelta(days=age) for age in (2, 1)]
# Writes an inspection that repeats what it was told; fails for the model whose weights say so.
STAND_IN = """
import argparse, json, pathlib, sys
parser = argparse.ArgumentParser()
parser.add_argument("verb"); parser.add_argument("--spec"); parser.add_argument("--out")
given = parser.parse_args()
spec, out = json.loads(pathlib.Path(given.spec).read_text()), pathlib.Path(given.out)
weights = (pathlib.Path(spec["bundle_dir"]) / "weights").read_text()
if weights == "killed":
    sys.exit("out of memory")
if weights == "refused":
    print("the vocabulary is another"); sys.exit(2)
out.mkdir(parents=True)
told = [f"{given.verb} {weights}", f"table {pathlib.Path(spec['embedding_table'] or 'none').name}"]
counts = {"rows": 1, "clicks": 1, "conversions": 1, "repeats": 1}
(out / "inspection.json").write_text(json.dumps({"model_id": "m", "model": "esmm", "notes": told, **counts}))
"""


@pytest.fixture
def store(platform: Platform, tmp_path: Path, publish_day: Callable[..., Receipt]) -> Any:
    """A platform with two training days, embeddings, and `bundle(name, weights, vocabulary)` that publishes a model."""
    stand_in = tmp_path / "python" / "ml"
    stand_in.mkdir(parents=True)
    (stand_in / "__main__.py").write_text(STAND_IN)
    platform = dataclasses.replace(platform, child_environment={"PYTHONPATH": str(stand_in.parent)})
    receipts = {day.isoformat(): publish_day(day, content=str(day).encode()) for day in TRAINED}
    folder = tmp_path / "files"
    folder.mkdir()

    def written(name: str, text: str) -> Path:
        (folder / name).write_text(text)
        return folder / name

    def bundle(name: str, weights: str = "w", vocabulary: str = "v") -> Artifact:
        files = {
            "weights": written(f"{name}-w", weights),
            "vocabulary/ids": written(f"{name}-v", vocabulary),
        }
        facts = {
            "as_of": AS_OF.isoformat(),
            "receipts": {day: receipt.receipt_id for day, receipt in receipts.items()},
            "missing_days": {"2026-01-06": "refused: volume"},
            "exit": {"seconds": 2.0, "peak_memory_bytes": 7},
        }
        platform.artifacts.publish(model_key(name), files, metadata=facts)
        return platform.artifacts.open(model_key(name))

    embeddings = {"table.safetensors": written("t", "t"), "vocabulary/ids": written("e", "v")}
    platform.artifacts.publish(f"ctr_embeddings/{AS_OF}", embeddings, metadata={"receipts": {}})
    return platform, bundle, publish_day(AS_OF, content=b"judged")


def gather(store: Any, spec: DatasetSpec, tmp_path: Path, **changes: Any) -> Any:
    platform, _, receipt = store
    told: list[str] = []
    given = {
        "as_of": AS_OF, "receipt": receipt, "samples": tmp_path / "samples", "champion": None, "restated": (),
        "mature_from": None, "folder": tmp_path / "scratch", "log": told.append,
    }  # fmt: skip
    return report_facts(platform, spec, **{**given, **changes}), told


@pytest.fixture(autouse=True)
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # `python -m` looks in the working folder first, which is the repository.
    monkeypatch.chdir(tmp_path)


def test_both_models_are_inspected_and_days_are_named(store: Any, spec: DatasetSpec, tmp_path: Path):
    _, bundle, receipt = store
    facts, _ = gather(
        store, spec, tmp_path,
        bundle=bundle("a" * 64, "ours"), champion=bundle("b" * 64, "theirs"), restated=(TRAINED[0].isoformat(),),
    )  # fmt: skip
    assert facts.inspection.notes == ("inspect ours", "table table.safetensors")
    assert facts.champion_inspection.notes[0] == "inspect theirs"
    assert [(day.day, day.verdict, day.restated) for day in facts.data_used] == [
        (TRAINED[0].isoformat(), "admitted", True),
        (TRAINED[1].isoformat(), "admitted", False),
        ("2026-01-06", "missing", False),
    ]
    assert facts.data_used[0].rows == 10
    assert (facts.labels_mature, facts.label_days) == (receipt.labels_mature, spec.label_days)
    assert facts.costs.stages[-1].wall_seconds == 2.0


def test_a_table_of_another_vocabulary_is_not_compared_with(store: Any, spec: DatasetSpec, tmp_path: Path):
    facts, _ = gather(store, spec, tmp_path, bundle=store[1]("a" * 64, vocabulary="another"))
    assert facts.inspection.notes[1] == "table none"


@pytest.mark.parametrize(("weights", "why"), [("killed", "out of memory"), ("refused", "the vocabulary is another")])
def test_an_inspection_that_fails_is_a_sentence_and_the_rest_stands(
    store: Any, spec: DatasetSpec, tmp_path: Path, weights: str, why: str
):
    _, bundle, _ = store
    facts, told = gather(store, spec, tmp_path, bundle=bundle("a" * 64, weights), champion=bundle("b" * 64))
    assert facts.inspection is None
    assert facts.champion_inspection is not None
    assert len(facts.inspection_failures) == 1
    assert why in facts.inspection_failures[0]
    assert facts.inspection_failures[0].startswith(f"model {'a' * 12}:")
    assert any(why in line for line in told)
    assert json.loads(facts.model_dump_json())["data_used"]
