"""Buckets of equal mass: against a loop over sorted values, with ties, absent values and few rows."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ml.evaluation import equal_mass
from ml.evaluation.equal_mass import equal_mass_buckets


def slow_codes(values, buckets):
    """Each finite value's bucket: the last one whose lower end it reaches; absent values come last."""
    known = sorted(value for value in values if np.isfinite(value))
    lowest = sorted({known[part * len(known) // buckets] for part in range(buckets)}) if known else []
    return [sum(low <= value for low in lowest) - 1 if np.isfinite(value) else len(lowest) for value in values]


@given(
    values=st.lists(st.sampled_from([0.0, 0.1, 0.5, 1.0, 2.5, 7.0, np.nan, np.inf, -np.inf]), max_size=40),
    buckets=st.integers(1, 6),
)
def test_buckets_are_those_of_a_loop(values, buckets):
    found = equal_mass_buckets(np.array(values, dtype=np.float64), buckets)
    assert found.codes.tolist() == slow_codes(values, buckets)
    # Every bucket has a row, so nothing is divided by 0.
    assert sorted(set(found.codes.tolist())) == list(range(len(found.names)))


def test_distinct_values_are_cut_in_equal_parts_whatever_their_order():
    values = np.random.default_rng(0).permutation(1000) / 7
    found = equal_mass_buckets(values, 10)
    assert np.bincount(found.codes).tolist() == [100] * 10
    assert found.names[0] == "0 to 14.29"
    assert found.names[-1] == "128.6 to 142.7"
    turned = equal_mass_buckets(values[::-1], 10)
    assert turned.names == found.names
    assert np.array_equal(turned.codes[::-1], found.codes)


def test_ties_are_never_split():
    values = np.array([1.0] * 70 + [2.0] * 20 + [3.0] * 10)
    found = equal_mass_buckets(values, 10)
    assert found.names == ("1 to 2", "2 to 3", "3")
    assert np.bincount(found.codes).tolist() == [70, 20, 10]


@pytest.mark.parametrize(
    ("values", "names"),
    [([], ()), ([np.nan], ("(missing)",)), ([4.0, 4.0], ("4",)), ([np.nan, 4.0], ("4", "(missing)"))],
)
def test_few_values_have_few_buckets(values, names):
    assert equal_mass_buckets(np.array(values, dtype=np.float64), 10).names == names


def test_the_size_of_a_block_changes_nothing(monkeypatch):
    values = np.random.default_rng(1).normal(size=100)
    whole = equal_mass_buckets(values, 4).codes
    monkeypatch.setattr(equal_mass, "_BLOCK", 7)
    assert np.array_equal(equal_mass_buckets(values, 4).codes, whole)


def test_the_values_themselves_are_left_as_they_are():
    values = np.array([3.0, 1.0, 2.0])
    equal_mass_buckets(values, 2)
    assert values.tolist() == [3.0, 1.0, 2.0]
