"""The delay curve of a day's trailing conversions, and as Dagster metadata: numbers for every day, one day's plot."""

import base64
from collections.abc import Sequence
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING, Any

import dagster as dg

from assets.day_reports import DayOutcome
from assets.resources import Platform
from ml.data.attribution import credit_lookback, lookback
from ml.data.dataset import DatasetSpec

if TYPE_CHECKING:
    from ml.data.delay import DelayCurve

#: Two weeks of conversions smooth a weekday's habits and still follow a change of the shop's pace.
TRAILING_DAYS = 14


def add_delays(
    platform: Platform, spec: DatasetSpec, outcomes: Sequence[DayOutcome], *, asset: str, scratch: Path
) -> None:
    """Add to each joined day's metadata how long the conversions of the days up to it took.

    The newest day of the run has the plot as well: of thirty days of a backfill, thirty plots would tell the same.
    """
    joined = [outcome for outcome in outcomes if not outcome.refused]
    for outcome in joined:
        day, plotted = date.fromisoformat(outcome.day), outcome is joined[-1]
        outcome.metadata[asset].update(delay_metadata(platform, spec, day, plotted=plotted, scratch=scratch))


def delay_metadata(platform: Platform, spec: DatasetSpec, day: date, *, plotted: bool, scratch: Path) -> dict[str, Any]:
    """How long the conversions of the trailing days took, from the credits in the store; empty where there are none."""
    curve = delay_curve(platform, spec, day, scratch=scratch)
    if curve is None:
        return {}
    metadata: dict[str, Any] = {
        "delay_conversions": curve.conversions,
        **({"delay_within_window": curve.within_window} if curve.within_window is not None else {}),
        **({"delay_median_seconds": curve.median_seconds} if curve.median_seconds is not None else {}),
    }
    if plotted:
        from ml.report.delay_picture import draw_delay_curve

        picture = draw_delay_curve(curve)
        image = base64.b64encode(picture.png).decode()
        metadata["delay_curve"] = dg.MetadataValue.md(
            f"![{picture.title}](data:image/png;base64,{image})\n\n{picture.caption}"
        )
    return metadata


def delay_curve(platform: Platform, spec: DatasetSpec, day: date, *, scratch: Path) -> "DelayCurve | None":
    """The delays of the conversions that happened on `day` and the days before it; None where the store has none."""
    from ml.data.delay import measure_delays

    keys = [f"credited_conversions/{past.isoformat()}" for past in lookback(day, TRAILING_DAYS - 1)]
    credits = [platform.artifacts.open(key).path("credits.parquet") for key in keys if platform.artifacts.find(key)]
    if not credits:
        return None
    return measure_delays(spec=spec, credits=credits, reach_days=credit_lookback(spec), scratch=scratch)
