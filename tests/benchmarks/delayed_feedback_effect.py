"""What delayed_feedback changes: models of a window whose newest days are immature, judged by the true probabilities.

`python -m tests.benchmarks.delayed_feedback_effect` prints one JSON line a model and mode, means and standard
deviations over the seeds. `complete` is the oracle: the same days with every conversion that ever comes within W.
"""

import argparse
import contextlib
import hashlib
import io
import json
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from ml.bundle import load_bundle
from ml.data.batches import sequential_batches
from ml.data.dataset_file import load_dataset
from ml.data.encoding import encode_day
from ml.data.fields import FieldSpec
from ml.data.synthetic.behaviour import Population, populate
from ml.data.synthetic.config import SyntheticConfig
from ml.data.synthetic.events import Events, chunk_count, draw_chunk
from ml.data.synthetic.tables import impression_table
from ml.evaluation.metrics import auc
from ml.training import trainer
from ml.training.spec import TrainSpec
from ml.training.termination import Termination

AS_OF = date(2026, 1, 19)
WINDOW_DAYS = 7
W_DAYS = 3


@dataclass(frozen=True)
class Window:
    """Samples by mode (immature or complete), and the judged day with its true probabilities and labels."""

    immature: list[dict[str, Any]]
    complete: list[dict[str, Any]]
    judged: Path
    p_click: np.ndarray
    p_conversion: np.ndarray
    click: np.ndarray
    conversion: np.ndarray


def main() -> None:
    """Generate the log, train every model in every mode with every seed, and print what the judged day says."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--impressions", type=int, default=100_000, help="impressions a day")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--epochs", type=int, default=4)
    parser.add_argument("--learning-rate", type=float, default=0.002)
    parser.add_argument("--cap", type=float, default=10.0)
    parser.add_argument("--median-delay-hours", type=float, default=24.0)
    parser.add_argument("--models", nargs="+", default=["esmm", "mlp"])
    parser.add_argument("--modes", nargs="+", default=["none", "elapsed_time", "complete"])
    arguments = parser.parse_args()
    config = SyntheticConfig(
        impressions_per_day=arguments.impressions,
        conversion_delay_hours=arguments.median_delay_hours,
        conversion_delay_tail=1.2,
        max_delay_days=W_DAYS,
        weekly_season=0.0,
    )
    with tempfile.TemporaryDirectory(prefix="postclick-delays-") as folder:
        root = Path(folder)
        window = write_window(config, root)
        vocabulary = _vocabulary(window, root)
        settings = {
            "epochs": arguments.epochs,
            "learning_rate": arguments.learning_rate,
            "delayed_feedback_cap": arguments.cap,
            "inputs": {"vocabulary_dir": vocabulary, "vocabulary_version": "bench"},
        }
        for model in arguments.models:
            for mode in arguments.modes:
                runs = [
                    _judge(window, root, model=model, mode=mode, settings={**settings, "seed": seed})
                    for seed in range(arguments.seeds)
                ]
                print(json.dumps({"model": model, "delayed_feedback": mode, **_means(runs)}), flush=True)


def write_window(config: SyntheticConfig, root: Path) -> Window:
    """The window's days twice, as seen at the start of the judged day and complete, and the judged day complete."""
    population = populate(config)
    horizon = datetime.combine(AS_OF, datetime.min.time())
    days: dict[str, list[dict[str, Any]]] = {"immature": [], "complete": []}
    for age in range(WINDOW_DAYS, 0, -1):
        day = AS_OF - timedelta(days=age)
        for kind, until in (("immature", horizon), ("complete", None)):
            path = root / kind / f"{day}.parquet"
            _write_day(config, population, day, until=until, path=path)
            sha256 = hashlib.sha256(path.read_bytes()).hexdigest()
            days[kind].append({"day": day, "samples": path, "receipt_id": kind, "content_sha256": sha256})
    judged = root / "judged.parquet"
    truth = _write_day(config, population, AS_OF, until=None, path=judged)
    labels = pq.read_table(judged, columns=["click", "conversion"])
    click, conversion = (labels.column(name).to_numpy() for name in ("click", "conversion"))
    return Window(days["immature"], days["complete"], judged, *truth, click, conversion)


def _write_day(
    config: SyntheticConfig, population: Population, day: date, *, until: datetime | None, path: Path
) -> tuple[np.ndarray, np.ndarray]:
    """Writes samples as they are joined when conversions up to `until` have come; the true p_click, p_conversion."""
    chunks = [draw_chunk(config, population, day, chunk) for chunk in range(chunk_count(config, day))]
    path.parent.mkdir(parents=True, exist_ok=True)
    tables = [_samples(population, day, events, until) for events in chunks]
    pq.write_table(pa.concat_tables(tables), path)
    return tuple(np.concatenate([getattr(e, name) for e in chunks]) for name in ("p_click", "p_conversion"))  # type: ignore[return-value]


def _samples(population: Population, day: date, events: Events, until: datetime | None) -> pa.Table:
    shown = impression_table(population.world, day, events)
    rows, first = shown.num_rows, events.number[0]
    start = np.datetime64(day.isoformat(), "us")
    times = {name: np.full(rows, np.datetime64("NaT", "us")) for name in ("click_time", "conversion_time")}
    times["click_time"][events.clicks.impression - first] = start + events.clicks.microsecond.astype("m8[us]")
    happened = start + events.conversions.microsecond.astype("m8[us]")
    seen = np.ones(len(happened), dtype=bool) if until is None else happened < np.datetime64(until, "us")
    bought = events.conversions.click[seen] - first
    times["conversion_time"][bought] = happened[seen]
    conversion, value = np.zeros(rows, dtype=np.int64), np.full(rows, np.nan)
    conversion[bought], value[bought] = 1, events.conversions.value[seen]
    impression = shown.column("impression_time").to_numpy()
    columns: dict[str, Any] = {name: pa.array(column, pa.timestamp("us")) for name, column in times.items()}
    columns |= {"impression_id": shown.column("impression_id"), "impression_time": shown.column("impression_time")}
    columns |= {"unit_key": shown.column("user_id").cast(pa.string())}
    columns |= {"click": (~np.isnat(times["click_time"])).astype(np.int64), "conversion": conversion}
    columns |= {"value": pa.array(value, from_pandas=True), **_label_age(impression, until)}
    for field in _fields():
        columns[field.name] = shown.column(field.name).cast(pa.float64() if field.kind == "number" else pa.string())
    return pa.table(columns)


def _fields() -> tuple[FieldSpec, ...]:
    """The demo's without the weekday: in seven days it names the day, and so how many labels are missing."""
    return tuple(field for field in load_dataset("demo", environment={}).fields if field.name != "weekday")


def _label_age(impression: np.ndarray, until: datetime | None) -> dict[str, Any]:
    if until is None:
        return {"label_age_seconds": pa.nulls(len(impression), pa.int64()), "mature": np.ones(len(impression), bool)}
    age = (np.datetime64(until, "us") - impression) // np.timedelta64(1, "s")
    return {"label_age_seconds": age.astype(np.int64), "mature": age.astype(np.int64) >= W_DAYS * 86400 + 3600}


def _vocabulary(window: Window, root: Path) -> Path:
    spec = _spec(root, window.complete, task="ctr_pretraining", model={"name": "ctr"}, epochs=1)
    _train(spec, root / "pretrained")
    return root / "pretrained" / "vocabulary"


def _judge(window: Window, root: Path, *, model: str, mode: str, settings: dict[str, Any]) -> dict[str, float]:
    """One model's metrics on the judged day: predicted over true counts, AUC, and expected log loss under the truth."""
    spec = _spec(
        root,
        window.complete if mode == "complete" else window.immature,
        task="cvr",
        model={"name": model},
        delayed_feedback="elapsed_time" if mode == "elapsed_time" else "none",
        **settings,
    )
    out = root / f"{model}-{mode}-{settings['seed']}"
    _train(spec, out)
    bundle = load_bundle(out / "bundle")
    day = encode_day(samples=window.judged, vocabulary=bundle.vocabulary(), out=root / "encoded" / "judged")
    parts = [bundle.predict(batch) for batch in sequential_batches(day, 10_000)]
    p_cvr, p_ctcvr = (np.concatenate([getattr(part, name) for part in parts]) for name in ("p_cvr", "p_ctcvr"))
    true = window.p_click * window.p_conversion
    clicked = window.click == 1
    measured = auc(labels=window.conversion, scores=p_ctcvr)
    return {
        "ctcvr_predicted_over_true": p_ctcvr.sum() / true.sum(),
        "ctcvr_pcoc": p_ctcvr.sum() / window.conversion.sum(),
        "cvr_predicted_over_true": p_cvr[clicked].sum() / window.p_conversion[clicked].sum(),
        "ctcvr_auc": getattr(measured, "value", float("nan")),
        "ctcvr_log_loss": _expected_log_loss(true, p_ctcvr),
        "cvr_log_loss": _expected_log_loss(window.p_conversion[clicked], p_cvr[clicked]),
        "best_epoch": bundle.manifest.best_epoch,
    }


def _expected_log_loss(true: np.ndarray, predicted: np.ndarray) -> float:
    """Mean of −p·log q − (1 − p)·log(1 − q): the log loss without the noise of the labels."""
    return float(-(true * np.log(predicted) + (1 - true) * np.log1p(-predicted)).mean())


def _spec(root: Path, days: list[dict[str, Any]], **changes: Any) -> TrainSpec:
    values = {
        "fields": _fields(),
        "user_key": "user_id",
        "item_key": "item_id",
        "batch_size": 1000,
        "as_of": AS_OF,
        "days": days,
        "runtime": {"encoded_cache": root / "encoded"},
    }
    return TrainSpec.model_validate({**values, **changes})


def _train(spec: TrainSpec, out: Path) -> None:
    out.mkdir(parents=True)
    with contextlib.redirect_stdout(io.StringIO()):
        trainer.run(spec, out, Termination())


def _means(runs: list[dict[str, float]]) -> dict[str, Any]:
    return dict(_rounded(runs))


def _rounded(runs: list[dict[str, float]]) -> Iterator[tuple[str, list[float]]]:
    """Each metric's [mean, standard deviation] over the runs."""
    for name in runs[0]:
        values = [run[name] for run in runs]
        yield name, [round(float(np.mean(values)), 4), round(float(np.std(values, ddof=min(1, len(values) - 1))), 4)]


if __name__ == "__main__":
    main()
