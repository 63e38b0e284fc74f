"""A node's features are its newest row's."""

from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ml.data.encoded_day import EncodedDay
from ml.data.layout import FeatureColumn, FeatureLayout
from ml.graphs import nodes
from ml.graphs.nodes import node_features

LAYOUT = FeatureLayout(
    columns=(
        FeatureColumn(name="age", entity="user", kind="category", offset=0, size=3),
        FeatureColumn(name="item", entity="item", kind="id", offset=3, size=3),
        FeatureColumn(name="user", entity="user", kind="id", offset=6, size=5),
        FeatureColumn(name="city", entity="user", kind="category", offset=11, size=4),
    ),
    total_rows=15,
    user_key="user",
    item_key="item",
)


def encoded(rows: Sequence[tuple[int, ...]], columns: int = 4) -> EncodedDay:
    none = np.zeros(len(rows), dtype=np.uint8)
    return EncodedDay(
        features=np.array(rows, dtype=np.int32).reshape(len(rows), columns),
        sequences={},
        click=none,
        conversion=none,
        value=none.astype(np.float32),
        vocabulary_digest="vocabulary",
        samples_content_id="samples",
    )


def test_the_newest_row_of_the_newest_day_wins_and_the_unseen_keep_their_id() -> None:
    days = [encoded([(1, 4, 7, 12), (2, 4, 8, 13), (2, 5, 7, 14)]), encoded([(1, 5, 8, 11), (2, 5, 6, 14)])]
    # Users are rows 7..10 (6 is out-of-vocabulary, and no node); 9 and 10 occur nowhere.
    assert node_features(days, LAYOUT, "user").tolist() == [[2, 7, 14], [1, 8, 11], [0, 9, 11], [0, 10, 11]]
    assert node_features(days, LAYOUT, "item").tolist() == [[4], [5]]
    assert node_features([], LAYOUT, "user").dtype == np.int32


ROW = st.tuples(st.integers(0, 2), st.integers(3, 5), st.integers(6, 10), st.integers(11, 14))


@given(days=st.lists(st.lists(ROW, max_size=12), max_size=3), block=st.integers(1, 5))
def test_blocks_of_any_size_agree_with_a_plain_loop(days: list[list[tuple[int, ...]]], block: int) -> None:
    expected = {user: [0, user, 11] for user in range(7, 11)}
    for rows in days:
        for age, _, user, city in rows:
            if user in expected:
                expected[user] = [age, user, city]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(nodes, "_BLOCK_ROWS", block)
        found = node_features([encoded(rows) for rows in days], LAYOUT, "user")
    assert found.tolist() == list(expected.values())


def test_a_day_of_another_width_is_refused() -> None:
    with pytest.raises(ValueError, match="has 3 columns, the layout 4"):
        node_features([encoded([(1, 4, 7)], columns=3)], LAYOUT, "user")
