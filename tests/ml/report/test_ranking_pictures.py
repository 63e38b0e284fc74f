"""ROC and precision by recall: the curves drawn are the scores', the areas the evaluation's."""

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from ml.evaluation.evaluated_day import TASKS
from ml.report.ranking_pictures import draw_ranking, precision_recall, roc
from tests.ml.report.drawn import blank_axes, curves_of, line, made_up_rows, words_on


def day(rows):
    return {task: curves_of(rows, task) for task in TASKS}


def test_the_area_below_the_drawn_roc_is_the_auc_in_the_legend():
    rows, axes = made_up_rows(), blank_axes()
    roc(axes, day(rows), None)
    expected = roc_auc_score(rows.click, rows.probabilities["ctr"])
    false_rate, true_rate = line(axes, f"CTR {expected:.3f}")
    assert np.trapezoid(true_rate, false_rate) == pytest.approx(expected, abs=0.005)


def test_the_champion_is_dashed_in_the_tasks_colour_and_told_in_the_legend():
    axes = blank_axes()
    roc(axes, day(made_up_rows()), day(made_up_rows(seed=6)))
    dashed = [one for one in axes.get_lines() if one.get_linestyle() == "--"]
    solid = [one for one in axes.get_lines() if str(one.get_label()).startswith(("CTR", "CVR", "CTCVR"))]
    assert [one.get_color() for one in dashed] == [one.get_color() for one in solid]
    assert words_on(axes).count(", champion 0.") == 3


def test_a_task_that_cannot_be_measured_is_said_in_the_legend():
    axes = blank_axes()
    roc(axes, day(made_up_rows(conversions=0)), None)
    assert "CVR not measurable" in words_on(axes)
    assert "CTCVR not measurable" in words_on(axes)
    assert words_on(axes).count("not measurable") == 2


def test_where_nothing_can_be_measured_the_reasons_stand_alone():
    axes = blank_axes()
    roc(axes, day(made_up_rows(clicks=0)), None)
    assert not axes.get_lines()
    assert not axes.axison
    for reason in ("CTR: 0 clicks in 4,000 rows", "CVR: 0 rows", "CTCVR: 0 conversions in 4,000 rows"):
        assert reason in words_on(axes)


def test_precision_begins_above_the_base_rate_and_ends_at_it():
    rows, axes = made_up_rows(), blank_axes()
    precision_recall(axes, curves_of(rows, "ctr"), None)
    curves = curves_of(rows, "ctr")
    recall, precision = line(axes, f"challenger, PR-AUC {curves.metrics.pr_auc.value:.3f}")
    rate = rows.click.mean()
    assert recall[-1] == 1
    assert precision[-1] == pytest.approx(rate, rel=0.02)
    _, base = line(axes, f"base rate {100 * rate:.3g} %")
    assert base == [pytest.approx(rate)] * 2
    assert axes.get_yscale() == "linear"


def test_rare_positives_are_drawn_on_a_logarithmic_axis_that_holds_all_of_them():
    axes = blank_axes()
    curves = curves_of(made_up_rows(base_logit=-3), "ctr")
    precision_recall(axes, curves, None)
    assert axes.get_yscale() == "log"
    low, high = axes.get_ylim()
    assert low < curves.metrics.positives / curves.metrics.rows
    assert high >= min(1, float(np.max(curves.precision_recall[1])))


def test_the_champions_precision_is_drawn_grey_where_it_can_be():
    axes = blank_axes()
    precision_recall(axes, curves_of(made_up_rows(), "cvr"), curves_of(made_up_rows(seed=6), "cvr"))
    assert "champion, PR-AUC 0." in words_on(axes)
    axes = blank_axes()
    precision_recall(axes, curves_of(made_up_rows(), "cvr"), curves_of(made_up_rows(clicks=0), "cvr"))
    assert "champion" not in words_on(axes)


@pytest.mark.parametrize(
    ("rows", "reason"), [(made_up_rows(clicks=0), "0 clicks in 4,000 rows"), (made_up_rows(0), "0 rows")]
)
def test_precision_that_cannot_be_measured_says_why(rows, reason):
    axes = blank_axes()
    precision_recall(axes, curves_of(rows, "ctr"), None)
    assert reason in words_on(axes)
    assert not axes.get_lines()


def test_the_pictures_say_how_to_read_them():
    pictures = draw_ranking(day(made_up_rows(500)), None)
    assert [picture.name for picture in pictures] == ["roc", *(f"precision_recall_{task}" for task in TASKS)]
    assert {picture.section for picture in pictures} == {"ranking"}
    assert not any("champion" in picture.caption for picture in pictures)
