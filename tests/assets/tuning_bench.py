"""A platform with the artifacts that a search reads, and a stand-in for its children; the tests are elsewhere."""

import copy
import dataclasses
import json
from collections.abc import Callable
from datetime import date, timedelta
from pathlib import Path
from typing import Any, Self

from pydantic import JsonValue

from assets.resources import Platform, Tracking
from assets.tuning import run_tuning
from assets.tuning_trials import TuningRequest
from data_checks.receipts import Receipt
from infra.local_object_store import LocalObjectStore
from ml.data.dataset import DatasetSpec
from ml.experiments.scheduling import CoreBudget
from ml.tuning.records import StudyRecord
from ml.tuning.search_space import read_space
from tests.assets.training_inputs import publish_inputs

AS_OF = date(2026, 1, 9)
DAYS = [AS_OF - timedelta(days=age) for age in (3, 2, 1)]

#: It writes epoch lines as the trainer does, each as good as the learning rate is high, and waits where it is told to.
STAND_IN = """
import argparse, json, os, pathlib, sys, time
parser = argparse.ArgumentParser()
parser.add_argument("verb"); parser.add_argument("--spec"); parser.add_argument("--out")
given = parser.parse_args()
here = pathlib.Path(__file__).parent
spec, out = json.loads(pathlib.Path(given.spec).read_text()), pathlib.Path(given.out)
out.mkdir(parents=True)
plan = json.loads((here / "plan").read_text())
number = int(out.parent.name)
with (here / "calls").open("a") as file:
    print(number, spec["learning_rate"], spec["model"]["embedding_size"], os.environ["OMP_NUM_THREADS"], file=file)
checkpoint = pathlib.Path(spec["runtime"]["checkpoints"])
checkpoint.mkdir(parents=True, exist_ok=True)
(checkpoint / "kept").write_text(str(number))
if number in plan["failing"]:
    (out / "exit.json").write_text(json.dumps({"reason": "the loss is no number"}))
    sys.exit(1)
(out / "bundle").mkdir()
for epoch in range(1, spec["epochs"] + 1):
    value = 1.0 + spec["learning_rate"] - (0.5 if number in plan["bad"] else 0)
    line = {"kind": "epoch", "epoch": epoch, "validation": {"score": value, "score_is": "auc_ctr + auc_ctcvr"}}
    with (out / "metrics.jsonl").open("a") as file:
        print(json.dumps(line), file=file)
    if number in plan["bad"] and epoch == 2 or number in plan["waiting"]:
        time.sleep(120)
"""


class Bench:
    """A platform with the artifacts that a search reads, and a stand-in for its children."""

    def __init__(
        self, platform: Platform, spec: DatasetSpec, folder: Path, publish_day: Callable[..., Receipt]
    ) -> None:
        self.spec, self.folder, self.told = spec, folder, []
        self.out = folder / "study"
        self.stand_in = folder / "python" / "ml"
        self.stand_in.mkdir(parents=True)
        (self.stand_in / "__main__.py").write_text(STAND_IN)
        self.plan()
        self.platform = dataclasses.replace(platform, child_environment={"PYTHONPATH": str(self.stand_in.parent)})
        # The as-of day itself has no receipt: nothing of it is read.
        receipts: dict[str, JsonValue] = {
            day.isoformat(): publish_day(day, content=day.isoformat().encode()).receipt_id for day in DAYS
        }
        publish_inputs(platform, AS_OF, receipts=receipts, folder=folder / "inputs")

    def on_another_machine(self, platform: Platform) -> Self:
        """The same request where nothing is but what the store has."""
        other = copy.copy(self)
        other.platform = dataclasses.replace(platform, child_environment=self.platform.child_environment)
        other.out, other.told = platform.cache_root / "study", []
        return other

    def plan(self, **numbers: list[int]) -> None:
        """Trials by number that fail, fall behind after their second epoch, or never end."""
        (self.stand_in / "plan").write_text(json.dumps({"failing": [], "bad": [], "waiting": [], **numbers}))

    def request(self, **changes: Any) -> TuningRequest:
        content = {"learning_rate": {"low": 1e-4, "high": 1e-2}, "embedding_size": [4, 8]}
        values = {
            "as_of": AS_OF,
            "name": "s",
            "out": self.out,
            "training": {**self.spec.training.training_settings(), "epochs": 3},
            "model": {"embedding_size": 5, **self.spec.training.model},
            "given": {"epochs": 3},
            "space": read_space(content, model="esmm"),
            "trials": 3,
            "budget": CoreBudget(cores=1),
            **changes,
        }
        return TuningRequest.model_validate(values)

    def run(self, **changes: Any) -> StudyRecord:
        return run_tuning(self.platform, self.spec, self.request(**changes), tell=self.told.append)

    def calls(self) -> list[list[str]]:
        """What the stand-in was called with since the last question."""
        file = self.stand_in / "calls"
        lines = file.read_text().splitlines() if file.exists() else []
        file.unlink(missing_ok=True)
        return [line.split() for line in lines]


def run_in_another_process(folder: Path) -> None:
    """The search that `folder` holds the request and the spec of."""
    tracking = Tracking(project="t", online=False, timeout_seconds=1, folder=folder / "tracking", environment={})
    platform = Platform(
        objects=LocalObjectStore(folder / "store"),
        feed_root=folder / "feed",
        cache_root=folder / "cache",
        child_environment={"PYTHONPATH": str(folder / "python")},
        threads=1,
        device="cpu",
        tracking=tracking,
    )
    spec = DatasetSpec.model_validate_json((folder / "spec.json").read_text())
    request = TuningRequest.model_validate_json((folder / "request.json").read_text())
    run_tuning(platform, spec, request, tell=lambda _: None)
