"""A platform with the artifacts that an experiment reads, and a stand-in for its children; the tests are elsewhere."""

import copy
import dataclasses
from collections.abc import Callable
from datetime import date, timedelta
from pathlib import Path
from typing import Any, Self

import pyarrow as pa
import pyarrow.parquet as pq
from pydantic import JsonValue

from assets.experiment_plan import ExperimentRequest
from assets.experiments import ExperimentOutcome, run_experiment
from assets.resources import Platform
from data_checks.receipts import Receipt
from ml.data.dataset import DatasetSpec
from ml.experiments.scheduling import CoreBudget
from ml.experiments.summary import TableResult
from tests.assets.training_inputs import publish_inputs

AS_OF = date(2026, 1, 9)
DAYS = [AS_OF - timedelta(days=age) for age in (3, 2, 1, 0)]

#: It notes what it is called with and leaves the files that the real one leaves. A model named in `failing` fails.
STAND_IN = """
import argparse, json, os, pathlib, sys
parser = argparse.ArgumentParser()
parser.add_argument("verb"); parser.add_argument("--spec"); parser.add_argument("--out")
given = parser.parse_args()
spec, out = json.loads(pathlib.Path(given.spec).read_text()), pathlib.Path(given.out)
out.mkdir(parents=True)
calls = pathlib.Path(__file__).parent / "calls"
with calls.open("a") as file:
    print(given.verb, spec.get("model", {}).get("name", spec.get("k", "")), os.environ["OMP_NUM_THREADS"], file=file)
print("working")
if given.verb == "train":
    name = spec["model"]["name"]
    fails = name in (pathlib.Path(__file__).parent / "failing").read_text().split()
    reason = "likely out of memory" if fails else None
    (out / "exit.json").write_text(json.dumps({"seconds": 1.5, "peak_memory_bytes": 7, "reason": reason}))
    (out / "bundle").mkdir()
    (out / "bundle" / "weights").write_text("w")
    (out / "bundle" / "bundle.json").write_text(json.dumps({"best_epoch": 2}))
    sys.exit(1 if fails else 0)
if given.verb == "graph":
    (out / "graph.safetensors").write_text(f"graph {spec['side']} {spec['k']}")
if given.verb == "score":
    assert (pathlib.Path(spec["bundle_dir"]) / "weights").exists()
    (out / "predictions.parquet").write_bytes(pathlib.Path(__file__).with_name("predictions.parquet").read_bytes())
"""


class Bench:
    """A platform with the artifacts that an experiment reads, and a stand-in for its children."""

    def __init__(
        self, platform: Platform, spec: DatasetSpec, folder: Path, publish_day: Callable[..., Receipt]
    ) -> None:
        self.spec, self.folder, self.told = spec, folder, []
        self.out = folder / "out"
        self.stand_in = folder / "python" / "ml"
        self.stand_in.mkdir(parents=True)
        (self.stand_in / "__main__.py").write_text(STAND_IN)
        self.fail()
        content = {"click": [1, 1, 0, 0], "conversion": [1, 0, 0, 0], "p_ctr": [0.9, 0.2, 0.3, 0.1]}
        rest = {"p_cvr": [0.5, 0.4, 0.3, 0.2], "p_ctcvr": [0.4, 0.1, 0.1, 0.02], "value": [2.0, None, None, None]}
        pq.write_table(pa.table({**content, **rest}), self.stand_in / "predictions.parquet")
        self.platform = dataclasses.replace(platform, child_environment={"PYTHONPATH": str(self.stand_in.parent)})
        receipts: dict[str, JsonValue] = {
            day.isoformat(): publish_day(day, content=day.isoformat().encode()).receipt_id for day in DAYS
        }
        publish_inputs(platform, AS_OF, receipts=receipts, folder=folder / "inputs")

    def on_another_machine(self, platform: Platform) -> Self:
        """The same request where nothing is but what the store has."""
        other = copy.copy(self)
        other.platform = dataclasses.replace(platform, child_environment=self.platform.child_environment)
        other.out, other.told = platform.cache_root / "out", []
        return other

    def fail(self, *models: str) -> None:
        (self.stand_in / "failing").write_text(" ".join(models))

    def run(self, **changes: Any) -> ExperimentOutcome:
        request = {
            "as_of": AS_OF, "out": self.out, "tables": ("a",), "models": ("mlp", "esmm"), "seeds": 2,
            "budget": CoreBudget(cores=2),
        }  # fmt: skip
        return run_experiment(
            self.platform, self.spec, ExperimentRequest.model_validate({**request, **changes}), tell=self.told.append
        )

    def calls(self) -> list[str]:
        """What the stand-in was called with since the last question, sorted."""
        file = self.stand_in / "calls"
        lines = file.read_text().splitlines() if file.exists() else []
        file.unlink(missing_ok=True)
        return sorted(lines)


def figure(table: TableResult, label: str, metric: Any = "ctr_auc") -> Any:
    return next(row for row in table.rows if row.label == label).entries[metric].mean
