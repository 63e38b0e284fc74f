"""One chunk of a day's events with their true probabilities, as plain arrays; faults and files come after."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date
from typing import Final

import numpy as np
import numpy.typing as npt

from ml.data.synthetic.behaviour import (
    Impressions,
    Population,
    day_volume,
    draw_impressions,
    true_probabilities,
)
from ml.data.synthetic.config import SyntheticConfig
from ml.data.synthetic.world import FloatArray, IntArray

DAY_MICROSECONDS: Final = 86_400_000_000
SHORTEST_DELAY: Final = 1_000
LONGEST_CLICK_DELAY: Final = DAY_MICROSECONDS // 2


@dataclass(frozen=True)
class Clicks:
    """Clicks; times in microseconds since the start of the impressions' UTC day."""

    number: IntArray
    impression: IntArray  # the number of its impression
    microsecond: IntArray


@dataclass(frozen=True)
class Conversions:
    """Conversions; times in microseconds since the start of the impressions' UTC day."""

    click: IntArray  # the number of its click
    click_microsecond: IntArray
    microsecond: IntArray
    value: FloatArray  # of the order, in currency units

    def __len__(self) -> int:
        return len(self.click)


@dataclass(frozen=True)
class Events:
    """What happened in one chunk of a day; `number` counts the day's impressions from 0."""

    number: IntArray
    impressions: Impressions
    clicks: Clicks
    conversions: Conversions
    p_click: FloatArray
    p_conversion: FloatArray
    unreadable_price: npt.NDArray[np.bool_] | None = None  # where the price is unreadable; None: prices are numbers


def chunk_count(config: SyntheticConfig, day: date) -> int:
    """How many chunks a day is drawn in."""
    return -(-day_volume(config, day) // config.chunk_rows)


def draw_chunk(config: SyntheticConfig, population: Population, day: date, chunk: int) -> Events:
    """Chunk number `chunk` of a day: depends on the config, the day and the chunk alone, on no other day or chunk."""
    rng = np.random.default_rng([config.seed, day.toordinal(), chunk])
    volume = day_volume(config, day)
    first, last = chunk * config.chunk_rows, min((chunk + 1) * config.chunk_rows, volume)
    count = last - first
    seen = draw_impressions(config, population.world, rng, count=count, part=(first / volume, last / volume))
    p_click, p_conversion = true_probabilities(config, population, seen, day)
    number = np.arange(first, last)
    clicked = np.flatnonzero(rng.random(count) < p_click)
    converted = np.flatnonzero(rng.random(len(clicked)) < p_conversion[clicked])
    delay = rng.exponential(config.click_delay_seconds_mean, size=len(clicked)) * 1e6
    clicks = Clicks(
        number=number[clicked],
        impression=number[clicked],
        microsecond=to_microseconds(seen.second[clicked])
        + np.clip(delay, SHORTEST_DELAY, LONGEST_CLICK_DELAY).astype(np.int64),
    )
    price = population.world.items.price[seen.item[clicked[converted]]]
    conversions = Conversions(
        click=clicks.number[converted],
        click_microsecond=clicks.microsecond[converted],
        microsecond=clicks.microsecond[converted] + _conversion_delay(config, rng, len(converted)),
        value=_order_values(config, rng, price),
    )
    return Events(number, seen, clicks, conversions, p_click, p_conversion)


def to_microseconds(second: FloatArray) -> IntArray:
    """Seconds of the day as whole microseconds."""
    return (second * 1e6).astype(np.int64)


def _conversion_delay(config: SyntheticConfig, rng: np.random.Generator, count: int) -> IntArray:
    """Log-normal delays in microseconds; those beyond max_delay_days are drawn again: `p_conversion` is of arrivals."""
    longest = config.max_delay_days * DAY_MICROSECONDS
    median = config.conversion_delay_hours * 3.6e9
    delay = median * np.exp(config.conversion_delay_tail * rng.standard_normal(count))
    while len(late := np.flatnonzero(delay > longest)):
        delay[late] = median * np.exp(config.conversion_delay_tail * rng.standard_normal(len(late)))
    return np.maximum(delay, SHORTEST_DELAY).astype(np.int64)


def _order_values(config: SyntheticConfig, rng: np.random.Generator, price: FloatArray) -> FloatArray:
    quantity = 1 + rng.poisson(config.order_quantity_mean - 1, size=len(price))
    noise = np.exp(config.order_value_sigma * rng.standard_normal(len(price)))
    return np.maximum(np.round(price * quantity * noise, 2), 0.01)
