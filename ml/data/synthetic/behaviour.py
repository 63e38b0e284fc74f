"""What people do in the synthetic world: who sees what, with which true probability they click and buy; no files."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date
from math import erf, log, sqrt
from typing import Final

import numpy as np

from ml.data.synthetic.config import SyntheticConfig
from ml.data.synthetic.world import FloatArray, IntArray, World, create_world

PAGES: Final = ("home", "search", "category", "cart")
PAGE_SHARE: Final = np.array([0.4, 0.3, 0.2, 0.1])
PAGE_CLICK: Final = np.array([-0.2, 0.3, 0.0, -0.1])
PAGE_CONVERSION: Final = np.array([-0.3, 0.3, 0.0, 0.4])
DRIFT_PERIOD_DAYS: Final = 60.0
CALIBRATION_STREAM: Final = 10_000_079
CALIBRATION_DRAWS: Final = 100_000
DAY_SECONDS: Final = 86_400.0


@dataclass(frozen=True)
class Impressions:
    """Impressions as arrays of one length: numbers of user and item, and the context."""

    user: IntArray
    item: IntArray
    second: FloatArray  # of the UTC day
    position: IntArray  # from 1
    page: IntArray  # index into PAGES

    def __len__(self) -> int:
        return len(self.user)


@dataclass(frozen=True)
class Population:
    """A world with the intercepts (logits) that give its average rates."""

    world: World
    click_intercept: float
    conversion_intercept: float


def populate(config: SyntheticConfig) -> Population:
    """A config's world, with intercepts such that mean CTR and CVR are base_ctr and base_cvr on an ordinary day."""
    world = create_world(config)
    rng = np.random.default_rng([config.seed, CALIBRATION_STREAM])
    sample = draw_impressions(config, world, rng, count=CALIBRATION_DRAWS)
    click = _click_logits(config, world, sample)
    click_intercept = _intercept(click, np.ones(len(sample)), config.base_ctr)
    p_click = _sigmoid(click + click_intercept)
    conversion_intercept = _intercept(_conversion_logits(world, sample), p_click, config.base_cvr)
    return Population(world=world, click_intercept=click_intercept, conversion_intercept=conversion_intercept)


def draw_impressions(
    config: SyntheticConfig,
    world: World,
    rng: np.random.Generator,
    *,
    count: int,
    part: tuple[float, float] = (0.0, 1.0),
) -> Impressions:
    """`count` impressions, in the order of their times, of the part (from, to) of the day's traffic."""
    start, end = part
    traffic = start + (end - start) * np.sort(rng.random(count))
    falling = 1.0 / np.arange(1, config.positions + 1) ** 0.3
    return Impressions(
        user=_pick(world.users.activity, rng.random(count)),
        item=_pick(world.items.popularity, rng.random(count)),
        second=_time_of_day(traffic),
        position=1 + _pick(np.cumsum(falling / falling.sum()), rng.random(count)),
        page=_pick(np.cumsum(PAGE_SHARE), rng.random(count)),
    )


def true_probabilities(
    config: SyntheticConfig, population: Population, impressions: Impressions, day: date
) -> tuple[FloatArray, FloatArray]:
    """The chances of a click and, given a click, of a conversion within max_delay_days: float64 [n] each."""
    world = population.world
    season = config.weekly_season * weekend_swing(day)
    drift = _drift(config, day, world.items.drift_phase)[impressions.item] if config.daily_drift else 0.0
    click = _click_logits(config, world, impressions) + population.click_intercept
    conversion = _conversion_logits(world, impressions) + population.conversion_intercept
    arrives = share_arriving(config)
    return _sigmoid(click + season + drift), _sigmoid(conversion + season - drift) * arrives


def day_volume(config: SyntheticConfig, day: date) -> int:
    """Impressions of a day: the average, moved by the weekly season."""
    return max(1, round(config.impressions_per_day * (1 + config.weekly_season * weekend_swing(day))))


def weekend_swing(day: date) -> float:
    """Between −1 and 1, highest on Saturday, of mean 0 over a week."""
    return float(np.cos(2 * np.pi * (day.weekday() - 5) / 7))


def share_arriving(config: SyntheticConfig) -> float:
    """The share of the log-normal conversion delays that is not longer than max_delay_days."""
    reach = log(config.max_delay_days * 24 / config.conversion_delay_hours) / config.conversion_delay_tail
    return 0.5 * (1 + erf(reach / sqrt(2)))


def _click_logits(config: SyntheticConfig, world: World, seen: Impressions) -> FloatArray:
    users, items = world.users, world.items
    affinity = world.click_affinity[users.cluster[seen.user], items.cluster[seen.item]]
    context = PAGE_CLICK[seen.page] - config.position_bias * np.log2(seen.position) + 0.15 * _evening(seen.second)
    return affinity + users.click_effect[seen.user] + items.click_effect[seen.item] + context


def _conversion_logits(world: World, seen: Impressions) -> FloatArray:
    users, items = world.users, world.items
    affinity = world.conversion_affinity[users.cluster[seen.user], items.cluster[seen.item]]
    context = PAGE_CONVERSION[seen.page] + 0.2 * _evening(seen.second)
    return affinity + users.conversion_effect[seen.user] + items.conversion_effect[seen.item] + context


def _evening(second: FloatArray) -> FloatArray:
    """Between −1 and 1, highest at 20:00."""
    return np.cos(2 * np.pi * (second / DAY_SECONDS - 20 / 24))


def _drift(config: SyntheticConfig, day: date, phase: FloatArray) -> FloatArray:
    """A slow wave per item whose steepest daily step is daily_drift; it moves clicks and conversions apart."""
    turn = 2 * np.pi / DRIFT_PERIOD_DAYS
    return config.daily_drift / turn * np.sin(turn * day.toordinal() + phase)


def _time_of_day(traffic: FloatArray) -> FloatArray:
    """Second of the day by which a share `traffic` of its impressions has passed: few at night, most at 20:00."""
    grid = np.linspace(0, 1, 1_441)
    wave = 0.7 / (2 * np.pi) * (np.sin(2 * np.pi * (grid - 20 / 24)) + np.sin(2 * np.pi * 20 / 24))
    return np.minimum(np.interp(traffic, grid + wave, grid) * DAY_SECONDS, DAY_SECONDS - 0.001)


def _pick(cumulative: FloatArray, uniform: FloatArray) -> IntArray:
    return np.minimum(np.searchsorted(cumulative, uniform, side="right"), len(cumulative) - 1)


def _intercept(logits: FloatArray, weight: FloatArray, target: float) -> float:
    """The shift of all logits at which the weighted mean probability is `target`, by bisection."""
    low, high = -40.0, 40.0
    for _ in range(40):
        middle = (low + high) / 2
        mean = np.average(_sigmoid(logits + middle), weights=weight)
        low, high = (middle, high) if mean < target else (low, middle)
    return (low + high) / 2


def _sigmoid(logits: FloatArray) -> FloatArray:
    return 1.0 / (1.0 + np.exp(-logits))
