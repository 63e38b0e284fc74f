"""Draws the embeddings of users and of items in the space of CTR and in that of CVR; clustering is the inspection's."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.patches import PathPatch
from matplotlib.path import Path as Outline

from ml.evaluation.measurement import FloatArray, Measured, Measurement, NotMeasurable
from ml.inspection.record import ClusteredPoint, EmbeddingClusters, EmbeddingSpace
from ml.report.picture import PALETTE, Picture, distinct_names, draw_panels, say

MOST_POINTS = 600
# Shapes as strokes from a point, in shares of the axes: with the colours they tell 28 clusters apart.
_SIZE = 0.011
_SHAPES = (
    np.array([[-0.05, 0], [0.05, 0]]),
    np.array([[-1, 0], [1, 0], [0, -1], [0, 1]]),
    np.array([[-0.8, -0.8], [0.8, 0.8], [-0.8, 0.8], [0.8, -0.8]]),
    np.array([[-0.9, -0.7], [0.9, -0.7], [0.9, -0.7], [0, 0.9], [0, 0.9], [-0.9, -0.7]]),
)
_WIDTHS = (3.2, 0.9, 0.9, 0.9)


def draw_embeddings(clusters: Sequence[EmbeddingClusters]) -> list[Picture]:
    """A picture a side, its spaces side by side, both coloured by the clusters of the first, which is CTR's."""
    names = distinct_names("embeddings", (f"{one.side} {one.field}" for one in clusters))
    return [
        draw_panels(
            names[f"{one.side} {one.field}"],
            f"Embeddings of {one.side}s ({one.field})",
            _caption(one),
            lambda panels, one=one: _draw_spaces(panels, one),
            columns=max(1, len(one.spaces)),
            section="embeddings",
            height=2.7,
        )
        for one in clusters
    ]


def coloured(space: EmbeddingSpace, first: EmbeddingSpace) -> list[tuple[int, FloatArray]]:
    """The drawn points [n, 2] of each cluster of `first`, at most MOST_POINTS in all, scaled into [0, 1]."""
    same_values = len(space.points) == len(first.points)
    clusters = np.array([point.cluster for point in (first if same_values else space).points], dtype=np.int64)
    drawn = min(MOST_POINTS, clusters.size)
    chosen = np.arange(drawn) * clusters.size // max(drawn, 1)
    clusters, places = clusters[chosen], _scaled(space.points)[chosen]
    return [(int(cluster), places[clusters == cluster]) for cluster in np.unique(clusters)]


def _draw_spaces(panels: Sequence[Axes], one: EmbeddingClusters) -> None:
    if not one.spaces:
        say(panels[0], one.note or "No embeddings to show")
    for axes, space in zip(panels, one.spaces, strict=False):
        if not space.points:
            say(axes, one.note or "No point to show")
            continue
        for cluster, places in coloured(space, one.spaces[0]):
            _scatter(axes, cluster, places)
        axes.set(xlim=(-0.03, 1.03), ylim=(-0.03, 1.03), xticks=[], yticks=[], aspect="equal")
        axes.grid(visible=False)
        axes.spines[:].set_visible(False)
        axes.set_title(space.space.upper(), fontsize=10)
        axes.set_xlabel(f"silhouette {_digits(space.silhouette)}", fontsize=9)


def _scatter(axes: Axes, cluster: int, places: FloatArray) -> None:
    """One path for all points of a cluster: an element a point would be four times the bytes."""
    shape = (cluster // len(PALETTE)) % len(_SHAPES)
    strokes = _SHAPES[shape] * _SIZE
    vertices = (places[:, None, :] + strokes[None]).reshape(-1, 2)
    codes = np.tile([Outline.MOVETO, Outline.LINETO], len(vertices) // 2)
    axes.add_patch(
        PathPatch(
            Outline(vertices, codes),
            fill=False,
            edgecolor=PALETTE[cluster % len(PALETTE)],
            linewidth=_WIDTHS[shape],
            capstyle="round",
        )
    )


def _scaled(points: Sequence[ClusteredPoint]) -> FloatArray:
    """Into the unit square, one scale for both dimensions so that distances stay true."""
    places = np.array([(point.x, point.y) for point in points], dtype=np.float64)
    low, high = places.min(axis=0), places.max(axis=0)
    extent = float((high - low).max()) or 1.0
    return (places - (low + high) / 2) / extent + 0.5


def _caption(one: EmbeddingClusters) -> str:
    if one.note and not one.spaces:
        return one.note
    drawn = min(MOST_POINTS, one.values)
    words = (
        f"Coloured by the {one.clusters} clusters of the CTR space: the more they mix in the other, the less the two "
    )
    words += f"spaces have in common (adjusted mutual information {_digits(one.mutual_information)}). "
    words += f"{drawn:,} of {one.values:,} values; " if drawn < one.values else f"{one.values:,} values; "
    shares = ", ".join(
        f"{space.space.upper()} {100 * space.explained.value:.0f} %"
        for space in one.spaces
        if isinstance(space.explained, Measured)
    )
    words += f"the two dimensions hold {shares} of the variance." if shares else "two dimensions of the embeddings."
    reasons = [
        f" {space.space.upper()}: {space.silhouette.reason}."
        for space in one.spaces
        if isinstance(space.silhouette, NotMeasurable)
    ]
    return words + "".join(reasons) + (f" {one.note}" if one.note else "")


def _digits(answer: Measurement) -> str:
    return f"{answer.value:.2f}" if isinstance(answer, Measured) else "not measurable"
