"""Neighbours against dense loops, ties and zero rows included."""

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ml.graphs import similarity
from ml.graphs.similarity import representations, top_k

Floats = npt.NDArray[np.float32]


def reference(vectors: Floats, k: int, include_self: bool) -> list[list[tuple[int, float]]]:
    """Each row's (neighbour, cosine), by falling cosine, itself first, then rising id."""
    rows = []
    for i, one in enumerate(vectors.astype(np.float64)):
        found = []
        for j, other in enumerate(vectors.astype(np.float64)):
            norm = np.linalg.norm(one) * np.linalg.norm(other)
            if norm > 0 and (include_self or i != j):
                found.append((i != j, -float(one @ other) / norm, j))
        ranked = sorted((-2.0 if not is_other else negative, j) for is_other, negative, j in found)
        rows.append([(j, 1.0 if negative == -2.0 else -negative) for negative, j in ranked[:k]])
    return rows


def assert_same(vectors: Floats, k: int, include_self: bool) -> None:
    found = top_k(vectors, k=k, include_self=include_self)
    assert found.ids.shape == found.similarities.shape == (len(vectors), k)
    for i, expected in enumerate(reference(vectors, k, include_self)):
        padding = k - len(expected)
        assert found.ids[i].tolist() == [j for j, _ in expected] + [-1] * padding
        np.testing.assert_allclose(found.similarities[i], [s for _, s in expected] + [0.0] * padding, atol=2e-6)


@pytest.mark.parametrize("include_self", [True, False])
@pytest.mark.parametrize(("nodes", "k"), [(60, 8), (60, 1), (5, 8), (1, 3), (2, 1)])
def test_random_vectors_with_negative_similarities(nodes: int, k: int, include_self: bool) -> None:
    assert_same(np.random.default_rng(nodes).normal(size=(nodes, 7)).astype(np.float32), k, include_self)


# Axes and their opposites have cosines of exactly -1, 0 and 1: every row is full of ties.
# From k = 2 on, ties are followed up to 32 neighbours: all of these rows.
AXIS = st.sampled_from([[1, 0, 0], [0, 2, 0], [0, 0, 4], [-1, 0, 0], [0, -8, 0], [0, 0, 0]])


@settings(deadline=None)
@given(rows=st.lists(AXIS, min_size=1, max_size=30), k=st.integers(2, 6), include_self=st.booleans())
def test_ties_go_to_the_lower_id_and_zero_rows_have_no_neighbours(
    rows: list[list[int]], k: int, include_self: bool
) -> None:
    assert_same(np.array(rows, dtype=np.float32), k, include_self)


@pytest.mark.parametrize("include_self", [True, False])
def test_more_equal_rows_than_ties_are_followed_still_give_k_neighbours_and_oneself(include_self: bool) -> None:
    vectors = np.ones((200, 4), dtype=np.float32)
    found = top_k(vectors, k=2, include_self=include_self)
    np.testing.assert_allclose(found.similarities, 1.0, atol=1e-6)
    own = np.arange(200)[:, None]
    assert ((found.ids == own).sum(axis=1) == int(include_self)).all()
    assert (found.ids >= 0).all()
    assert (found.ids[:, 0] != found.ids[:, 1]).all()


def test_query_blocks_change_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    vectors = np.random.default_rng(0).integers(-2, 3, size=(80, 3)).astype(np.float32)
    whole = top_k(vectors, k=4, include_self=True)
    monkeypatch.setattr(similarity, "_QUERY_ROWS", 33)
    pieces = top_k(vectors, k=4, include_self=True)
    np.testing.assert_allclose(whole.similarities, pieces.similarities, atol=2e-6)
    again = top_k(vectors, k=4, include_self=True)
    assert pieces.ids.tolist() == again.ids.tolist()
    assert pieces.similarities.tobytes() == again.similarities.tobytes()


def test_tiny_vectors_are_no_zeros() -> None:
    found = top_k(np.array([[1e-30, 0], [2e-30, 0], [0, 0]], dtype=np.float32), k=1, include_self=False)
    assert found.ids.tolist() == [[1], [0], [-1]]


@pytest.mark.parametrize(("value", "k", "message"), [(np.nan, 1, "NaN"), (np.inf, 1, "NaN"), (1.0, 0, "k is 0")])
def test_numbers_that_are_none_are_refused(value: float, k: int, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        top_k(np.full((2, 2), value, dtype=np.float32), k=k, include_self=True)


def test_representations_concatenate_the_embeddings_of_a_nodes_fields() -> None:
    table = np.arange(10, dtype=np.float32).reshape(5, 2)
    found = representations(table, np.array([[0, 4], [3, 3]], dtype=np.int32))
    assert found.tolist() == [[0, 1, 8, 9], [6, 7, 6, 7]]
    assert representations(table, np.empty((0, 3), dtype=np.int32)).shape == (0, 6)
    with pytest.raises(ValueError, match="rows 1 to 5, the table has 5"):
        representations(table, np.array([[1, 5]], dtype=np.int32))
