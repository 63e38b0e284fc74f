"""Measures how long conversions take to come: the delay curve of a log; what is done about late ones is not here."""

from collections.abc import Sequence
from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field

from ml.data.dataset import DatasetSpec
from ml.data.engine import connect, parquet, statement

#: Where every curve is read, in seconds: a minute, ten, an hour, a quarter and half of a day.
_WITHIN_A_DAY = (60, 600, 3600, 6 * 3600, 12 * 3600)


class DelayPoint(BaseModel):
    """One point of a delay curve: `share` of the conversions had come `seconds` after their touch, or sooner."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    seconds: int
    share: float


class DelayCurve(BaseModel):
    """The delays of the conversions that happened on some days, each looked back from to the touch it is credited to.

    Because every conversion is looked back from, the newest days are as complete as the oldest. A conversion whose
    touch lies beyond the lookback (attribution windows and grace) is an orphan and in no curve.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    conversions: int = Field(ge=0)
    window_seconds: int = Field(description="the conversion window W")
    within_window: float | None = Field(description="share that came before W; None without conversions")
    median_seconds: float | None
    points: tuple[DelayPoint, ...] = Field(description="ascending; the last lies at the end of the lookback")


def measure_delays(*, spec: DatasetSpec, credits: Sequence[Path], reach_days: int, scratch: Path) -> DelayCurve:
    """The delay curve of the credited conversions in `credits` (one file a day), read up to `reach_days` days."""
    window = spec.attribution.conversion_window_seconds
    days = {day * 86400 for day in range(1, max(reach_days, spec.attribution.conversion_window_days) + 1)}
    marks = sorted({*_WITHIN_A_DAY, *days, window})
    counted = ", ".join(f"count(*) FILTER (WHERE seconds < {mark})" for mark in marks)
    text = statement("delays", credits=parquet(list(credits)))
    with connect(scratch=scratch) as connection:
        row = connection.execute(f"SELECT count(*), median(seconds), {counted} FROM ({text})").fetchone()
    assert row is not None
    conversions, median, *before = row
    shares = {mark: count / conversions for mark, count in zip(marks, before, strict=True)} if conversions else {}
    return DelayCurve(
        conversions=conversions,
        window_seconds=window,
        within_window=shares.get(window),
        median_seconds=median,
        points=tuple(DelayPoint(seconds=mark, share=share) for mark, share in shares.items()),
    )
