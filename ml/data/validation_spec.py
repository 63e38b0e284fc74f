"""The thresholds by which rows are quarantined and days are refused or warned of; no rule that applies them."""

import re
from typing import Self

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

#: A whole name that says "this is the outcome": `click`, `is_converted`, `booking_bool`, `order_id`, `label_2`; not
#: `booking_window`, `clicks_7d`, `ctr` or a sort `order`, which are known before the impression.
LABEL_NAME = (
    r"(?:(?:is|has|was|did)_)?"
    r"(?:click|clicked|clk|conversion|converted|conv|purchase|purchased|buy|bought|booking|booked|ordered|"
    r"order(?=_)|label|target|outcome|y)"
    r"(?:_(?:labels?|flag|bool|ind|indicator|target|time|timestamp|ts|at|value|amount|id|\d+))?"
)


class FieldThresholds(BaseModel):
    """What one field is held to where it differs from the others."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    min: float | None = Field(default=None, allow_inf_nan=False, description="number field: least sane value")
    max: float | None = Field(default=None, allow_inf_nan=False, description="number field: largest sane value")
    max_null_share: float | None = Field(
        default=None, ge=0, le=1, description="largest share of missing values; replaces the trailing days' share"
    )
    drifts: bool = Field(default=False, description="the field changes by its nature: its drift is not judged")
    resembles_label: bool = Field(
        default=False, description="someone has made sure that the field was known before the label: no leak is sought"
    )

    @model_validator(mode="after")
    def _ordered(self) -> Self:
        if self.min is not None and self.max is not None and self.max < self.min:
            raise ValueError(f"max {self.max:g} is below min {self.min:g}; no value can lie between them")
        return self


class ValidationSpec(BaseModel):
    """When a row is quarantined, and when a day of samples is refused or warned of."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    fields: dict[str, FieldThresholds] = Field(default={}, description="by field: what it is held to on its own")

    #: 5 %: a broken join or a client release with a wrong clock touches far more; late stragglers far less.
    max_bad_share: float = Field(default=0.05, ge=0, le=1, description="largest share of quarantined rows")
    clock_skew_seconds: int = Field(default=0, ge=0, le=3600, description="tolerated between event servers' clocks")

    #: Longer than any key, hash or URL that names something; an unclosed quote or a JSON document is longer.
    max_text_length: int = Field(default=1024, ge=1, description="bytes of an id or category value")
    #: Without history only a column that is as good as empty is surely at fault: many are sparse by nature.
    max_null_share: float = Field(default=0.99, ge=0, le=1, description="largest share of missing values of a field")
    #: A fifth of the values lost from one week to the next is a broken logger or join, not a change of audience.
    null_share_rise: float = Field(default=0.2, gt=0, le=1, description="most that a missing share exceeds the usual")
    #: Of a thousand rows a share is known to 3 points; of fifty, to 14.
    null_share_min_rows: int = Field(default=1000, ge=1)

    #: Where fewer than half of all impressions are clicked, fifty in a row by chance happen once in 10^15 users.
    one_sided_user_impressions: int = Field(
        default=50, ge=2, description="least impressions of a user whose labels may not all be 1"
    )

    #: Half of the usual volume is a missing hour block or a lost region, not a quiet Sunday.
    volume_low_ratio: float = Field(default=0.5, ge=0, lt=1, description="least rows / trailing median")
    #: Three times the usual volume is a replayed feed more often than a success.
    volume_high_ratio: float = Field(default=3.0, gt=1, description="most rows / trailing median")
    #: Two weeks hold two of every weekday.
    volume_history_days: int = Field(default=14, ge=1, le=90)
    #: A median of fewer days is one of them.
    volume_min_history: int = Field(default=3, ge=1, le=90)
    #: Below this, plain chance moves a day's volume by tens of percent.
    volume_min_median_rows: int = Field(default=1000, ge=0)
    allow_empty_days: bool = Field(default=False, description="a day without rows is no fault (sparse public logs)")

    #: Five of every weekday, of which one may be missing; more of them lie so far back that a growing log outruns them.
    season_history_days: int = Field(default=35, ge=7, le=180)
    #: Of fewer than four Sundays the spread is one distance, and whether one of them was odd cannot be told.
    season_min_weekdays: int = Field(default=4, ge=2, le=25, description="least equal weekdays to compare a day with")
    #: Where there are too few equal weekdays, the days compared with must at least hold a whole week.
    season_min_days: int = Field(default=7, ge=2, le=180)
    #: Two equal weekdays of a healthy log differ by a few percent: a quieter history is luck, no promise.
    season_scale_floor: float = Field(default=0.05, gt=0, le=1, description="least scale of a z-score / median")
    #: A Sunday may well have 40 % fewer impressions than a weekday, which all days together cannot tell from a fault:
    #: until equal weekdays are known, unusual_z of this is more, and volume_low_ratio refuses.
    volume_weekly_swing: float = Field(default=0.15, gt=0, le=1, description="least scale / median, any weekday")
    #: Rates swing less than volumes; with this, a label stream that is all but dead is refused from the first week on.
    rate_weekly_swing: float = Field(default=0.1, gt=0, le=1, description="least scale / median, any weekday")
    #: Four scales are at least 20 % off: worth a look, and seldom chance.
    unusual_z: float = Field(default=4.0, gt=0, description="|z| beyond which a day is warned of")
    #: Eight scales are at least 40 % lost: an hour block, a region, a label stream.
    extreme_fall_z: float = Field(default=8.0, gt=0, description="−z beyond which a day is refused")
    #: Twenty scales are at least twice the usual: no campaign's, but a replayed feed's or a join's that counts double.
    extreme_rise_z: float = Field(default=20.0, gt=0, description="z beyond which a day is refused")
    #: Below a hundred events chance alone moves a rate by 10 %.
    rate_min_events: int = Field(default=100, ge=1, description="least clicks (conversions) expected of a judged rate")

    #: One user of ten thousand; on a day of fewer users nobody lies above it.
    bot_quantile: float = Field(default=0.9999, gt=0, lt=1, description="of the users' impressions on a day")
    #: Two hundred pages of ten a day are no person's; heavy users of a feed stay below.
    bot_min_impressions: int = Field(default=2000, ge=1, description="impressions a day that nobody is a bot for")

    #: The last hours before midnight are busy in almost every log: silence there is a delivery cut short.
    freshness_hours: float | None = Field(
        default=2.0, gt=0, le=24, description="longest silence at the day's end beyond the usual; absent: not judged"
    )
    #: With a thousand impressions a day, a tenth of the average traffic still shows eight in two hours.
    freshness_min_rows: int = Field(default=1000, ge=1)

    #: A week holds every weekday once.
    drift_history_days: int = Field(
        default=7, ge=1, le=60, description="trailing days whose profiles are the reference"
    )
    #: With fewer days it is not known how much a field differs between two usual days.
    drift_min_history: int = Field(default=3, ge=2, le=60)
    #: Chance alone gives a PSI of (buckets − 1) · (1/rows + 1/reference rows): .04 for a thousand rows.
    drift_min_rows: int = Field(default=1000, ge=1)
    #: The scorecard practice's bounds: below .1 stable, above .25 another population.
    psi_warn: float = Field(default=0.25, gt=0)
    #: As if half of all rows had lost their value; no audience changes as much overnight.
    psi_refuse: float = Field(default=1.0, gt=0)
    #: A new assortment or campaign brings a quarter of rows with ids never seen: the model does not know them.
    new_share_warn: float = Field(default=0.25, gt=0, le=1)
    #: Three quarters of the rows that are usually known are strangers: another id format, not another audience.
    new_share_refuse: float = Field(default=0.75, gt=0, le=1)

    label_name: str = Field(
        default=LABEL_NAME, description="regular expression: a field or raw column so called, as a whole, is a label"
    )
    #: No honest single feature comes near: one that does was written after the label.
    max_field_auc: float = Field(default=0.99, gt=0.5, le=1)
    #: With fifty positives an AUC of .99 is known to about .01.
    leak_min_events: int = Field(default=50, ge=1, description="least positives and negatives in each half")

    @field_validator("label_name")
    @classmethod
    def _an_expression(cls, value: str) -> str:
        try:
            re.compile(value)
        except re.error as error:
            raise ValueError(f"{value!r} is no regular expression ({error})") from error
        return value

    @model_validator(mode="after")
    def _ordered(self) -> Self:
        pairs = (
            ("unusual_z", "extreme_fall_z"),
            ("unusual_z", "extreme_rise_z"),
            ("psi_warn", "psi_refuse"),
            ("new_share_warn", "new_share_refuse"),
            ("drift_min_history", "drift_history_days"),
        )
        for low, high in pairs:
            if getattr(self, low) > getattr(self, high):
                raise ValueError(f"{low} {getattr(self, low):g} is above {high} {getattr(self, high):g}")
        return self

    @property
    def history_days(self) -> int:
        """How many days back any rule looks."""
        return max(self.volume_history_days, self.season_history_days, self.drift_history_days)

    def of_field(self, name: str) -> FieldThresholds:
        """What the field is held to on its own; nothing where the spec says nothing."""
        return self.fields.get(name, FieldThresholds())
