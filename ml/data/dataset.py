"""The dataset spec: a team's log and the policies for it, checked as a whole; reading its file is `dataset_file`'s."""

from datetime import date, datetime, timedelta
from typing import Self
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from ml.data.consistency import (
    check_derived_fields,
    check_field_thresholds,
    check_fields,
    check_gate_fields,
    check_windows,
)
from ml.data.fields import AggregateSpec, FieldSpec, Stage
from ml.data.policy import AttributionSpec, GateSpec, TrainingDefaults, ValidationSpec, WindowPolicy
from ml.data.source_spec import AliCcp, EventStreams, Source, Synthetic, WideLog

__all__ = [
    "AggregateSpec",
    "AliCcp",
    "AttributionSpec",
    "DatasetSpec",
    "Days",
    "EventStreams",
    "FieldSpec",
    "GateSpec",
    "Stage",
    "Synthetic",
    "TrainingDefaults",
    "ValidationSpec",
    "WideLog",
    "WindowPolicy",
]


class Days(BaseModel):
    """The days a log covers; `last` is absent for a log that goes on."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    first: date
    last: date | None = None

    @model_validator(mode="after")
    def _ordered(self) -> Self:
        if self.last is not None and self.last < self.first:
            raise ValueError(f"last day {self.last} lies before first day {self.first}")
        return self

    def contains(self, day: date) -> bool:
        """Whether `day` lies in the log's range."""
        return self.first <= day and (self.last is None or day <= self.last)


class DatasetSpec(BaseModel):
    """A team's log and the policies under which models are trained on it."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str = Field(pattern=r"^[a-z][a-z0-9_]{0,40}$")
    description: str = ""
    timezone: str = "UTC"
    days: Days
    source: Source
    fields: tuple[FieldSpec, ...] = Field(min_length=2)
    user_key: str = Field(description="name of the user field whose ids are the user graph's nodes")
    item_key: str = Field(description="name of the item field whose ids are the item graph's nodes")
    unit_key: str | None = Field(
        default=None, description="raw column whose rows stand or fall together in the bootstrap; the user if absent"
    )
    attribution: AttributionSpec = AttributionSpec()
    validation: ValidationSpec = ValidationSpec()
    window: WindowPolicy = WindowPolicy()
    training: TrainingDefaults = TrainingDefaults()
    gate: GateSpec = GateSpec()

    @field_validator("timezone")
    @classmethod
    def _known_timezone(cls, value: str) -> str:
        try:
            ZoneInfo(value)
        except (ZoneInfoNotFoundError, ValueError, OSError) as error:
            raise ValueError(f"unknown time zone {value!r}; use an IANA name such as Asia/Shanghai or UTC") from error
        return value

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        check_fields(self)
        check_derived_fields(self)
        check_field_thresholds(self)
        check_gate_fields(self)
        check_windows(self)
        return self

    def field(self, name: str) -> FieldSpec:
        """The field called `name`; KeyError names the fields there are."""
        for field in self.fields:
            if field.name == name:
                return field
        raise KeyError(f"no field {name!r}; there are {', '.join(field.name for field in self.fields)}")

    @property
    def labels_complete(self) -> bool:
        """Whether the log arrives with final labels, so that no later day can change them."""
        return isinstance(self.source, WideLog | AliCcp)

    @property
    def in_bucket(self) -> bool:
        """Whether any of the log's raw files lie in a bucket."""
        tables = self.source.tables if isinstance(self.source, EventStreams | WideLog) else ()
        return any(table.in_bucket for table in tables)

    @property
    def stages(self) -> tuple[Stage, ...]:
        """What this log knows users to do, in order."""
        if self.labels_complete or isinstance(self.source, Synthetic):
            return ("impression", "click", "conversion")
        assert isinstance(self.source, EventStreams)
        known = {"cart": self.source.carts, "favourite": self.source.favourites}
        return ("impression", "click", *(stage for stage in ("cart", "favourite") if known[stage]), "conversion")

    @property
    def logged_fields(self) -> tuple[FieldSpec, ...]:
        """The fields that are read from the log."""
        return tuple(field for field in self.fields if not field.derived)

    @property
    def derived_fields(self) -> tuple[FieldSpec, ...]:
        """The fields that are computed from what happened before the impression."""
        return tuple(field for field in self.fields if field.derived)

    @property
    def behaviour_days(self) -> int:
        """Days before an impression's own whose events its derived fields may look at; 0 where there are none."""
        reach = [field.aggregate.days if field.aggregate else field.behaviour_days for field in self.derived_fields]
        return max(reach, default=0)

    @property
    def clicks_implied(self) -> bool:
        """Whether the log starts at the click, so that every impression is its own click."""
        return isinstance(self.source, EventStreams) and self.source.clicks == "implied"

    @property
    def click_days(self) -> int:
        """Days after an impression's own in which its click may still arrive (0 where clicks are in the same row)."""
        if self.labels_complete or self.clicks_implied:
            return 0
        return self._days_of(self.attribution.click_window_seconds)

    @property
    def label_days(self) -> int:
        """Days after an impression's own until its labels are mature."""
        if self.labels_complete:
            return 0
        return self._days_of(self.label_window_seconds)

    @property
    def label_window_seconds(self) -> int:
        """Seconds after an impression until its labels are final: a click one window after it, and what follows the
        click one window after that."""
        follows = self.attribution.conversion_window_seconds
        if {"cart", "favourite"} & set(self.stages):
            follows = max(follows, self.attribution.stage_window_seconds)
        return follows + (0 if self.clicks_implied else self.attribution.click_window_seconds)

    def _days_of(self, seconds: int) -> int:
        """Calendar days that surely hold `seconds`: where clocks are put forward, a day is shorter than 24 hours."""
        return -(-(seconds + self._longest_clock_change()) // 86400) if seconds else 0

    def _longest_clock_change(self) -> int:
        """Seconds between summer and standard time in the years of the log; 0 in a zone that knows one time."""
        first = datetime(self.days.first.year, 1, 1, tzinfo=ZoneInfo(self.timezone))
        weeks = 53 * ((self.days.last or self.days.first).year - self.days.first.year + 2)
        offsets = {(first + timedelta(weeks=week)).utcoffset() or timedelta() for week in range(weeks)}
        return int((max(offsets) - min(offsets)).total_seconds())

    def last_mature_day(self, last_observed: date) -> date:
        """The newest day whose labels are final once `last_observed` has been landed."""
        return last_observed - timedelta(days=self.label_days)
