"""Score distributions by class: against a loop over the rows, with ties and with one class alone."""

import numpy as np
import pandas as pd
import pytest

from ml.evaluation.judged_rows import JudgedRows
from ml.evaluation.score_histogram import score_histograms


def judged(scores, conversion, *, click=None):
    conversion = np.asarray(conversion, dtype=np.uint8)
    scores = np.asarray(scores, dtype=np.float64)
    return JudgedRows(
        impression_id=pd.Series(dtype=str),
        units=np.arange(scores.size),
        click=np.ones_like(conversion) if click is None else np.asarray(click, dtype=np.uint8),
        conversion=conversion,
        probabilities={"ctr": scores, "cvr": scores, "ctcvr": scores},
        position=np.arange(scores.size),
        values={},
    )


def slow_shares(scores, edges):
    """A row counts in the last range whose lower edge it reaches; what lies below all counts in the first."""
    counts = [0] * (len(edges) - 1)
    for score in scores:
        counts[max(0, sum(edge <= score for edge in edges[:-1]) - 1)] += 1
    return [count / len(scores) for count in counts]


@pytest.mark.parametrize("decimals", [2, 8], ids=["ties", "distinct"])
@pytest.mark.parametrize("task", ["cvr", "ctcvr"])
def test_shares_of_each_class_equal_a_loop(task, decimals):
    generator = np.random.default_rng(1)
    scores = np.round(generator.beta(1, 20, 3000), decimals)
    conversion = generator.random(3000) < scores
    click = conversion | (generator.random(3000) < 0.3)
    rows = judged(scores, conversion, click=click)
    found = score_histograms(rows, task, bins=12)
    chosen = rows.chosen(task)
    above = sorted(score for score in scores[chosen] if score > 0)
    expected = np.geomspace(above[len(above) // 1000], max(above), 13)
    assert found.edges == pytest.approx(expected)
    assert found.positives == pytest.approx(slow_shares(scores[chosen & conversion], found.edges))
    assert found.negatives == pytest.approx(slow_shares(scores[chosen & ~conversion], found.edges))
    assert (found.positives.sum(), found.negatives.sum()) == pytest.approx((1, 1))


def test_one_score_for_all_rows_lies_in_one_range():
    found = score_histograms(judged([0.2] * 4, [0, 1, 0, 1]), "ctcvr", bins=5)
    assert np.all(np.diff(found.edges) > 0)
    assert found.edges[0] < 0.2 < found.edges[-1]
    assert np.array_equal(found.positives, found.negatives)
    assert sorted(found.positives) == [0, 0, 0, 0, 1]


@pytest.mark.parametrize(
    ("scores", "conversion", "reason"),
    [
        ([], [], "0 rows"),
        ([0.1, np.nan], [0, 1], "1 of 2 predictions are not finite"),
        ([0.1, 0.2], [0, 0], "0 conversions in 2 rows"),
        ([0.1, 0.2], [1, 1], "all 2 rows are conversions"),
        ([0.0, 0.0], [0, 1], "none of 2 predictions is above 0"),
    ],
)
def test_what_has_no_distributions_says_why(scores, conversion, reason):
    assert reason in score_histograms(judged(scores, conversion), "ctcvr").reason


def test_a_day_without_clicks_has_no_distributions_of_cvr():
    rows = judged([0.1, 0.2], [0, 0], click=[0, 0])
    assert score_histograms(rows, "cvr").reason == "0 rows"
