"""A day's volume, label rates and last sign of life against the admitted days before it; fields are `drift`'s."""

from collections.abc import Callable, Mapping, Sequence
from datetime import date, datetime, timedelta
from math import pi, sqrt
from statistics import median

from data_checks.decisions import Decision, standing
from data_checks.receipts import Receipt
from data_checks.rules import Measure, day_bounds
from ml.data.dataset import DatasetSpec, ValidationSpec

#: 1 / Φ⁻¹(3/4): the median absolute deviation of normal values times this is their standard deviation.
_MAD_TO_SIGMA = 1.4826
#: Clicks that may still come for the last hour of a day are 4 % of it, less than what a rate is judged by.
_OPEN_CLICKS_SECONDS = 72 * 60


def admitted_days(
    *, day: date, days: int, history: Sequence[Receipt], decisions: Sequence[Decision]
) -> dict[date, Receipt]:
    """The receipts of the `days` days before `day` that stand as admitted, oldest first; of two for a day the last.

    An accepted day counts: otherwise a lasting change, accepted every morning, would never become the new normal.
    """
    first = day - timedelta(days=days)
    newest = {receipt.day: receipt for receipt in history if first <= receipt.day < day}
    return {past: newest[past] for past in sorted(newest) if standing(newest[past], decisions).admitted}


def volume_ratio(*, impressions: int, past: Sequence[int], policy: ValidationSpec) -> Measure:
    """Impressions over the median of the trailing days' (`past`); why not, where there is too little to judge by."""
    middle = float(median(past)) if past else None
    floor = max(policy.volume_min_median_rows, 1)
    if len(past) < policy.volume_min_history or middle is None:
        why = (
            f"{len(past)} admitted days in the {policy.volume_history_days} before; {policy.volume_min_history} are "
            "needed (validation.volume_min_history)"
        )
    elif middle < floor:
        why = (
            f"the trailing median is {middle:g} impressions; below {floor} (validation.volume_min_median_rows) chance "
            "alone moves a day's volume"
        )
    elif impressions == 0:
        why = "the day has no impressions, which volume.empty_day judges"
    else:
        return Measure(value=impressions / middle, usual=middle)
    return Measure(why=why, usual=middle)


def seasonal_z(
    *,
    day: date,
    value: float,
    past: Mapping[date, float],
    chance: Callable[[float], float],
    swing: float,
    policy: ValidationSpec,
) -> Measure:
    """How unusual the day's `value` is, as a robust z-score: z = (value − m) / s.

    m is the median of the k values compared with, and s = max(1.4826 · MAD, f · m, √(1 + π / 2k) · chance(m)), where
    MAD is their median absolute deviation from m and chance(m) the standard deviation that counting alone gives a day;
    the factor is that of the median itself, which is known no better. Compared with are the same weekdays among `past`
    where there are season_min_weekdays of them, with f = season_scale_floor; else all of `past`, if season_min_days,
    with f = `swing`, what a weekday may differ from another by. So a quiet history cannot make a small change look
    large: |z| > k means a change of at least k · f · m.
    """
    weekdays = {other: known for other, known in past.items() if other.weekday() == day.weekday()}
    if len(weekdays) >= policy.season_min_weekdays:
        compared, floor, named = weekdays, policy.season_scale_floor, f"{len(weekdays)} of the same weekday"
    elif len(past) >= policy.season_min_days:
        compared, floor, named = dict(past), swing, f"{len(past)} of any weekday"
    else:
        return Measure(
            why=f"{len(past)} days in the {policy.season_history_days} before can be compared, {len(weekdays)} of the "
            f"same weekday; {policy.season_min_days} or {policy.season_min_weekdays} are needed (validation.season_*)"
        )
    middle = float(median(compared.values()))
    if middle <= 0:
        return Measure(why="the median of the days compared with is 0")
    spread = _MAD_TO_SIGMA * median(abs(known - middle) for known in compared.values())
    scale = max(spread, floor * middle, sqrt(1 + pi / (2 * len(compared))) * chance(middle))
    shown = {"value": f"{value:.6g}", "median": f"{middle:.6g}", "scale": f"{scale:.3g}", "compared with": named}
    return Measure(value=(value - middle) / scale, usual=middle, evidence=(shown,))


def volume_z(*, day: date, impressions: int, past: Mapping[date, Receipt], policy: ValidationSpec) -> Measure:
    """The impressions' z-score; the chance scale is a Poisson count's."""
    counts = {other: float(receipt.impressions) for other, receipt in past.items()}
    measure = seasonal_z(
        day=day,
        value=impressions,
        past=counts,
        chance=lambda m: m**0.5,
        swing=policy.volume_weekly_swing,
        policy=policy,
    )
    if measure.usual is not None and measure.usual < policy.volume_min_median_rows:
        return Measure(
            why=f"the median is {measure.usual:g} impressions; {policy.volume_min_median_rows} are needed "
            "(validation.volume_min_median_rows)"
        )
    return measure


def rate_z(
    *, day: date, events: int, rows: int, past: Mapping[date, tuple[int, int]], policy: ValidationSpec
) -> Measure:
    """The z-score of a label rate, events / rows; `past` holds both by day. The chance scale is the binomial's."""
    if not rows:
        return Measure(why="no rows were admitted")
    rates = {other: many / of for other, (many, of) in past.items() if of}
    measure = seasonal_z(
        day=day,
        value=events / rows,
        past=rates,
        chance=lambda m: (max(m * (1 - m), 0) / rows) ** 0.5,
        swing=policy.rate_weekly_swing,
        policy=policy,
    )
    if measure.usual is not None and measure.usual * rows < policy.rate_min_events:
        return Measure(
            why=f"{measure.usual * rows:.3g} events are to be expected; {policy.rate_min_events} are needed "
            "(validation.rate_min_events)"
        )
    return measure


def clicks_are_in(*, spec: DatasetSpec, day: date, horizon: datetime | None) -> bool:
    """Whether hardly a click of the day can still come; `horizon` (UTC) is absent where labels are complete."""
    if horizon is None:
        return True
    _, end = day_bounds(day, spec.timezone)
    seen_after = (horizon.replace(tzinfo=None) - end).total_seconds()
    return spec.attribution.click_window_seconds - seen_after <= _OPEN_CLICKS_SECONDS


def silence_before_end(
    *, spec: DatasetSpec, day: date, impressions: int, newest: datetime | None, past: Sequence[float]
) -> Measure:
    """Hours from the newest impression to the day's end, held against freshness_hours beyond what is usual (`past`)."""
    policy = spec.validation
    if impressions < policy.freshness_min_rows or newest is None:
        return Measure(
            why=f"the day has {impressions} impressions; {policy.freshness_min_rows} are needed for silence to mean "
            "anything (validation.freshness_min_rows)"
        )
    _, end = day_bounds(day, spec.timezone)
    usual = round(float(median(past)), 4) if past else 0.0
    shown = {"newest impression (UTC)": str(newest), "end of the day (UTC)": str(end), "usual hours": f"{usual:.2f}"}
    hours = round((end - newest).total_seconds() / 3600, 4)
    return Measure(value=hours, bound=(policy.freshness_hours or 24.0) + usual, usual=usual, evidence=(shown,))
