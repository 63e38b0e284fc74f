"""A day's events: labels drawn from the truth, times in order, delays with the tail asked for."""

from datetime import date
from pathlib import Path

import numpy as np
import pytest

from ml.data.synthetic.behaviour import day_volume, populate
from ml.data.synthetic.config import SyntheticConfig
from ml.data.synthetic.events import DAY_MICROSECONDS, chunk_count, draw_chunk


def test_labels_are_draws_from_the_true_probabilities(usual_day: Path, labelled) -> None:
    day = labelled(usual_day)
    clicked = day["click"]
    for label, chance in ((clicked, day["p_click"]), (day["conversion"][clicked], day["p_conversion"][clicked])):
        deviation = np.sqrt((chance * (1 - chance)).sum())
        assert abs(label.sum() - chance.sum()) < 4 * deviation
        for tenth in np.array_split(np.argsort(chance), 10):
            deviation = np.sqrt((chance[tenth] * (1 - chance[tenth])).sum())
            assert abs(label[tenth].sum() - chance[tenth].sum()) < 5 * deviation


def test_a_usual_day_holds_evidence(usual_day: Path, labelled) -> None:
    day = labelled(usual_day)
    clicked = day["click"]
    assert day["conversion"].sum() >= 500
    assert 0.74 < auc(day["p_click"], clicked) < 0.84
    assert 0.74 < auc(day["p_conversion"][clicked], day["conversion"][clicked]) < 0.86
    assert abs(np.corrcoef(day["p_click"], day["p_conversion"])[0, 1]) < 0.25


def test_events_are_in_order_and_numbered_without_gap(small: SyntheticConfig, day: date) -> None:
    population = populate(small)
    chunks = [draw_chunk(small, population, day, chunk) for chunk in range(chunk_count(small, day))]
    numbers = np.concatenate([events.number for events in chunks])
    np.testing.assert_array_equal(numbers, np.arange(day_volume(small, day)))
    assert all(len(events.number) <= small.chunk_rows for events in chunks)
    for events in chunks:
        shown = (events.impressions.second * 1e6).astype(np.int64)
        at = dict(zip(events.number.tolist(), shown.tolist(), strict=True))
        clicks, conversions = events.clicks, events.conversions
        assert all(at[one] < time for one, time in zip(clicks.impression.tolist(), clicks.microsecond, strict=True))
        assert (conversions.click_microsecond < conversions.microsecond).all()
        assert set(conversions.click.tolist()) <= set(clicks.number.tolist())
        assert (conversions.value > 0).all()


def test_conversion_delays_have_the_median_and_stop_at_the_longest(day: date) -> None:
    config = SyntheticConfig(impressions_per_day=100_000, conversion_delay_hours=6, max_delay_days=5)
    conversions = draw_chunk(config, populate(config), day, 0).conversions
    delay = conversions.microsecond - conversions.click_microsecond
    assert delay.max() <= 5 * DAY_MICROSECONDS
    assert np.quantile(delay, 0.97) > 2 * DAY_MICROSECONDS
    assert np.median(delay) / 3.6e9 == pytest.approx(6, rel=0.2)


def auc(score: np.ndarray, label: np.ndarray) -> float:
    """Share of (positive, negative) pairs in the right order; true probabilities have no ties worth counting."""
    rank = np.empty(len(score))
    rank[np.argsort(score)] = np.arange(1, len(score) + 1)
    positives = label.sum()
    return float((rank[label].sum() - positives * (positives + 1) / 2) / (positives * (len(label) - positives)))
