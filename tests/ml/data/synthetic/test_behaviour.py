"""The true probabilities: the rates asked for, position bias on clicks alone, season, drift and arrivals."""

from dataclasses import replace
from datetime import date, timedelta

import numpy as np
import pytest

from ml.data.synthetic.behaviour import (
    Impressions,
    day_volume,
    draw_impressions,
    populate,
    share_arriving,
    true_probabilities,
)
from ml.data.synthetic.config import SyntheticConfig

STEADY = SyntheticConfig(weekly_season=0.0, daily_drift=0.0)


def draw(config: SyntheticConfig, count: int = 100_000) -> Impressions:
    return draw_impressions(config, populate(config).world, np.random.default_rng(11), count=count)


@pytest.mark.parametrize("rates", [(0.18, 0.16), (0.04, 0.01), (0.5, 0.6)])
def test_mean_probabilities_are_the_base_rates(rates: tuple[float, float]) -> None:
    config = STEADY.model_copy(update={"base_ctr": rates[0], "base_cvr": rates[1]})
    click, conversion = true_probabilities(config, populate(config), draw(config), date(2026, 1, 7))
    assert click.mean() == pytest.approx(rates[0], rel=0.03)
    arrived = rates[1] * share_arriving(config)
    assert np.average(conversion, weights=click) == pytest.approx(arrived, rel=0.03)


def test_position_lowers_the_click_logit_and_leaves_the_conversion(day: date) -> None:
    seen, population = draw(STEADY, 1_000), populate(STEADY)
    at = [replace(seen, position=np.full(1_000, place)) for place in (1, 8)]
    (top, top_conversion), (low, low_conversion) = (true_probabilities(STEADY, population, one, day) for one in at)
    lost = np.log(top / (1 - top)) - np.log(low / (1 - low))
    np.testing.assert_allclose(lost, 3 * STEADY.position_bias, rtol=1e-9)
    np.testing.assert_array_equal(top_conversion, low_conversion)


def test_weekly_season_moves_volume_about_its_mean_and_is_highest_on_saturday() -> None:
    config = SyntheticConfig(impressions_per_day=70_000, weekly_season=0.2)
    week = [date(2026, 1, 5) + timedelta(days=offset) for offset in range(7)]
    volumes = [day_volume(config, day) for day in week]
    assert sum(volumes) == pytest.approx(7 * 70_000, abs=7)
    assert max(volumes) == volumes[5] == 84_000


def test_drift_moves_an_item_by_no_more_than_asked_for_a_day() -> None:
    config = SyntheticConfig(weekly_season=0.0, daily_drift=0.05)
    seen, population = draw(config, 2_000), populate(config)
    clicks = [true_probabilities(config, population, seen, date(2026, 1, first))[0] for first in (7, 8)]
    before, after = (np.log(p / (1 - p)) for p in clicks)
    step = np.abs(after - before)
    assert 0.03 < step.max() <= 0.05 + 1e-9


def test_traffic_comes_in_order_of_time_and_within_its_part_of_the_day() -> None:
    world = populate(STEADY).world
    rng = np.random.default_rng(0)
    early, late = (
        draw_impressions(STEADY, world, rng, count=5_000, part=part).second for part in ((0.0, 0.5), (0.5, 1.0))
    )
    assert (np.diff(early) >= 0).all()
    assert early.min() >= 0
    assert early.max() <= late.min()
    assert late.max() < 86_400


def test_share_arriving_is_that_of_the_lognormal_delays() -> None:
    config = SyntheticConfig(conversion_delay_hours=24.0, conversion_delay_tail=1.0, max_delay_days=3)
    delays = 24 * np.exp(np.random.default_rng(0).standard_normal(400_000))
    assert share_arriving(config) == pytest.approx((delays <= 72).mean(), abs=0.003)
