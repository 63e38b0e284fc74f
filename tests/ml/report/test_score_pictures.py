"""Score distributions: both classes' shares over one logarithmic axis, or why there are none."""

import numpy as np
import pytest

from ml.evaluation.score_histogram import score_histograms
from ml.report.score_pictures import draw_scores, scores
from tests.ml.report.drawn import blank_axes, made_up_rows, words_on


def test_both_classes_are_drawn_as_they_were_counted():
    rows, axes = made_up_rows(), blank_axes()
    histogram = score_histograms(rows, "ctcvr")
    scores(axes, histogram, task="ctcvr")
    drawn = {patch.get_label(): patch.get_data() for patch in axes.patches if patch.get_label()}
    assert set(drawn) == {"conversions", "all others"}
    np.testing.assert_array_equal(drawn["conversions"].values, histogram.positives)
    np.testing.assert_array_equal(drawn["all others"].values, histogram.negatives)
    np.testing.assert_array_equal(drawn["conversions"].edges, histogram.edges)
    assert axes.get_xscale() == "log"
    assert axes.get_xlim() == (pytest.approx(histogram.edges[0]), pytest.approx(histogram.edges[-1]))


@pytest.mark.parametrize(
    ("rows", "task", "reason"),
    [
        (made_up_rows(clicks=0), "ctr", "0 clicks in 4,000 rows"),
        (made_up_rows(clicks=1), "ctr", "all 4,000 rows are clicks"),
        (made_up_rows(clicks=0), "cvr", "0 rows"),
        (made_up_rows(0), "ctcvr", "0 rows"),
    ],
)
def test_what_cannot_be_counted_says_why(rows, task, reason):
    axes = blank_axes()
    scores(axes, score_histograms(rows, task), task=task)
    assert reason in words_on(axes).replace("\n", " ")
    assert not axes.patches


def test_one_prediction_for_all_rows_is_drawn():
    rows, axes = made_up_rows(), blank_axes()
    rows.probabilities["ctr"][:] = 0.2
    scores(axes, score_histograms(rows, "ctr"), task="ctr")
    assert axes.get_xlim()[0] < 0.2 < axes.get_xlim()[1]


def test_there_is_a_picture_a_task():
    pictures = draw_scores(made_up_rows(300))
    assert [picture.name for picture in pictures] == ["scores_ctr", "scores_cvr", "scores_ctcvr"]
    assert {picture.section for picture in pictures} == {"scores"}
