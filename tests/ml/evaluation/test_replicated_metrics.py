"""Metrics of many replicates at once, against loops over the rows and units that were drawn."""

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from ml.evaluation.comparison import bootstrap, resampled_counts
from ml.evaluation.replicated_metrics import Counts, RankedRows, UnitTotals
from tests.ml.evaluation.clustered_rows import clustered_rows

REPLICATES = 60


@pytest.mark.parametrize("most", [1, 255, 256])
def test_a_unit_drawn_more_often_than_a_byte_holds_is_counted(most):
    labels, scores = np.array([0, 1, 0, 1.0]), np.array([0.1, 0.4, 0.5, 0.9])
    drawn = np.array([[most, 1, 2, 1]])
    rows = RankedRows(labels=labels, scores=scores, codes=np.arange(4))
    expected = roc_auc_score(np.repeat(labels, drawn[0]), np.repeat(scores, drawn[0]))
    assert rows.areas(Counts(drawn)) == pytest.approx([expected])


def test_sums_beyond_32_bits_do_not_overflow():
    labels, scores = np.array([0, 1, 0, 1.0]), np.array([0.1, 0.4, 0.5, 0.9])
    drawn = np.array([[2**31, 1, 2**31, 1]])
    rows = RankedRows(labels=labels, scores=scores, codes=np.arange(4))
    assert rows.areas(Counts(drawn)) == pytest.approx([0.75])


def slow_gauc(labels, unit, scores, counts):
    """Units of both classes, each as often as it was drawn, weighted by their rows."""
    won = weight = 0.0
    for key, count in zip(np.unique(unit), counts, strict=True):
        chosen = unit == key
        if 0 < labels[chosen].sum() < chosen.sum():
            weight += count * chosen.sum()
            won += count * chosen.sum() * roc_auc_score(labels[chosen], scores[chosen])
    return won / weight


def test_gauc_of_each_replicate_equals_a_loop_over_the_units_drawn():
    labels, unit, challenger, champion = clustered_rows(8)
    count = len(np.unique(unit))
    draws = resampled_counts(units=count, replicates=REPLICATES, generator=np.random.default_rng(4))
    first, second = (
        np.array([slow_gauc(labels, unit, scores, counts) for counts in draws]) for scores in (challenger, champion)
    )
    answer = bootstrap(
        labels=labels, units=unit + 2, challenger=challenger, champion=champion,
        replicates=REPLICATES, confidence=0.9, seed=4,
    )  # fmt: skip
    for interval, replicates, estimate in (
        (answer.gauc, first, slow_gauc(labels, unit, challenger, np.ones(count))),
        (answer.champion_gauc, second, slow_gauc(labels, unit, champion, np.ones(count))),
    ):
        assert interval.estimate == pytest.approx(estimate)
        assert [interval.lower, interval.upper] == pytest.approx(np.quantile(replicates, [0.05, 0.95]))
    assert answer.gauc_difference.estimate == pytest.approx(answer.gauc.estimate - answer.champion_gauc.estimate)
    assert answer.gauc_difference.standard_error == pytest.approx((first - second).std(ddof=1))


def test_users_of_one_row_have_an_auc_and_no_gauc():
    labels, _, challenger, champion = clustered_rows(9)
    answer = bootstrap(
        labels=labels, units=np.arange(len(labels)), challenger=challenger, champion=champion,
        replicates=50, confidence=0.95, seed=0, outcome="clicks",
    )  # fmt: skip
    assert answer.auc_difference.kind == "difference"
    assert answer.gauc == answer.gauc_difference == answer.champion_gauc
    assert "no user or group has both clicks" in answer.gauc.reason


def test_the_level_of_each_replicate_equals_a_loop_over_the_units_drawn():
    labels, unit, challenger, champion = clustered_rows(10)
    present = np.unique(unit)
    draws = resampled_counts(units=len(present), replicates=REPLICATES, generator=np.random.default_rng(3))
    answer = bootstrap(
        labels=labels, units=unit + 2, challenger=challenger, champion=champion,
        replicates=REPLICATES, confidence=0.9, seed=3,
    )  # fmt: skip
    for interval, scores in ((answer.pcoc, challenger), (answer.champion_pcoc, champion)):
        replicates = []
        for counts in draws:
            times = dict(zip(present, counts, strict=True))
            drawn = np.array([times[key] for key in unit])
            replicates.append(float((drawn * scores).sum() / (drawn * labels).sum()))
        assert interval.estimate == pytest.approx(scores.sum() / labels.sum())
        assert [interval.lower, interval.upper] == pytest.approx(np.quantile(replicates, [0.05, 0.95]))
        assert (interval.replicates, interval.units) == (REPLICATES, len(present))


def test_a_replicate_without_a_positive_has_no_level():
    totals = UnitTotals(labels=np.array([0.0, 1.0]), scores=np.array([0.5, 0.25]), codes=np.array([0, 1]), units=2)
    assert totals.ratios(Counts(np.array([[2, 0], [1, 1]]))) == pytest.approx([np.nan, 0.75], nan_ok=True)
