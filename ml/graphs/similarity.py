"""Cosine nearest neighbours of node representations, exactly and in bounded memory; normalising a graph is not here."""

from __future__ import annotations

from dataclasses import dataclass

import faiss
import numpy as np
import numpy.typing as npt

_QUERY_ROWS = 1 << 14
_WIDEST = 16
"""Ties at the k-th place are followed up to this many times k neighbours."""

Floats = npt.NDArray[np.float32]
Integers = npt.NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class Neighbours:
    """Per node its neighbours by falling cosine similarity, then rising id: ``ids`` int64 [N, k] (-1 where there are
    fewer than k) and ``similarities`` float32 [N, k] (0 there)."""

    ids: Integers
    similarities: Floats


def representations(table: Floats, node_features: npt.NDArray[np.int32]) -> Floats:
    """float32 [N, F·d]: each node's concatenated embeddings (MODELS.md, CSTWA 2).

    ``table`` float32 [total_rows, d], ``node_features`` int32 [N, F] of its rows. Raises ``ValueError`` for a row id
    outside the table.
    """
    if node_features.size and not 0 <= node_features.min() <= node_features.max() < len(table):
        raise ValueError(
            f"node features name rows {node_features.min()} to {node_features.max()}, the table has {len(table)}: "
            "take the table and the vocabulary of one pre-training"
        )
    nodes, fields = node_features.shape
    return np.ascontiguousarray(table[node_features].reshape(nodes, fields * table.shape[1]), dtype=np.float32)


def top_k(representations: Floats, *, k: int, include_self: bool) -> Neighbours:
    """The ``k`` nearest neighbours of every row of ``representations`` [N, D] by cosine similarity.

    Exact (faiss inner product on normalised rows). With ``include_self`` a row is its own nearest neighbour, first of
    the k, at similarity 1; without, it is none of them. A row of zeros has no neighbours and is none. Of equal
    similarities the lower id goes first, ties at the k-th place being followed up to 16·k neighbours: the answer is
    deterministic.
    Raises ``ValueError`` for k < 1 or numbers that are not finite.
    """
    if k < 1:
        raise ValueError(f"k is {k}, it must be at least 1")
    if not np.isfinite(representations).all():
        raise ValueError("representations hold NaN or infinity: look at the embedding table's training")
    nodes = len(representations)
    neighbours = Neighbours(
        ids=np.full((nodes, k), -1, dtype=np.int64), similarities=np.zeros((nodes, k), dtype=np.float32)
    )
    # float64: the squares of tiny embeddings underflow in float32, and their rows would pass for zeros.
    norms = np.sqrt(np.einsum("ij,ij->i", representations, representations, dtype=np.float64))
    known = np.flatnonzero(norms > 0)
    if len(known) == 0:
        return neighbours
    normalised = np.ascontiguousarray(representations[known] / norms[known, None], dtype=np.float32)
    index = faiss.IndexFlatIP(normalised.shape[1])
    index.add(normalised)  # pyright: ignore[reportCallIssue]
    for start in range(0, len(known), _QUERY_ROWS):
        own = np.arange(start, min(start + _QUERY_ROWS, len(known)))
        ids, similarities = _nearest(
            index, normalised[own], own, k=k, include_self=include_self, fetched=min(k + 2, index.ntotal)
        )
        real = np.isfinite(similarities)
        neighbours.ids[known[own], : ids.shape[1]] = np.where(real, known[ids], -1)
        neighbours.similarities[known[own], : ids.shape[1]] = np.where(real, similarities, np.float32(0))
    return neighbours


def _nearest(
    index: faiss.IndexFlatIP, queries: Floats, own: Integers, *, k: int, include_self: bool, fetched: int
) -> tuple[Integers, Floats]:
    """ids and similarities [Q, ≤ k] of the neighbours of the rows ``own`` of ``index``, whose vectors are ``queries``;
    similarity -inf marks the row itself where it is to be left out."""
    ids, similarities = _search(index, queries, own, fetched, include_self=include_self)
    kept_ids, kept_similarities = ids[:, :k].copy(), similarities[:, :k].copy()
    if fetched < min(index.ntotal, _WIDEST * k):
        # If the farthest one fetched is as near as the last one kept, a lower id may lie among those not fetched.
        farthest = np.where(np.isfinite(similarities), similarities, np.float32(np.inf)).min(axis=1)
        tied = np.flatnonzero(farthest == similarities[:, k - 1])
        if len(tied) > 0:
            kept_ids[tied], kept_similarities[tied] = _nearest(
                index,
                queries[tied],
                own[tied],
                k=k,
                include_self=include_self,
                fetched=min(2 * fetched, index.ntotal),
            )
    return kept_ids, kept_similarities


def _search(
    index: faiss.IndexFlatIP, queries: Floats, own: Integers, fetched: int, *, include_self: bool
) -> tuple[Integers, Floats]:
    similarities, ids = index.search(queries, fetched)  # pyright: ignore[reportCallIssue]
    itself = ids == own[:, None]
    if include_self:
        # Among enough equal rows a row may miss itself: it takes the farthest one's place.
        ids[~itself.any(axis=1), -1] = own[~itself.any(axis=1)]
        itself = ids == own[:, None]
    similarities[itself] = np.inf if include_self else -np.inf
    order = np.lexsort((ids, -similarities), axis=-1)
    ids = np.take_along_axis(ids, order, axis=1)
    similarities = np.take_along_axis(similarities, order, axis=1)
    if include_self:
        similarities[:, 0] = 1.0
    return ids, similarities
