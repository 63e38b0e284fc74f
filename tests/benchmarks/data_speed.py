"""CPU cost of generating, landing, joining and validating a day; imports are not counted."""

import time
from collections.abc import Iterator
from datetime import date
from pathlib import Path
from typing import Any

from data_checks.validation import validate_day
from ml.data.attribution import credit_conversions, resolve_touches
from ml.data.dataset import DatasetSpec
from ml.data.dataset_file import load_dataset
from ml.data.samples import LabelEvents, join_day, label_horizon
from ml.data.sources.source import LogSource


def bench_spec(impressions: int) -> DatasetSpec:
    """The demo's spec at another volume."""
    spec = load_dataset("demo", environment={})
    config = spec.source.config.model_copy(update={"impressions_per_day": impressions})
    return spec.model_copy(update={"source": spec.source.model_copy(update={"config": config})})


def measure_data(*, root: Path, days: list[date], impressions: int, into: list[Any]) -> Iterator[dict[str, Any]]:
    """Yield a measurement a step; `into` receives (day, samples file, receipt) of each validated day."""
    spec = bench_spec(impressions)
    source = LogSource(spec=spec, feed_root=root / "feed")
    started = time.process_time()
    source.land_events(days=days, root=root / "raw")
    source.land_conversions(days=days, root=root / "raw")
    rows = impressions * len(days)
    yield _measurement("generate and land", rows, started)
    started = time.process_time()
    joined = [_join(spec, day, days, root) for day in days]
    yield _measurement("attribute and join", rows, started)
    started = time.process_time()
    for day, samples in joined:
        receipt = validate_day(
            samples=samples,
            spec=spec,
            day=day,
            input_version="bench",
            history=[],
            label_horizon=label_horizon(spec=spec, last_observed=days[-1]),
            events=None,
            admitted_to=root / "validated" / f"{day}.parquet",
            quarantined_to=root / "quarantine" / f"{day}.parquet",
        )
        into.append((day, root / "validated" / f"{day}.parquet", receipt))
    yield _measurement("validate, all rules and Great Expectations", rows, started)


def _join(spec: DatasetSpec, day: date, days: list[date], root: Path) -> tuple[date, Path]:
    seen = [past for past in days if past <= day]
    impressions = [root / "raw" / past.isoformat() / "impressions.parquet" for past in seen]
    touches = [root / "touches" / f"{past}.parquet" for past in reversed(seen)]
    scratch, raw = root / "scratch", root / "raw" / day.isoformat()
    resolve_touches(
        spec=spec, clicks=raw / "clicks.parquet", impressions=impressions[-2:], scratch=scratch, out=touches[0]
    )
    credits = root / "credits" / f"{day}.parquet"
    credit_conversions(
        spec=spec,
        conversions=raw / "conversions.parquet",
        touches=touches,
        impressions=impressions,
        scratch=scratch,
        out=credits,
    )
    out = root / "joined" / f"{day}.parquet"
    horizon = label_horizon(spec=spec, last_observed=day)
    events = LabelEvents(touches=touches[:1], credits=[credits])
    join_day(spec=spec, impressions=impressions[-1], events=events, horizon=horizon, scratch=scratch, out=out)
    return day, out


def _measurement(step: str, rows: int, started: float) -> dict[str, Any]:
    seconds = time.process_time() - started
    return {"step": step, "rows": rows, "cpu_seconds": round(seconds, 3), "rows_per_cpu_second": round(rows / seconds)}
