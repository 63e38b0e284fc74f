"""Intervals and differences made of bootstrap replicates; how replicates are drawn belongs in comparison.py."""

from __future__ import annotations

from statistics import NormalDist
from typing import Annotated, Literal

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, FiniteFloat

from ml.evaluation.metrics import FloatArray, NotMeasurable

# Replicates without a positive have no AUC. Leaving out more than these would bend the interval.
MAX_UNDEFINED_SHARE = 0.05
POWER = 0.8


class _IntervalNumbers(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")
    estimate: FiniteFloat
    lower: FiniteFloat
    upper: FiniteFloat
    standard_error: FiniteFloat
    confidence: float
    replicates: int
    units: int


class Interval(_IntervalNumbers):
    """A percentile bootstrap interval around the estimate, which is taken on the rows themselves."""

    kind: Literal["interval"] = "interval"


class Difference(_IntervalNumbers):
    """Challenger minus champion.

    `p_value` is two-sided; `smallest_detectable` is the true difference that a day such as this one tells from 0 at the
    interval's confidence in 80 % of cases.
    """

    kind: Literal["difference"] = "difference"
    p_value: FiniteFloat
    smallest_detectable: FiniteFloat


IntervalAnswer = Annotated[Interval | NotMeasurable, Field(discriminator="kind")]
DifferenceAnswer = Annotated[Difference | NotMeasurable, Field(discriminator="kind")]


class Spread:
    """Turns replicates [B], NaN where undefined, into intervals at one confidence."""

    def __init__(self, *, confidence: float, units: int) -> None:
        self._confidence = confidence
        self._units = units

    def interval(self, estimate: float, replicates: FloatArray) -> Interval | NotMeasurable:
        """Percentile interval of the defined replicates."""
        defined = replicates[~np.isnan(replicates)]
        undefined = replicates.size - defined.size
        if undefined > MAX_UNDEFINED_SHARE * replicates.size:
            return NotMeasurable(reason=f"{undefined:,} of {replicates.size:,} resamples hold one class only")
        tail = (1 - self._confidence) / 2
        lower, upper = np.quantile(defined, [tail, 1 - tail])
        return Interval(
            estimate=estimate,
            lower=float(lower),
            upper=float(upper),
            standard_error=float(defined.std(ddof=1)),
            confidence=self._confidence,
            replicates=int(defined.size),
            units=self._units,
        )

    def difference(self, estimate: float, replicates: FloatArray) -> Difference | NotMeasurable:
        """The interval, the p of "no difference" by the share of replicates on the other side of 0, and the power."""
        interval = self.interval(estimate, replicates)
        if isinstance(interval, NotMeasurable):
            return interval
        defined = replicates[~np.isnan(replicates)]
        fewer = min(np.count_nonzero(defined <= 0), np.count_nonzero(defined >= 0))
        normal = NormalDist()
        reach = normal.inv_cdf(1 - (1 - self._confidence) / 2) + normal.inv_cdf(POWER)
        return Difference(
            **interval.model_dump(exclude={"kind"}),
            p_value=min(1.0, 2 * (fewer + 1) / (defined.size + 1)),
            smallest_detectable=reach * interval.standard_error,
        )
