"""The paired bootstrap by unit: its draws, its intervals and its differences, against loops and known answers."""

import numpy as np
import pytest
from sklearn.metrics import log_loss, roc_auc_score

from ml.evaluation import comparison
from ml.evaluation.comparison import bootstrap, resampled_counts
from ml.evaluation.intervals import NotMeasurable
from tests.ml.evaluation.clustered_rows import clustered_rows

REPLICATES = 60


def slow_replicates(labels, unit, challenger, champion, seed):
    """The same draws, but rows repeated one by one and scikit-learn's metrics."""
    present = np.unique(unit)
    counts = resampled_counts(units=len(present), replicates=REPLICATES, generator=np.random.default_rng(seed))
    aucs, losses = [], []
    for count in counts:
        drawn = np.concatenate(
            [np.repeat(np.flatnonzero(unit == key), n) for key, n in zip(present, count, strict=True)]
        )
        y = labels[drawn]
        aucs.append([roc_auc_score(y, scores[drawn]) for scores in (challenger, champion)])
        losses.append(np.subtract(*(log_loss(y, np.clip(s[drawn], 1e-7, 1 - 1e-7)) for s in (challenger, champion))))
    return np.array(aucs), np.array(losses)


def test_every_draw_takes_as_many_units_as_there_are():
    counts = resampled_counts(units=50, replicates=400, generator=np.random.default_rng(0))
    assert counts.shape == (400, 50)
    assert set(counts.sum(axis=1)) == {50}
    assert counts.mean(axis=0) == pytest.approx(np.ones(50), abs=0.25)
    assert counts.var() == pytest.approx(1 - 1 / 50, abs=0.05)


def test_the_vectorised_bootstrap_equals_a_slow_loop_on_the_same_draws():
    labels, unit, challenger, champion = clustered_rows(1)
    aucs, losses = slow_replicates(labels, unit, challenger, champion, seed=9)
    # Unit codes with gaps, as a population that lacks some of the day's units has.
    answer = bootstrap(
        labels=labels, units=unit * 3 + 5, challenger=challenger, champion=champion,
        replicates=REPLICATES, confidence=0.9, seed=9,
    )  # fmt: skip
    cases = [
        (answer.auc, aucs[:, 0], roc_auc_score(labels, challenger)),
        (answer.champion_auc, aucs[:, 1], roc_auc_score(labels, champion)),
        (answer.auc_difference, aucs[:, 0] - aucs[:, 1], None),
        (answer.log_loss_difference, losses, None),
    ]
    for interval, replicates, estimate in cases:
        assert [interval.lower, interval.upper] == pytest.approx(np.quantile(replicates, [0.05, 0.95]), abs=1e-10)
        assert interval.standard_error == pytest.approx(replicates.std(ddof=1))
        assert (interval.confidence, interval.replicates) == (0.9, REPLICATES)
        assert interval.units == len(np.unique(unit))
        if estimate is not None:
            assert interval.estimate == pytest.approx(estimate)
    for difference, replicates in (
        (answer.auc_difference, aucs[:, 0] - aucs[:, 1]),
        (answer.log_loss_difference, losses),
    ):
        fewer = min(np.sum(replicates <= 0), np.sum(replicates >= 0))
        assert difference.p_value == pytest.approx(min(1, 2 * (fewer + 1) / (REPLICATES + 1)))
        assert difference.smallest_detectable == pytest.approx((1.6448536 + 0.8416212) * replicates.std(ddof=1))


def test_the_size_of_a_chunk_changes_nothing(monkeypatch):
    labels, unit, challenger, champion = clustered_rows(2)
    arguments = {"labels": labels, "units": unit, "challenger": challenger, "champion": champion, "confidence": 0.95}
    whole = bootstrap(**arguments, replicates=REPLICATES, seed=1)
    monkeypatch.setattr(comparison, "CHUNK_CELLS", 7 * len(labels))
    assert bootstrap(**arguments, replicates=REPLICATES, seed=1) == whole
    assert bootstrap(**arguments, replicates=REPLICATES, seed=2) != whole


def test_one_class_has_no_auc_but_still_a_log_loss():
    answer = bootstrap(
        labels=[1, 1, 1], units=[0, 1, 2], challenger=[0.9, 0.8, 0.9], champion=[0.5, 0.5, 0.5],
        replicates=50, confidence=0.95, seed=0, outcome="clicks",
    )  # fmt: skip
    assert answer.auc == answer.auc_difference == answer.champion_auc
    assert answer.auc == NotMeasurable(reason="all 3 rows are clicks: none to tell them from")
    assert answer.pcoc.estimate == pytest.approx(2.6 / 3)
    assert (answer.champion_pcoc.lower, answer.champion_pcoc.upper) == (0.5, 0.5)
    assert answer.log_loss_difference.upper < 0


@pytest.mark.parametrize(
    ("labels", "units", "challenger", "reason"),
    [
        ([], [], [], "0 rows"),
        ([0, 1], [7, 7], [0.1, 0.2], "1 unit: nothing to resample"),
        ([0, 1], [0, 1], [0.1, np.nan], "1 of 2 predictions are not finite"),
        ([0] * 59 + [1], range(60), np.linspace(0, 1, 60), "resamples hold one class only"),
    ],
)
def test_what_cannot_be_resampled_says_why(labels, units, challenger, reason):
    answer = bootstrap(
        labels=labels, units=list(units), challenger=challenger, champion=np.full(len(labels), 0.5),
        replicates=200, confidence=0.95, seed=0,
    )  # fmt: skip
    assert reason in answer.auc.reason
    assert reason in answer.pcoc.reason
    assert reason in answer.auc_difference.reason


def test_without_a_positive_there_is_a_log_loss_and_no_level():
    answer = bootstrap(
        labels=[0, 0], units=[0, 1], challenger=[0.1, 0.2], champion=[0.5, 0.5],
        replicates=50, confidence=0.95, seed=0, outcome="conversions",
    )  # fmt: skip
    assert answer.pcoc == answer.champion_pcoc == answer.auc == NotMeasurable(reason="0 conversions in 2 rows")
    assert answer.log_loss_difference.upper < 0
    alone = bootstrap(labels=[0, 0], units=[0, 1], challenger=[0.1, 0.2], replicates=50, confidence=0.95, seed=0)
    assert alone.pcoc == NotMeasurable(reason="0 positives in 2 rows")


def test_positives_alone_have_a_level_and_no_auc():
    answer = bootstrap(labels=[1, 1], units=[0, 1], challenger=[0.4, 0.4], replicates=50, confidence=0.95, seed=0)
    assert (answer.pcoc.lower, answer.pcoc.upper) == (0.4, 0.4)
    assert answer.auc == answer.gauc
    assert answer.auc.kind == "not_measurable"


def test_without_a_champion_nothing_is_said_of_one():
    labels, unit, challenger, _ = clustered_rows(7)
    answer = bootstrap(labels=labels, units=unit, challenger=challenger, replicates=50, confidence=0.95, seed=0)
    assert answer.champion_auc is answer.auc_difference is answer.log_loss_difference is answer.champion_pcoc is None


def test_units_must_be_as_many_as_rows():
    with pytest.raises(ValueError, match="units"):
        bootstrap(labels=[0, 1], units=[0], challenger=[0.1, 0.2], replicates=50, confidence=0.95, seed=0)
