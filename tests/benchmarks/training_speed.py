"""Training samples per CPU second, start-up and encoding taken out: the cost of two more epochs of a child process."""

import json
import resource
import shutil
import subprocess
import sys
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

from ml.data.dataset_file import load_dataset

#: cstwa without its graphs: nothing of the chain has built them here.
MODELS = ({"name": "mlp"}, {"name": "esmm"}, {"name": "cstwa", "structure_migrator": False})


def measure_training(*, root: Path, days: list[Any], threads: int) -> Iterator[dict[str, Any]]:
    """A measurement a model, at batch 2000 on the validated days."""
    base = _base_spec(root, days, threads)
    rows = sum(receipt.admitted for _, _, receipt in days) * (1 - base["validation_share"])
    _train({**base, "task": "ctr_pretraining", "model": {"name": "ctr"}}, root / "pretrained")
    inputs = {"vocabulary_dir": str(root / "pretrained" / "vocabulary"), "vocabulary_version": "bench"}
    for model in MODELS:
        spec = {**base, "task": "cvr", "model": model, "inputs": inputs}
        one = _train(spec, root / model["name"] / "one")
        three = _train({**spec, "epochs": 3}, root / model["name"] / "three")
        yield {
            "step": f"train {model['name']}",
            "threads": threads,
            "rows": round(2 * rows),
            "cpu_seconds": round(three - one, 3),
            "rows_per_cpu_second": round(2 * rows / (three - one)),
        }


def _base_spec(root: Path, days: list[Any], threads: int) -> dict[str, Any]:
    spec = load_dataset("demo", environment={})
    return {
        "fields": [field.model_dump(mode="json") for field in spec.fields],
        "user_key": spec.user_key,
        "item_key": spec.item_key,
        "epochs": 1,
        "patience": 0,
        "batch_size": 2000,
        "validation_share": 0.1,
        "as_of": (days[-1][0] + timedelta(days=1)).isoformat(),
        "days": [
            {
                "day": day.isoformat(),
                "samples": str(samples),
                "receipt_id": receipt.receipt_id,
                "content_sha256": receipt.content_sha256,
            }
            for day, samples, receipt in days
        ],
        "runtime": {"threads": threads, "encoded_cache": str(root / "encoded")},
    }


def _train(spec: dict[str, Any], out: Path) -> float:
    """CPU seconds of one training child."""
    out.parent.mkdir(parents=True, exist_ok=True)
    spec_file = out.with_suffix(".json")
    spec_file.write_text(json.dumps(spec), encoding="utf-8")
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    command = [sys.executable, "-m", "ml", "train", "--spec", str(spec_file), "--out", str(out)]
    # A folder of raw days is used again and again; what an earlier run trained there would be refused.
    shutil.rmtree(out, ignore_errors=True)
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
