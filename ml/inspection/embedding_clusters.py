"""How the embeddings of the same values fall into clusters in two spaces, and where they lie; knows no model."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt
from sklearn.cluster import KMeans
from sklearn.decomposition import PCA
from sklearn.metrics import adjusted_mutual_info_score, silhouette_score
from threadpoolctl import threadpool_limits

from ml.data.layout import Side
from ml.evaluation.measurement import FloatArray, Measured, Measurement, NotMeasurable
from ml.inspection.record import ClusteredPoint, EmbeddingClusters, EmbeddingSpace

Space = Literal["ctr", "cvr"]
SPACES: tuple[Space, ...] = ("ctr", "cvr")
VALUES_PER_CLUSTER = 3
_STARTS = 10
"""Of k-means; the best of them is kept."""
_DECIMALS = 6
"""Of directions: vectors that differ by less are the same one, float32 could not tell them apart."""
_DRAWN_DECIMALS = 4


@dataclass(frozen=True, eq=False)
class Vectors:
    """One space's embeddings of the values, [values, d], and in words which table they are rows of."""

    table: str
    values: npt.NDArray[np.floating]


@dataclass(frozen=True, eq=False)
class _Clustering:
    """``labels`` int [values], 0 the largest cluster; ``found``: how many clusters there are."""

    directions: FloatArray
    labels: npt.NDArray[np.int64]
    found: int


def cluster_embeddings(
    spaces: Mapping[Space, Vectors], *, side: Side, field: str, clusters: int, seed: int
) -> EmbeddingClusters | None:
    """Clusters each space of the same values (rows of the two in one order) by itself; None below 6 values.

    k-means runs on directions, vectors of length 1: an embedding's length tells mostly how often its value was
    trained, its direction what it was trained to. There are at most a third as many clusters as values. Silhouette
    is Rousseeuw's (1987), the mutual information is adjusted for chance (Vinh et al. 2010), the picture is the first
    two principal components. On one thread: sums over threads would come in an order of their own.
    Raises ``ValueError`` for vectors that are not finite.
    """
    count = len(spaces["ctr"].values)
    asked, clusters = clusters, min(clusters, count // VALUES_PER_CLUSTER)
    if clusters < 2:
        return None
    with threadpool_limits(limits=1):
        clustered: dict[Space, _Clustering] = {
            space: _cluster(spaces[space].values, clusters, seed) for space in SPACES
        }
        return EmbeddingClusters(
            side=side,
            field=field,
            values=count,
            clusters=clusters,
            mutual_information=_mutual_information(clustered),
            spaces=tuple(
                _space(space, spaces[space].table, clustered[space], clustered["ctr"].labels) for space in SPACES
            ),
            note="" if clusters == asked else f"{count} values allow {clusters} clusters, not {asked}",
        )


def _cluster(values: npt.NDArray[np.floating], clusters: int, seed: int) -> _Clustering:
    directions = _directions(values)
    different = len(np.unique(np.round(directions, _DECIMALS), axis=0))
    found = min(clusters, different)
    if found < 2:
        return _Clustering(directions, np.zeros(len(directions), dtype=np.int64), 1)
    # scikit-learn annotates the default alone, "auto"; it takes at most 32 bits of a seed.
    means = KMeans(n_clusters=found, n_init=_STARTS, random_state=seed % 2**32)  # pyright: ignore[reportArgumentType]
    labels = _largest_first(means.fit_predict(directions).astype(np.int64))
    return _Clustering(directions, labels, int(labels.max()) + 1)


def _directions(values: npt.NDArray[np.floating]) -> FloatArray:
    """Vectors of length 1, float64; one of length 0 stays as it is. Scaled first, so that no square underflows."""
    wide = np.asarray(values, dtype=np.float64)
    if not np.isfinite(wide).all():
        raise ValueError(
            f"{int((~np.isfinite(wide)).sum()):,} of {wide.size:,} values of the embeddings are not finite"
        )
    largest = np.abs(wide).max(axis=1, keepdims=True, initial=0.0)
    scaled = wide / np.where(largest > 0, largest, 1.0)
    length = np.linalg.norm(scaled, axis=1, keepdims=True)
    return scaled / np.where(length > 0, length, 1.0)


def _largest_first(labels: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
    """The clusters numbered by falling size, at equal size by the first value in them: a name that means something."""
    found, first, sizes = np.unique(labels, return_index=True, return_counts=True)
    number = np.empty(int(found.max()) + 1, dtype=np.int64)
    number[found[np.lexsort((first, -sizes))]] = np.arange(len(found))
    return number[labels]


def _mutual_information(clustered: Mapping[Space, _Clustering]) -> Measurement:
    for space, clustering in clustered.items():
        if clustering.found < 2:
            return NotMeasurable(reason=f"all vectors of the {space.upper()} space are equal")
    return Measured(value=float(adjusted_mutual_info_score(*(clustered[space].labels for space in SPACES))))


def _space(space: Space, table: str, clustering: _Clustering, colours: npt.NDArray[np.int64]) -> EmbeddingSpace:
    if clustering.found < 2:
        silhouette: Measurement = NotMeasurable(reason="all vectors are equal")
        explained: Measurement = silhouette
        places = np.zeros((len(colours), 2))
    else:
        silhouette = Measured(value=float(silhouette_score(clustering.directions, clustering.labels)))
        places, share = _two_dimensions(clustering.directions)
        explained = Measured(value=share)
    return EmbeddingSpace(
        space=space,
        table=table,
        silhouette=silhouette,
        explained=explained,
        points=tuple(
            ClusteredPoint(x=x, y=y, cluster=colour)
            for (x, y), colour in zip(places.tolist(), colours.tolist(), strict=True)
        ),
    )


def _two_dimensions(directions: FloatArray) -> tuple[FloatArray, float]:
    """The first two principal components [values, 2], the second 0 in one dimension, and their share of variance."""
    components = min(2, directions.shape[1])
    analysis = PCA(n_components=components, svd_solver="full")
    places = np.zeros((len(directions), 2))
    places[:, :components] = analysis.fit_transform(directions)
    # Adding 0 makes no difference but to −0.
    return np.round(places, _DRAWN_DECIMALS) + 0.0, min(1.0, float(analysis.explained_variance_ratio_.sum()))
