"""Marks of logarithmic axes are round and few, and the interval of a share is Wilson's."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ml.report.share_axes import chance_interval, log_marks, log_shares, percent
from tests.ml.report.drawn import blank_axes


def test_marks_are_round_numbers_within_the_axis():
    assert log_marks(0.000009, 0.6, 6) == [0.00001, 0.0001, 0.001, 0.01, 0.1]
    assert log_marks(0.011, 0.31, 6) == [0.02, 0.05, 0.1, 0.2]
    assert log_marks(0.0031, 0.61, 6) == [0.01, 0.03, 0.1, 0.3]


def test_an_axis_too_short_for_two_round_numbers_is_marked_at_its_ends():
    assert log_marks(0.101, 0.11, 6) == [0.101, 0.11]


@given(st.floats(1e-12, 0.9), st.floats(1.001, 1e9))
def test_there_are_between_two_marks_and_the_most(low, factor):
    marks = log_marks(low, low * factor, 6)
    assert 2 <= len(marks) <= 6
    assert all(low <= mark <= low * factor for mark in marks)


def test_ticks_are_percent():
    axes = blank_axes()
    axes.set(xscale="log", xlim=(0.00009, 0.6))
    log_shares(axes.xaxis, low=0.00009, high=0.6)
    assert [label.get_text() for label in axes.get_xticklabels()] == ["0.01 %", "0.1 %", "1 %", "10 %"]
    assert percent(0.12345) == "12.3 %"


def test_the_interval_is_wilsons():
    share, rows, z = 0.1, 50, 1.96
    below, above = chance_interval(np.array([share, 0.0, 1.0]), [rows, 20, 20])
    # The bounds are the shares p at which the observed share lies z standard errors away.
    for bound in (below[0], above[0]):
        assert abs(share - bound) == pytest.approx(z * np.sqrt(bound * (1 - bound) / rows))
    assert below[1] == 0
    assert above[1] == pytest.approx(z**2 / (20 + z**2))
    assert above[2] == pytest.approx(1)
    assert below[2] == pytest.approx(20 / (20 + z**2))
