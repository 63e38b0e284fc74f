"""How long a sample's conversion could be seen and how long it took to come; what is made of it is training's."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from ml.data.encoded_day import EncodingMismatch

TIMING_COLUMNS = ("label_age_seconds", "mature", "impression_time", "click_time", "conversion_time")
"""Samples columns that both are computed from."""
_PER_SECOND = 1e6
_MISSING = np.iinfo(np.int64).min

Seconds = npt.NDArray[np.float32]
Microseconds = npt.NDArray[np.int64]


def elapsed_and_delay(read: Callable[[str], pa.ChunkedArray]) -> tuple[Seconds, Seconds]:
    """float32 [n] each, in seconds, from the columns that ``read`` gives by name.

    elapsed: from the click (the impression, where there is no click) to the instant up to which labels have been
    observed; +inf where the labels are final. delay: from the click to the conversion; NaN without a conversion.
    Raises ``EncodingMismatch`` if labels are neither final nor of known age.
    """
    mature = pc.fill_null(read("mature"), False).to_numpy()
    impression = None if mature.all() else _microseconds(read("impression_time"))
    click = _microseconds(read("click_time"))
    return _elapsed(read, mature, impression, click), _delay(read, impression, click)


def _elapsed(
    read: Callable[[str], pa.ChunkedArray],
    mature: npt.NDArray[np.bool_],
    impression: Microseconds | None,
    click: Microseconds,
) -> Seconds:
    if impression is None:
        return np.full(len(mature), np.inf, dtype=np.float32)
    age = pc.fill_null(read("label_age_seconds"), _MISSING).to_numpy()
    unknown = int(((age == _MISSING) | (impression == _MISSING))[~mature].sum())
    if unknown:
        raise EncodingMismatch(
            f"{unknown} rows are not mature and have no label_age_seconds or impression_time: join and validate the "
            "day again"
        )
    elapsed = age.astype(np.float32)
    clicked = np.flatnonzero(click != _MISSING)
    elapsed[clicked] = age[clicked] - (click[clicked] - impression[clicked]) / _PER_SECOND
    np.maximum(elapsed, 0, out=elapsed)
    elapsed[mature] = np.inf
    return elapsed


def _delay(read: Callable[[str], pa.ChunkedArray], impression: Microseconds | None, click: Microseconds) -> Seconds:
    conversion = _microseconds(read("conversion_time"))
    delay = np.full(len(conversion), np.nan, dtype=np.float32)
    converted = np.flatnonzero(conversion != _MISSING)
    since = click[converted]
    if (since == _MISSING).any():
        impression = _microseconds(read("impression_time")) if impression is None else impression
        since = np.where(since == _MISSING, impression[converted], since)
    passed = ((conversion[converted] - since) / _PER_SECOND).astype(np.float32)
    delay[converted] = np.where(since == _MISSING, np.float32(np.nan), passed)
    return delay


def _microseconds(column: pa.ChunkedArray) -> Microseconds:
    """int64 [n] since 1970; _MISSING where NULL."""
    zone = column.type.tz if pa.types.is_timestamp(column.type) else None
    return pc.fill_null(column.cast(pa.timestamp("us", tz=zone)).cast(pa.int64()), _MISSING).to_numpy()
