"""What training assets share: the window that may be trained on, its files, refusals that end a run for good."""

import json
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import dagster as dg
from pydantic import BaseModel, ValidationError

from assets.child_endings import failure_of
from assets.receipts import admitted_samples, day_standing
from assets.resources import DataRefused, Platform
from infra.artifacts import ArtifactMissing
from infra.child_process import ChildFailed
from ml.data.dataset import DatasetSpec
from ml.data.policy import WindowPolicy
from ml.data.window import TrainingWindow, WindowRefused, choose_window
from ml.training.spec import TrainingDay, TrainSpec


@contextmanager
def final_refusals() -> Iterator[None]:
    """Turn refused data into a failure that no retry policy repeats: trying again would read the same data."""
    try:
        yield
    except (DataRefused, WindowRefused, ArtifactMissing) as refusal:
        raise dg.Failure(description=str(refusal), allow_retries=False) from refusal


def training_window(platform: Platform, *, as_of: date, policy: WindowPolicy) -> TrainingWindow:
    """The admitted days of the window as of `as_of`; WindowRefused where they are too few."""
    days = [as_of - timedelta(days=age) for age in range(policy.window_days, 0, -1)]
    return choose_window(as_of=as_of, policy=policy, standings={day: day_standing(platform, day) for day in days})


def training_days(platform: Platform, window: TrainingWindow) -> tuple[TrainingDay, ...]:
    """The window's samples files, each held against its receipt."""
    days = []
    for day, receipt_id in window.days:
        samples, receipt = admitted_samples(platform, day, receipt_id=receipt_id)
        days.append(TrainingDay(day=day, samples=samples, receipt_id=receipt_id, content_sha256=receipt.content_sha256))
    return tuple(days)


def base_train_spec(
    platform: Platform, spec: DatasetSpec, *, as_of: date, days: tuple[TrainingDay, ...], changes: Mapping[str, Any]
) -> TrainSpec:
    """A training spec from the dataset's defaults under `changes`.

    Raises DataRefused naming each wrong setting and its value.
    """
    defaults = spec.training
    values: dict[str, Any] = {
        "fields": spec.fields,
        "user_key": spec.user_key,
        "item_key": spec.item_key,
        **defaults.training_settings(),
        "as_of": as_of,
        "days": days,
        "runtime": {
            "threads": platform.threads,
            "device": platform.device,
            "encoded_cache": platform.encoded_cache,
            "checkpoints": platform.checkpoints,
            "checkpoint_seconds": platform.checkpoint_seconds,
            "preload_bytes": platform.window_bytes,
            "compile_step": platform.compile_step,
        },
    }
    values.update(changes)
    try:
        return TrainSpec.model_validate(values)
    except ValidationError as error:
        faults = "; ".join(
            f"{'.'.join(str(part) for part in fault['loc'])}: {fault['msg']} (found {fault['input']!r})"
            for fault in error.errors(include_url=False)
        )
        raise DataRefused(f"the run's settings are wrong: {faults}; correct the form or the dataset spec") from error


def run_child(
    platform: Platform,
    verb: str,
    spec: BaseModel,
    *,
    folder: Path,
    log: Callable[[str], None],
    check_interrupt: Callable[[], bool] | None = None,
) -> Path:
    """Write `spec`, run `python -m ml <verb>` on it and return the folder of what it made.

    Raises dg.Failure saying why where the child failed, DataRefused where it refused its input, and ChildInterrupted.
    """
    spec_file = folder / f"{verb}.json"
    spec_file.write_text(spec.model_dump_json(indent=1), encoding="utf-8")
    out = folder / verb
    try:
        platform.run_ml(verb, spec=spec_file, out=out, on_line=log, check_interrupt=check_interrupt)
    except ChildFailed as failed:
        raise failure_of(verb, failed, out=out) from failed
    return out


def read_json(path: Path) -> dict[str, Any]:
    """A JSON object from a file."""
    return json.loads(path.read_text(encoding="utf-8"))


def window_metadata(window: TrainingWindow) -> dict[str, Any]:
    """The window as Dagster metadata: days trained on, days missing and why."""
    return {
        "training_days": [day.isoformat() for day, _ in window.days],
        "missing_days": {day.isoformat(): why for day, why in window.missing},
    }
