"""The world has the shape that was asked for: shares, popularity, affinities, and roles that contradict."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ml.data.synthetic.config import SyntheticConfig
from ml.data.synthetic.world import BAIT, DAILY_NEED, create_world


def test_the_world_follows_from_the_seed_and_not_from_volume() -> None:
    world = create_world(SyntheticConfig(seed=3))
    again = create_world(SyntheticConfig(seed=3, impressions_per_day=7, chunk_rows=1_000))
    other = create_world(SyntheticConfig(seed=4))
    for side in ("users", "items"):
        for name, values in vars(getattr(world, side)).items():
            np.testing.assert_array_equal(values, getattr(getattr(again, side), name))
    assert not np.array_equal(world.users.cluster, other.users.cluster)


@given(
    seed=st.integers(0, 2**32),
    correlation=st.floats(-1, 1),
    clusters=st.tuples(st.integers(1, 9), st.integers(1, 9)),
)
@settings(max_examples=30, deadline=None)
def test_affinities_have_the_strength_and_correlation_asked_for(
    seed: int, correlation: float, clusters: tuple[int, int]
) -> None:
    config = SyntheticConfig(
        seed=seed,
        affinity_correlation=correlation,
        affinity_click=0.5,
        affinity_conversion=2.0,
        user_clusters=clusters[0],
        item_clusters=clusters[1],
    )
    world = create_world(config)
    click, conversion = world.click_affinity.ravel(), world.conversion_affinity.ravel()
    assert np.isfinite(click).all()
    assert np.isfinite(conversion).all()
    if len(click) > 2:
        assert click.std() == pytest.approx(0.5)
        assert conversion.std() == pytest.approx(2.0)
        assert np.corrcoef(click, conversion)[0, 1] == pytest.approx(correlation, abs=1e-6)


def test_popularity_is_zipf_and_told_by_no_id() -> None:
    config = SyntheticConfig(items=1_000, item_zipf=1.0)
    share = np.diff(create_world(config).items.popularity, prepend=0.0)
    ranked = np.sort(share)[::-1]
    np.testing.assert_allclose(ranked[0] / ranked, np.arange(1, 1_001), rtol=1e-6)
    assert abs(np.corrcoef(np.arange(1_000), share)[0, 1]) < 0.1


@pytest.mark.parametrize("seed", range(5))
def test_bait_and_daily_needs_have_their_share_of_the_impressions_and_contradict(seed: int) -> None:
    items = create_world(SyntheticConfig(seed=seed)).items
    share = np.diff(items.popularity, prepend=0.0)
    bait, need = items.role == BAIT, items.role == DAILY_NEED
    assert share[bait].sum() == pytest.approx(0.15, abs=0.05)
    assert share[need].sum() == pytest.approx(0.15, abs=0.05)
    assert items.click_effect[bait].mean() > 0.5 > -0.5 > items.click_effect[need].mean()
    assert items.conversion_effect[need].mean() > 0.5 > -0.5 > items.conversion_effect[bait].mean()


def test_fields_tell_of_the_cluster_as_far_as_asked_for() -> None:
    def told(signal: float) -> float:
        """How much better than at random the best guess of the cluster from the city is."""
        users = create_world(SyntheticConfig(users=20_000, field_signal=signal)).users
        pairs = np.zeros((users.city.max() + 1, users.cluster.max() + 1))
        np.add.at(pairs, (users.city, users.cluster), 1)
        return float(pairs.max(axis=1).sum() / pairs.sum() - pairs.sum(axis=0).max() / pairs.sum())

    assert told(0.0) < 0.05
    assert told(0.5) > 0.2
    assert told(1.0) > told(0.5)
