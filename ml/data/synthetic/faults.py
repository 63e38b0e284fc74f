"""Plants the faults of a day into a chunk of its events; what was true of the events is left as it was."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import date
from typing import Final

import numpy as np

from ml.data.synthetic.behaviour import Impressions
from ml.data.synthetic.config import FaultKind, SyntheticConfig
from ml.data.synthetic.events import DAY_MICROSECONDS, Clicks, Conversions, Events, to_microseconds
from ml.data.synthetic.world import IntArray

FAULT_STREAM: Final = 1
GHOST: Final = 500_000_000_000
"""Numbers from here on name events that never happened."""

LONGEST_STEP_BACK: Final = 3_600_000_000


def plant_faults(config: SyntheticConfig, day: date, chunk: int, events: Events) -> Events:
    """The events as they arrive on a day with faults; the same events on a day without.

    `p_click`, `p_conversion` and the events that no fault touches are those of the day without faults.
    """
    shares = config.faults_on(day)
    for place, (kind, plant) in enumerate(_PLANT.items()):
        if kind in shares:
            rng = np.random.default_rng([config.seed, day.toordinal(), chunk, FAULT_STREAM, place])
            events = plant(events, shares[kind], rng)
    return events


def _low_volume(events: Events, share: float, rng: np.random.Generator) -> Events:
    kept = _some(rng, len(events.number), share)
    number = events.number[kept]
    clicks, conversions = events.clicks, events.conversions
    clicked = np.isin(clicks.impression, number)
    converted = np.isin(conversions.click, clicks.number[clicked])
    return replace(
        events,
        number=number,
        impressions=_rows(events.impressions, kept),
        clicks=Clicks(clicks.number[clicked], clicks.impression[clicked], clicks.microsecond[clicked]),
        conversions=_conversion_rows(conversions, np.flatnonzero(converted)),
    )


def _broken_types(events: Events, share: float, rng: np.random.Generator) -> Events:
    unreadable = np.zeros(len(events.number), dtype=np.bool_)
    unreadable[_some(rng, len(unreadable), share)] = True
    return replace(events, unreadable_price=unreadable)


def _duplicates(events: Events, share: float, rng: np.random.Generator) -> Events:
    once = np.arange(len(events.number))
    rows = np.concatenate([once, _some(rng, len(once), share)])
    broken = events.unreadable_price
    return replace(
        events,
        number=events.number[rows],
        impressions=_rows(events.impressions, rows),
        unreadable_price=None if broken is None else broken[rows],
    )


def _clicks_without_impression(events: Events, share: float, rng: np.random.Generator) -> Events:
    chosen = _some(rng, len(events.number), share)
    ghost = GHOST + events.number[chosen]
    clicks = events.clicks
    return replace(
        events,
        clicks=Clicks(
            number=np.concatenate([clicks.number, ghost]),
            impression=np.concatenate([clicks.impression, ghost]),
            microsecond=np.concatenate([clicks.microsecond, to_microseconds(events.impressions.second[chosen])]),
        ),
    )


def _conversions_without_click(events: Events, share: float, rng: np.random.Generator) -> Events:
    """Added within the day itself, so that no other day's file carries this day's fault."""
    chosen = _some(rng, len(events.number), share)
    seen_at = to_microseconds(events.impressions.second[chosen])
    real = events.conversions
    return replace(
        events,
        conversions=Conversions(
            click=np.concatenate([real.click, 2 * GHOST - 1 - events.number[chosen]]),
            click_microsecond=np.concatenate([real.click_microsecond, seen_at]),
            microsecond=np.concatenate([real.microsecond, seen_at]),
            value=np.concatenate([real.value, np.round(rng.lognormal(3, 0.5, size=len(chosen)), 2)]),
        ),
    )


def _conversion_before_click(events: Events, share: float, rng: np.random.Generator) -> Events:
    """Moved back by at most an hour, and not out of the UTC day of the click."""
    real = events.conversions
    chosen = _some(rng, len(real), share)
    clicked_at = real.click_microsecond[chosen]
    room = np.minimum(clicked_at % DAY_MICROSECONDS, LONGEST_STEP_BACK)
    microsecond = real.microsecond.copy()
    microsecond[chosen] = clicked_at - np.maximum(1, (rng.random(len(chosen)) * room).astype(np.int64))
    return replace(events, conversions=replace(real, microsecond=microsecond))


_PLANT: Final[dict[FaultKind, Callable[[Events, float, np.random.Generator], Events]]] = {
    FaultKind.LOW_VOLUME: _low_volume,
    FaultKind.BROKEN_TYPES: _broken_types,
    FaultKind.CONVERSION_BEFORE_CLICK: _conversion_before_click,
    FaultKind.CLICKS_WITHOUT_IMPRESSION: _clicks_without_impression,
    FaultKind.CONVERSIONS_WITHOUT_CLICK: _conversions_without_click,
    FaultKind.DUPLICATES: _duplicates,
}
"""In the order of planting: what arrives at all, then what is wrong with it, repetition last."""


def _some(rng: np.random.Generator, count: int, share: float) -> IntArray:
    """The positions, in order, of round(share x count) rows drawn without repetition."""
    return np.sort(rng.permutation(count)[: round(share * count)])


def _rows(seen: Impressions, rows: IntArray) -> Impressions:
    return Impressions(seen.user[rows], seen.item[rows], seen.second[rows], seen.position[rows], seen.page[rows])


def _conversion_rows(conversions: Conversions, rows: IntArray) -> Conversions:
    return Conversions(
        conversions.click[rows],
        conversions.click_microsecond[rows],
        conversions.microsecond[rows],
        conversions.value[rows],
    )
