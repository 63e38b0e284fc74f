"""What the bootstrap lets a day claim: how often its intervals hold the truth, and how often equal models differ."""

import numpy as np
import pytest

from ml.evaluation.comparison import bootstrap
from tests.ml.evaluation.clustered_rows import clustered_rows

EXACT_AUC_ONE_SIGMA_APART = 0.7602499389065233  # Φ(1/√2)


def test_a_model_does_not_differ_from_itself():
    labels, unit, challenger, _ = clustered_rows(3)
    answer = bootstrap(
        labels=labels, units=unit, challenger=challenger, champion=challenger, replicates=200, confidence=0.95, seed=0
    )
    for difference in (answer.auc_difference, answer.log_loss_difference):
        assert (difference.estimate, difference.lower, difference.upper, difference.p_value) == (0, 0, 0, 1)


def test_a_user_whose_rows_are_repeated_brings_no_new_evidence():
    labels, _, challenger, _ = clustered_rows(4)
    users = np.arange(len(labels))
    settings = {"replicates": 300, "confidence": 0.95, "seed": 0}
    once = bootstrap(labels=labels, units=users, challenger=challenger, **settings).auc
    tenfold = {"labels": np.repeat(labels, 10), "challenger": np.repeat(challenger, 10), **settings}
    by_user = bootstrap(units=np.repeat(users, 10), **tenfold).auc
    by_row = bootstrap(units=np.arange(10 * len(labels)), **tenfold).auc
    assert (by_user.lower, by_user.upper) == pytest.approx((once.lower, once.upper), abs=1e-12)
    assert by_row.standard_error < 0.5 * by_user.standard_error


def test_intervals_cover_the_true_auc_about_as_often_as_they_say():
    generator = np.random.default_rng(5)
    covered = 0
    for seed in range(200):
        labels = np.repeat([0, 1], [200, 60])
        scores = generator.normal(size=260) + labels
        interval = bootstrap(
            labels=labels, units=np.arange(260), challenger=scores, replicates=200, confidence=0.95, seed=seed
        ).auc
        covered += interval.lower <= EXACT_AUC_ONE_SIGMA_APART <= interval.upper
    assert 180 <= covered <= 199


def test_equal_models_are_rarely_told_apart_in_the_challengers_favour():
    wins = 0
    for seed in range(200):
        labels, unit, challenger, champion = clustered_rows(seed + 100, rows=600, units=150)
        answer = bootstrap(
            labels=labels,
            units=unit,
            challenger=challenger,
            champion=champion,
            replicates=200,
            confidence=0.95,
            seed=seed,
        )
        wins += answer.auc_difference.lower > 0
    assert wins <= 10  # 5 % of 200


def test_a_better_model_is_told_apart():
    labels, unit, challenger, _ = clustered_rows(6, rows=4000, units=900)
    noise = np.random.default_rng(0).random(4000)
    answer = bootstrap(
        labels=labels, units=unit, challenger=challenger, champion=noise, replicates=200, confidence=0.95, seed=0
    )
    assert answer.auc_difference.lower > 0
    assert answer.auc_difference.p_value == pytest.approx(2 / 201)
    assert answer.log_loss_difference.upper < 0
