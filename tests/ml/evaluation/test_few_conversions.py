"""How often the rules on calibration turn away a model that is right, and catch one that is not, on simulated days."""

import numpy as np
import pytest

from ml.data.policy import GateSpec
from ml.evaluation.comparison import resampled_counts
from ml.evaluation.guard_rules import calibrated_by_bin
from ml.evaluation.intervals import Spread
from ml.evaluation.measurement import Measured
from ml.evaluation.performance_rules import calibrated
from ml.evaluation.ranked_scores import RankedScores
from ml.evaluation.replicated_metrics import Counts, UnitTotals
from tests.ml.evaluation.gate_days import evaluated_day

DAYS = 200
RATE = 0.05
ROWS_A_USER = 5


def verdicts(conversions, factor, *, days=DAYS):
    """Shares of days on which the level and the bins of a model, right but for `factor`, get each verdict.

    Users convert more or less than any model can know, so that the rows of one user are no independent evidence.
    """
    seen = {"hard": 0, "fail": 0, "insufficient": 0, "bins": 0}
    for seed in range(days):
        generator = np.random.default_rng(seed)
        rows = int(conversions / RATE)
        _, users = np.unique(generator.integers(0, rows // ROWS_A_USER, rows), return_inverse=True)
        right = np.clip(RATE * np.exp(generator.normal(size=rows) - 0.5), 0, 0.9)
        unknown = generator.gamma(2, 0.5, size=users.max() + 1)[users]
        labels = (generator.random(rows) < np.clip(right * unknown, 0, 1)).astype(float)
        judged = judged_day(labels, np.clip(right * factor, 0, 1), users, generator)
        level = calibrated(challenger=judged, gate=GateSpec())
        seen["hard"] += not 0.9 <= level.value <= 1.1
        seen["fail"] += level.verdict == "fail"
        seen["insufficient"] += level.verdict == "insufficient"
        seen["bins"] += calibrated_by_bin(challenger=judged, gate=GateSpec()).verdict == "fail"
    return {name: count / days for name, count in seen.items()}


def judged_day(labels, scores, users, generator):
    totals = UnitTotals(labels=labels, scores=scores, codes=users, units=users.max() + 1)
    counts = Counts(resampled_counts(units=users.max() + 1, replicates=200, generator=generator))
    ranked = RankedScores(labels=labels, scores=scores)
    interval = Spread(confidence=0.95, units=users.max() + 1).interval(totals.estimate, totals.ratios(counts))
    return evaluated_day(
        ctcvr={
            "rows": labels.size,
            "positives": int(labels.sum()),
            "pcoc": Measured(value=totals.estimate),
            "pcoc_interval": interval,
            "ece": ranked.expected_calibration_error(),
            "ece_by_chance": ranked.chance_calibration_error(),
        }
    )


def test_a_right_model_is_rarely_turned_away_though_the_bound_on_the_estimate_would():
    few = verdicts(100, 1.0)
    assert few["hard"] >= 0.25
    assert few["fail"] <= 0.025
    assert few["insufficient"] <= 0.1
    assert few["bins"] <= 0.02


@pytest.mark.parametrize(("conversions", "days"), [(500, 100), (2000, 30)])
def test_on_more_conversions_a_right_model_always_passes(conversions, days):
    seen = verdicts(conversions, 1.0, days=days)
    assert seen["fail"] <= 0.02
    assert seen["insufficient"] == 0
    assert seen["bins"] <= 0.02


@pytest.mark.parametrize("factor", [1 / 1.3, 1.3])
def test_a_model_that_is_off_by_30_percent_is_caught_the_surer_the_more_conversions_there_are(factor):
    few, many, most = (verdicts(number, factor, days=days) for number, days in ((100, 100), (500, 60), (2000, 20)))
    assert few["fail"] + few["insufficient"] >= 0.5
    assert many["fail"] >= 0.75
    assert most["fail"] == 1
