"""Volume rules: a day's impressions and label rates against the days before it, its bots, its end; rows are rows'."""

from data_checks.expectations import between
from data_checks.families.day_rule import Bound, on_day
from data_checks.receipts import Effect
from data_checks.rules import IS_IMPRESSION, WHERE_FROM, Quantity, Rule, always, applies
from ml.data.dataset import AliCcp, DatasetSpec

#: Under this id past receipts tell how long a day is usually silent before its end.
FEED_CUT_SHORT = "volume.feed_cut_short"
_FALL, _RISE = Bound(setting="extreme_fall_z", sign=-1), Bound(setting="extreme_rise_z")
_UNUSUAL_LOW, _UNUSUAL_HIGH = Bound(setting="unusual_z", sign=-1), Bound(setting="unusual_z")


def _empty_days_allowed(spec: DatasetSpec) -> str:
    allowed = "the dataset spec allows empty days (validation.allow_empty_days)"
    return allowed if spec.validation.allow_empty_days else ""


def _clicks_implied(spec: DatasetSpec) -> str:
    return "every impression of this log is a click" if spec.clicks_implied else ""


def _no_clock(spec: DatasetSpec) -> str:
    if isinstance(spec.source, AliCcp):
        return "the log has no times of its own"
    return "" if spec.validation.freshness_hours is not None else "validation.freshness_hours is not set"


def _by_z(measure: str, what: str, *, not_applicable=applies) -> tuple[Rule, Rule]:
    """Warn of a day that is unusual, refuse one that cannot be sound: a fall loses data, a sale's rise does not."""
    sides: tuple[tuple[str, Effect, Bound, Bound, str], ...] = (
        ("unusual", "warn", _UNUSUAL_LOW, _UNUSUAL_HIGH, "unusual_z robust standard deviations from"),
        (
            "extreme",
            "refuse",
            _FALL,
            _RISE,
            "extreme_fall_z below, or extreme_rise_z robust standard deviations above,",
        ),
    )
    unusual, extreme = (
        on_day(
            f"volume.{name}_{measure}",
            effect=effect,
            description=f"the {what} lies more than {words} the median of comparable days",
            measure=f"{measure}_z",
            low=low,
            high=high,
            evidence=("value",),
            not_applicable=not_applicable,
        )
        for name, effect, low, high, words in sides
    )
    return unusual, extreme


RULES = (
    on_day(
        "volume.empty_day",
        effect="refuse",
        description="the day has no impressions",
        measure="impressions",
        low=Bound(),
        not_applicable=_empty_days_allowed,
    ),
    on_day(
        "volume.below_trailing_median",
        effect="refuse",
        description="fewer impressions than volume_low_ratio of the trailing median",
        measure="impressions_over_median",
        low=Bound(setting="volume_low_ratio"),
    ),
    on_day(
        "volume.above_trailing_median",
        effect="refuse",
        description="more impressions than volume_high_ratio times the trailing median",
        measure="impressions_over_median",
        high=Bound(setting="volume_high_ratio"),
    ),
    *_by_z("impressions", "number of impressions"),
    *_by_z("click_rate", "click rate of the admitted rows", not_applicable=_clicks_implied),
    *_by_z("conversion_rate", "conversion rate of the admitted rows"),
    on_day(
        FEED_CUT_SHORT,
        effect="refuse",
        description="hours without impressions before the day's end, beyond the usual: a delivery was cut short",
        measure="silent_hours",
        high=Bound(),
        evidence=("newest impression (UTC)",),
        not_applicable=_no_clock,
    ),
    Rule(
        id="volume.bot_user",
        effect="quarantine",
        description="the user has more impressions than bot_min_impressions and than the share bot_quantile of users",
        mask_sql=always(
            f"{IS_IMPRESSION} AND user_key IN (SELECT odd_user FROM odd_users WHERE impressions_of_user > $bot_bound)"
        ),
        quantity=Quantity(
            name="impressions_of_user",
            sql=always(
                f"CASE WHEN {IS_IMPRESSION} AND user_key IS NOT NULL THEN "
                # Whoever is not odd has fewer than any bound.
                "coalesce((SELECT impressions_of_user FROM odd_users WHERE odd_user = user_key), 0) END"
            ),
        ),
        expectation=between("impressions_of_user", high=lambda context: context.bot_bound or 0.0),
        unjudged="no impression has a user",
        sample_columns=always(("impression_id", "user_key", "impression_time", *WHERE_FROM)),
        offending=always(("user_key",)),
    ),
)
