"""Everything that the rules on the day judge, measured: a day's facts, its sample and the days before it; no bound."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from pathlib import Path

from data_checks.day_facts import DayFacts
from data_checks.day_sample import DaySample
from data_checks.decisions import Decision
from data_checks.drift import field_drifts
from data_checks.families.volume import FEED_CUT_SHORT
from data_checks.field_measures import drift_measures, null_share
from data_checks.leaks import field_auc, label_names
from data_checks.receipts import Receipt
from data_checks.rules import Measure
from data_checks.trailing import admitted_days, clicks_are_in, rate_z, silence_before_end, volume_ratio, volume_z
from ml.data.dataset import DatasetSpec


@dataclass(frozen=True, kw_only=True)
class AdmittedRows:
    """Counts of the rows that no rule quarantines, and how far (UTC) the log was observed when they were labelled."""

    rows: int
    clicks: int
    conversions: int
    mature: int
    horizon: datetime | None


@dataclass(frozen=True, kw_only=True)
class Before:
    """What is known of earlier days: receipts, reviewers' decisions, and the profiles of days that stand as admitted.
    Days out of reach of a rule are ignored by it."""

    history: Sequence[Receipt]
    decisions: Sequence[Decision]
    profiles: Mapping[date, Path]


def day_measures(
    *,
    spec: DatasetSpec,
    day: date,
    facts: DayFacts,
    admitted: AdmittedRows,
    sample: DaySample,
    profile: Path,
    before: Before,
) -> dict[str, Measure]:
    """Every measure by name. `profile` is the day's own, made of `sample`."""
    return {
        **_volume(spec, day, facts, before),
        **_rates(spec, day, admitted, before),
        **_fields(spec, day, admitted, profile, before),
        "label_names": label_names(spec),
        "field_auc": field_auc(spec=spec, sample=sample),
    }


def _volume(spec: DatasetSpec, day: date, facts: DayFacts, before: Before) -> dict[str, Measure]:
    policy = spec.validation
    recent = _past(day, policy.volume_history_days, before)
    season = _past(day, policy.season_history_days, before)
    silences = [
        result.observed
        for receipt in recent.values()
        for result in receipt.rules
        if result.rule == FEED_CUT_SHORT and result.observed is not None
    ]
    unusual = Measure(why="the day has no impressions, which volume.empty_day judges")
    if facts.impressions:
        unusual = volume_z(day=day, impressions=facts.impressions, past=season, policy=policy)
    return {
        "impressions": Measure(value=float(facts.impressions), bound=1.0),
        "impressions_over_median": volume_ratio(
            impressions=facts.impressions, past=[receipt.impressions for receipt in recent.values()], policy=policy
        ),
        "impressions_z": unusual,
        "silent_hours": silence_before_end(
            spec=spec, day=day, impressions=facts.impressions, newest=facts.newest, past=silences
        ),
    }


def _rates(spec: DatasetSpec, day: date, admitted: AdmittedRows, before: Before) -> dict[str, Measure]:
    policy = spec.validation
    season = _past(day, policy.season_history_days, before)
    clicked = {
        past: (receipt.clicks, receipt.admitted)
        for past, receipt in season.items()
        if clicks_are_in(spec=spec, day=past, horizon=receipt.label_horizon)
    }
    converted = {
        past: (receipt.conversions, receipt.admitted) for past, receipt in season.items() if receipt.labels_mature
    }
    clicks, conversions = (
        Measure(why="clicks of the day may still come"),
        Measure(why="the day's labels are not mature"),
    )
    if clicks_are_in(spec=spec, day=day, horizon=admitted.horizon):
        clicks = rate_z(day=day, events=admitted.clicks, rows=admitted.rows, past=clicked, policy=policy)
    if admitted.mature == admitted.rows:
        conversions = rate_z(day=day, events=admitted.conversions, rows=admitted.rows, past=converted, policy=policy)
    return {"click_rate_z": clicks, "conversion_rate_z": conversions}


def _fields(spec: DatasetSpec, day: date, admitted: AdmittedRows, profile: Path, before: Before) -> dict[str, Measure]:
    first = day - timedelta(days=spec.validation.drift_history_days)
    past = {other: path for other, path in before.profiles.items() if first <= other < day}
    today, usable, drifts = field_drifts(spec=spec, profile=profile, past=past)
    return {
        "null_share": null_share(spec=spec, rows=admitted.rows, today=today, past=usable),
        **drift_measures(spec=spec, drifts=drifts, days=len(past), rows=admitted.rows),
    }


def _past(day: date, days: int, before: Before) -> dict[date, Receipt]:
    return admitted_days(day=day, days=days, history=before.history, decisions=before.decisions)
