"""Targets for days whose conversions have not all come yet, from how long conversions take; labels stay as they are.

Setting (Chapelle 2014, "Modeling delayed feedback in display advertising"): an impression clicked e seconds ago shows
its conversion z = 1 only if the delay D from click to conversion is at most e; otherwise it looks like z = 0. Chapelle
fits the delay together with the conversion; here its distribution is taken from the window's own mature rows, on which
every conversion within the attribution window W has been seen, and the argument is inverse probability [reading].

Let F(e) = P(D ≤ e | D < W, z = 1), the same for all rows, i.e. the delay does not depend on the features given a
conversion, and let o = z·1[D ≤ e] be what has been observed. Then E[o | x, z, e] = z·F(e), so t = o / F(e) has
E[t | x, z, e] = z. The loss of a probability p is linear in its label,
    BCE(t, p) = t·(−log p) + (1 − t)·(−log(1 − p)),
so that E[BCE(t, p) | x, z, e] = BCE(z, p): without bias, the loss of the complete labels. A negative stays t = 0: the
conversions that it may hide are made up for by those that have been seen. The price is variance 1/F(e), and a loss
that a single row with t > 1 can push below 0 (by learning it by heart): stopping early on mature rows is the guard.

t is cut off at ``cap``. Where F(e) < 1/cap the estimate is then too low, by the factor cap·F(e); clicks so young that
no conversion could be seen yet (F = 0) stay negatives.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from ml.data.encoded_day import EncodedDay

MIN_CONVERSIONS = 100
"""Mature conversions that a delay curve, or a validation on mature rows alone, needs: a share known from fewer is off
by more than five points."""


class DelaysUnknown(ValueError):
    """Encoded days that do not say how long their labels were observed."""


@dataclass(frozen=True, eq=False)
class DelayCurve:
    """F, the empirical distribution of ``delays``: rising seconds from click to conversion, float32 [m], m > 0."""

    delays: npt.NDArray[np.float32]

    def share_seen(self, elapsed: npt.NDArray[np.float32]) -> npt.NDArray[np.float64]:
        """F(elapsed): the share of conversions that have come ``elapsed`` seconds after the click, float64 [n]."""
        return np.searchsorted(self.delays, elapsed, side="right") / len(self.delays)


@dataclass(frozen=True, eq=False)
class DelayedFeedback:
    """The window's days with targets for labels, the rows to validate on (bool [rows], None: all that are held out),
    what was done as JSON-able facts, and in words what could not be (None: nothing)."""

    days: tuple[EncodedDay, ...]
    judged: npt.NDArray[np.bool_] | None
    facts: dict[str, Any] = field(default_factory=dict)
    shortfall: str | None = None


def correct_for_delay(days: Sequence[EncodedDay], *, held_out: npt.NDArray[np.bool_], cap: float) -> DelayedFeedback:
    """Targets min(1/F(elapsed), ``cap``) for the conversions of immature rows; mature rows keep their 0 and 1.

    ``held_out`` bool [rows of all days]: the validation rows. They are judged by their observed labels, so validation
    keeps the mature ones alone if these hold at least 100 conversions, and all of them if not.
    With fewer than 100 mature conversions in the window F is not fitted and the labels are left as observed; the
    shortfall says so. Raises ``DelaysUnknown`` if a day with rows has no elapsed times.
    """
    for day in days:
        if day.rows and (day.elapsed is None or day.delay is None):
            raise DelaysUnknown(
                f"delayed_feedback needs label_age_seconds, mature and the event times of every sample, and samples "
                f"{day.samples_content_id} lack them: join and validate the day again, or set delayed_feedback to none"
            )
    mature = np.concatenate([_mature(day) for day in days])
    converted = np.concatenate([day.conversion > 0 for day in days])
    facts: dict[str, Any] = {
        "cap": cap,
        "immature_rows": int((~mature).sum()),
        "immature_conversions": int((converted & ~mature).sum()),
    }
    curve, mature_conversions = _fitted(days)
    facts["mature_conversions"] = mature_conversions
    if curve is None:
        shortfall = f"not fitted: too few mature conversions ({mature_conversions} < {MIN_CONVERSIONS})"
        return DelayedFeedback(tuple(days), None, facts | {"fitted": False, "reason": shortfall}, shortfall)
    targets = [_targets(day, curve, cap) for day in days]
    corrected = tuple(replace(day, conversion=target) for day, target in zip(days, targets, strict=True))
    judged = mature if (converted & mature & held_out).sum() >= MIN_CONVERSIONS else None
    facts |= {
        "fitted": True,
        "median_delay_seconds": float(np.median(curve.delays)),
        "conversions_made_up_for": round(
            float(sum(target.sum(dtype=np.float64) for target in targets) - converted.sum()), 3
        ),
        "capped_conversions": int(sum((target == np.float32(cap)).sum() for target in targets)) if cap > 1 else 0,
        "validated_on": "all held-out rows" if judged is None else "mature held-out rows",
    }
    return DelayedFeedback(corrected, judged, facts)


def _mature(day: EncodedDay) -> npt.NDArray[np.bool_]:
    return np.zeros(0, dtype=np.bool_) if day.elapsed is None else np.isposinf(day.elapsed)


def _fitted(days: Sequence[EncodedDay]) -> tuple[DelayCurve | None, int]:
    """The curve of the mature rows' delays (None if they are too few), and how many there are."""
    seen = [day.delay[_mature(day) & (day.conversion > 0)] for day in days if day.delay is not None]
    delays = np.concatenate(seen) if seen else np.zeros(0, dtype=np.float32)
    delays = np.sort(delays[np.isfinite(delays)])
    return (DelayCurve(delays) if len(delays) >= MIN_CONVERSIONS else None), len(delays)


def _targets(day: EncodedDay, curve: DelayCurve, cap: float) -> npt.NDArray[np.uint8] | npt.NDArray[np.float32]:
    """The day's labels, or where some are immature its targets, float32 [n]."""
    if day.elapsed is None or np.isposinf(day.elapsed).all():
        return day.conversion
    targets = day.conversion.astype(np.float32)
    waiting = np.flatnonzero((day.conversion > 0) & ~np.isposinf(day.elapsed))
    with np.errstate(divide="ignore"):
        targets[waiting] = np.minimum(1 / curve.share_seen(day.elapsed[waiting]), cap)
    return targets
