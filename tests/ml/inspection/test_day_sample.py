"""Which rows are looked at: uniformly drawn ones, more clicked ones where conversions are rare, the same ones again."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch

from ml.data.encoded_day import EncodedDay
from ml.inspection.day_sample import part_of, rows_of, sample_rows

MakeDay = Callable[..., EncodedDay]


def test_a_small_day_is_looked_at_whole(make_day: MakeDay) -> None:
    day = make_day(500)
    sample = sample_rows(day, rows=500, seed=3)
    assert sample.uniform.tolist() == sample.judged.tolist() == list(range(500))
    assert not sample.enriched


def test_a_uniform_sample_has_the_days_proportions(make_day: MakeDay) -> None:
    day = make_day(20_000, click_rate=0.3, conversion_rate=0.5)
    sample = sample_rows(day, rows=4000, seed=0)
    assert not sample.enriched
    assert len(set(sample.uniform.tolist())) == 4000
    assert (np.diff(sample.uniform) > 0).all()
    assert day.click[sample.uniform].mean() == pytest.approx(day.click.mean(), abs=0.03)
    assert sample.judged is sample.uniform
    assert sample_rows(day, rows=4000, seed=0).uniform.tolist() == sample.uniform.tolist()
    assert sample_rows(day, rows=4000, seed=1).uniform.tolist() != sample.uniform.tolist()


def test_with_few_conversions_every_clicked_row_is_judged(make_day: MakeDay) -> None:
    day = make_day(20_000, click_rate=0.03, conversion_rate=0.2)
    sample = sample_rows(day, rows=2000, seed=0)
    assert day.conversion[sample.uniform].sum() < 50
    assert sample.enriched
    assert len(sample.uniform) == len(sample.judged) == len(set(sample.judged.tolist())) == 2000
    assert day.click[sample.judged].sum() == day.click.sum()
    negatives = [click for click, sold in zip(day.click.tolist(), day.conversion.tolist(), strict=True) if not sold]
    assert sample.clicked_negatives == pytest.approx(sum(negatives) / len(negatives))
    assert sample_rows(day, rows=2000, seed=0).judged.tolist() == sample.judged.tolist()


@pytest.mark.parametrize(("click_rate", "clicked"), [(0.5, 900), (1.9, 900)])
def test_clicked_rows_leave_room_for_others(make_day: MakeDay, click_rate: float, clicked: int) -> None:
    day = make_day(6000, click_rate=click_rate, conversion_rate=0.005)
    sample = sample_rows(day, rows=1000, seed=0)
    assert int(day.click.sum()) > 1000
    assert len(sample.judged) == 1000
    others = int((day.click == 0).sum())
    assert int(day.click[sample.judged].sum()) == max(clicked, 1000 - others)


def test_days_without_clicks_or_rows_are_sampled(make_day: MakeDay) -> None:
    sample = sample_rows(make_day(300, click_rate=0), rows=100, seed=0)
    assert (sample.enriched, len(sample.judged)) == (False, 100)
    empty = make_day(0)
    sample = sample_rows(empty, rows=100, seed=0)
    assert len(rows_of(empty, sample.judged)) == 0


def test_rows_become_a_batch_and_parts_of_it(make_day: MakeDay) -> None:
    day = make_day(50, click_rate=0.5)
    rows = np.array([3, 7, 8, 40])
    batch = rows_of(day, rows)
    assert batch.features.tolist() == day.features[rows].tolist()
    assert batch.click.tolist() == day.click[rows].tolist()
    for part in (slice(1, 3), torch.tensor([1, 2]), torch.tensor([False, True, True, False])):
        assert part_of(batch, part).features.tolist() == day.features[rows[1:3]].tolist()
        assert part_of(batch, part).sequences["history"].shape == (2, 3)
