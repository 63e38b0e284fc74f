"""Volume rules: a day's impressions against its admitted trailing days' median; rows are judged elsewhere."""

from collections.abc import Sequence
from datetime import date, timedelta
from statistics import median

from data_checks.expectations import between
from data_checks.receipts import Decision, Receipt, standing
from data_checks.rules import Quantity, Rule, RuleContext, TrailingVolume, always
from ml.data.dataset import ValidationSpec

_RATIO = "$impressions::DOUBLE / $trailing_median::DOUBLE"


def trailing_volume(
    *, day: date, impressions: int, policy: ValidationSpec, history: Sequence[Receipt], decisions: Sequence[Decision]
) -> TrailingVolume:
    """The volume that `day` is held against: the median impressions of the days before it that stand as admitted.

    A day counts when it lies in day − volume_history_days .. day − 1 and is admitted by its receipt (the last one
    given for that day) or by a reviewer's decision: otherwise a lasting change of volume, accepted every morning,
    would never become the new normal. `why_not_judged` is set where there are too few days or too few rows to judge by.
    """
    first = day - timedelta(days=policy.volume_history_days)
    newest = {receipt.day: receipt for receipt in history if first <= receipt.day < day}
    volumes = [receipt.impressions for receipt in newest.values() if standing(receipt, decisions).admitted]
    middle = float(median(volumes)) if volumes else None
    why = ""
    if len(volumes) < policy.volume_min_history or middle is None:
        why = (
            f"{len(volumes)} admitted days in the {policy.volume_history_days} before; "
            f"{policy.volume_min_history} are needed (validation.volume_min_history)"
        )
    elif middle < max(policy.volume_min_median_rows, 1):
        why = (
            f"the trailing median is {middle:g} impressions; below {max(policy.volume_min_median_rows, 1)} "
            "(validation.volume_min_median_rows) chance alone moves a day's volume"
        )
    elif impressions == 0:
        why = "the day has no impressions, which volume.empty_day judges"
    return TrailingVolume(median=middle, days=len(volumes), why_not_judged=why)


def _over_median(context: RuleContext) -> float | None:
    return context.impressions / context.trailing.median if context.trailing.median else None


RULES = (
    Rule(
        id="volume.empty_day",
        effect="refuse",
        level="day",
        description="the day has no impressions",
        mask_sql=always("NOT $allow_empty_days AND $impressions = 0"),
        quantity=Quantity(name="impressions", sql=always("CASE WHEN NOT $allow_empty_days THEN $impressions END")),
        expectation=between("impressions", low=1),
        unjudged="the dataset spec allows empty days (validation.allow_empty_days)",
        threshold=always(1.0),
        observed=lambda context: context.impressions,
    ),
    Rule(
        id="volume.below_trailing_median",
        effect="refuse",
        level="day",
        description="fewer impressions than volume_low_ratio of the trailing median",
        mask_sql=always(f"{_RATIO} < $volume_low_ratio"),
        quantity=Quantity(name="impressions_over_median", sql=always(_RATIO)),
        expectation=between("impressions_over_median", low=lambda context: context.spec.validation.volume_low_ratio),
        unjudged="",
        threshold=lambda spec: spec.validation.volume_low_ratio,
        observed=_over_median,
    ),
    Rule(
        id="volume.above_trailing_median",
        effect="refuse",
        level="day",
        description="more impressions than volume_high_ratio times the trailing median",
        mask_sql=always(f"{_RATIO} > $volume_high_ratio"),
        quantity=Quantity(name="impressions_over_median", sql=always(_RATIO)),
        expectation=between("impressions_over_median", high=lambda context: context.spec.validation.volume_high_ratio),
        unjudged="",
        threshold=lambda spec: spec.validation.volume_high_ratio,
        observed=_over_median,
    ),
)
