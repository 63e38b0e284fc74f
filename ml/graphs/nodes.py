"""What is known of each node of a similarity graph: its newest feature row ids; no embeddings and no similarity."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from ml.data.encoded_day import EncodedDay
from ml.data.layout import OUT_OF_VOCABULARY, FeatureLayout, Side

_BLOCK_ROWS = 1 << 20


def node_features(days: Sequence[EncodedDay], layout: FeatureLayout, side: Side) -> npt.NDArray[np.int32]:
    """int32 [N, F]: global row ids of the fields of ``side``, in ``layout.entity_columns(side)`` order, per node.

    Node i is the value with local id i + 1 of the side's key field; the out-of-vocabulary id is no node. ``days``
    come oldest first, and a node's newest row wins. A node that no row mentions keeps its own id in the key field
    and out-of-vocabulary in the others. Raises ``ValueError`` if a day's matrix does not fit ``layout``.
    """
    columns = np.array(layout.entity_columns(side))
    key = layout.node_column(side)
    first_node = layout.columns[key].offset + 1
    nodes = layout.node_count(side)
    features = np.empty((nodes, len(columns)), dtype=np.int32)
    features[:] = [layout.columns[column].offset + OUT_OF_VOCABULARY for column in columns]
    features[:, columns == key] = np.arange(first_node, first_node + nodes, dtype=np.int32)[:, None]
    for day in days:
        if day.features.shape[1] != len(layout.columns):
            raise ValueError(
                f"an encoded day has {day.features.shape[1]} columns, the layout {len(layout.columns)}: encode the day "
                "with the layout's vocabulary"
            )
        for start in range(0, day.rows, _BLOCK_ROWS):
            block = day.features[start : start + _BLOCK_ROWS]
            node, row = _newest(block[:, key] - first_node)
            features[node] = block[np.ix_(row, columns)]
    return features


def _newest(nodes: npt.NDArray[np.int32]) -> tuple[npt.NDArray[np.int32], npt.NDArray[np.int64]]:
    """Each node that occurs, and the last row that mentions it; the out-of-vocabulary id (-1) left out."""
    # Of equal values numpy.unique names the first: reversed, that is the newest.
    node, from_end = np.unique(nodes[::-1], return_index=True)
    row = len(nodes) - 1 - from_end
    known = node >= 0
    return node[known], row[known]
