"""Reliability and bias: the points drawn are the bins' and the buckets', before and after calibration."""

import numpy as np
import pytest

from ml.data.policy import GateSpec
from ml.evaluation.calibration_effect import BeforeAfter, BucketBias, CalibrationEffect
from ml.evaluation.measurement import UNKNOWN, Measured, NotMeasurable
from ml.report.calibration_pictures import biases, draw_biases, draw_reliability, reliability
from tests.ml.report.drawn import blank_axes, curves_of, line, made_up_rows, words_on

GATE = GateSpec(pcoc_low=0.9, pcoc_high=1.1)
NONE = NotMeasurable(reason="0 conversions in 300 rows")


def bucket(name, before, after, by="score"):
    found = [NONE if value is None else Measured(value=value) for value in (before, after)]
    return BucketBias(
        by=by, bucket=name, rows=300, positives=30, observed=Measured(value=0.1), before=found[0], after=found[1]
    )


def effect(*buckets):
    both = BeforeAfter(before=UNKNOWN, after=UNKNOWN)
    return CalibrationEffect(task="cvr", rows=900, positives=90, log_loss=both, pcoc=both, ece=both, buckets=buckets)


def test_the_bins_are_drawn_where_they_lie():
    axes, curves = blank_axes(), curves_of(made_up_rows(), "cvr")
    reliability(axes, curves, None)
    for label, bins in (("challenger", curves.bins), ("before calibration", curves.uncalibrated)):
        predicted, observed = line(axes, label)
        shown = [part for part in bins if part.observed > 0]
        assert predicted == [part.predicted for part in shown]
        assert observed == [part.observed for part in shown]
    assert np.mean(line(axes, "before calibration")[0]) > np.mean(line(axes, "challenger")[0]) + 0.1


def test_before_calibration_is_hollow_and_the_champion_grey():
    axes = blank_axes()
    reliability(axes, curves_of(made_up_rows(), "cvr"), curves_of(made_up_rows(seed=6), "cvr"))
    lines = {one.get_label(): one for one in axes.get_lines()}
    assert lines["before calibration"].get_markerfacecolor() == "none"
    assert lines["challenger"].get_markerfacecolor() == lines["challenger"].get_color()
    assert lines["champion"].get_color() not in {lines["challenger"].get_color(), "none"}


def test_ctr_is_never_calibrated_and_has_no_hollow_points():
    axes = blank_axes()
    reliability(axes, curves_of(made_up_rows(), "ctr"), None)
    assert "before calibration" not in words_on(axes)


@pytest.mark.parametrize(("lowest", "scale"), [(0.2, "linear"), (0.01, "log")])
def test_skewed_predictions_are_drawn_on_logarithmic_axes(lowest, scale):
    rows, axes = made_up_rows(uncalibrated=False), blank_axes()
    rows.probabilities["ctr"][:] = np.geomspace(lowest, 0.9, 4000)
    reliability(axes, curves_of(rows, "ctr"), None)
    assert (axes.get_xscale(), axes.get_yscale()) == (scale, scale)
    assert axes.get_xlim() == axes.get_ylim()


def test_a_bin_without_a_positive_lies_on_the_edge_of_logarithmic_axes():
    rows, axes = made_up_rows(20_000, base_logit=-3, uncalibrated=False), blank_axes()
    curves = curves_of(rows, "ctcvr")
    empty = [part for part in curves.bins if part.observed == 0]
    assert empty
    reliability(axes, curves, None)
    low = axes.get_ylim()[0]
    edge = next(one for one in axes.get_lines() if one.get_marker() == "v")
    assert edge.get_xdata().tolist() == [part.predicted for part in empty]
    assert set(edge.get_ydata()) == {low}
    caption = draw_reliability(dict.fromkeys(("ctr", "cvr", "ctcvr"), curves), None)[0].caption
    assert "▽: no positive in the bin" in caption


def test_one_class_and_no_rows_are_drawn_or_said():
    axes = blank_axes()
    reliability(axes, curves_of(made_up_rows(clicks=0), "ctr"), None)
    assert axes.axison
    assert set(next(one for one in axes.get_lines() if one.get_marker() == "v").get_ydata()) == {axes.get_ylim()[0]}
    for rows, task, reason in ((made_up_rows(clicks=0), "cvr", "0 rows"), (made_up_rows(0), "ctr", "0 rows")):
        axes = blank_axes()
        reliability(axes, curves_of(rows, task), None)
        assert reason in words_on(axes)
        assert not axes.get_lines()


def test_all_predictions_of_0_are_drawn():
    rows = made_up_rows(clicks=0)
    rows.probabilities["ctr"][:] = 0
    axes = blank_axes()
    reliability(axes, curves_of(rows, "ctr"), None)
    assert axes.get_xlim()[1] > 0


def test_a_bucket_is_a_row_from_hollow_to_filled():
    axes = blank_axes()
    biases(axes, [bucket("0 to 0.1", 2.0, 1.05), bucket("0.1 to 1", 0.5, 0.95)], task="cvr", gate=GATE)
    rows = [
        (one.get_xdata()[0], one.get_ydata()[0], one.get_markerfacecolor() == "none")
        for one in axes.get_lines()
        if one.get_marker() == "o" and len(one.get_xdata()) == 1
    ]
    assert rows == [(2.0, 0, True), (1.05, 0, False), (0.5, 1, True), (0.95, 1, False)]
    top, bottom = axes.get_ylim()[1], axes.get_ylim()[0]
    assert top < 0 < 1 < bottom  # ascending from the top
    assert axes.get_xscale() == "log"
    assert "0 to 0.1" in words_on(axes)


def test_the_gates_band_and_the_line_at_1_are_there():
    axes = blank_axes()
    biases(axes, [bucket("all", 1.01, 1.0)], task="cvr", gate=GATE)
    band = axes.patches[0].get_extents().transformed(axes.transData.inverted())
    assert (band.x0, band.x1) == (pytest.approx(0.9), pytest.approx(1.1))
    assert any(list(one.get_xdata()) == [1, 1] for one in axes.get_lines())
    low, high = axes.get_xlim()
    assert low < 0.9 < 1.1 < high


def test_a_bucket_that_cannot_be_measured_says_why_and_one_far_off_lies_on_the_edge():
    axes = blank_axes()
    biases(axes, [bucket("a", None, None), bucket("b", 40.0, 0.0), bucket("c", 0.01, 1.0)], task="cvr", gate=GATE)
    assert "0 conversions in 300 rows" in words_on(axes)
    low, high = axes.get_xlim()
    assert high == pytest.approx(8)
    edges = {
        (one.get_marker(), one.get_ydata()[0]): one.get_xdata()[0]
        for one in axes.get_lines()
        if len(one.get_xdata()) == 1
    }
    assert edges[(">", 1)] == pytest.approx(high)
    assert edges[("<", 1)] == edges[("<", 2)] == pytest.approx(low)


def test_no_bucket_that_can_be_measured_is_said():
    axes = blank_axes()
    biases(axes, [bucket("a", None, None)], task="cvr", gate=GATE)
    assert "Not measurable:\n0 conversions in 300 rows" in words_on(axes)
    assert not axes.get_lines()


def test_there_is_a_picture_for_each_field_of_each_task():
    pictures = draw_biases([effect(bucket("a", 1, 1), bucket("b", 1, 1, by="item price"))], gate=GATE)
    assert [(one.name, one.title) for one in pictures] == [
        ("bias_cvr_score", "CVR bias by score"),
        ("bias_cvr_item_price", "CVR bias by item price"),
    ]
    assert draw_biases([], gate=GATE) == []
