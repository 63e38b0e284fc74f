"""Clusters of embeddings against slow formulas: what is planted is found, and what is degenerate is said to be so."""

from __future__ import annotations

import math
from collections import Counter
from typing import cast

import numpy as np
import numpy.typing as npt
import pytest

from ml.evaluation.measurement import Measured, Measurement, NotMeasurable
from ml.inspection.embedding_clusters import Vectors, cluster_embeddings
from ml.inspection.record import EmbeddingClusters

Array = npt.NDArray[np.floating]


def _clusters(ctr: Array, cvr: Array, *, clusters: int = 3, seed: int = 0) -> EmbeddingClusters:
    spaces = {"ctr": Vectors("the first", ctr), "cvr": Vectors("the second", cvr)}
    found = cluster_embeddings(spaces, side="item", field="item", clusters=clusters, seed=seed)  # type: ignore[arg-type]
    return cast(EmbeddingClusters, found)


def _value(measurement: Measurement) -> float:
    assert isinstance(measurement, Measured)
    return measurement.value


def _planted(seed: int, *, noise: float = 0.05) -> tuple[Array, list[int]]:
    """90 vectors in 5 dimensions around three directions, 40, 30 and 20 of them, of all lengths."""
    random = np.random.default_rng(seed)
    labels = random.permutation([0] * 40 + [1] * 30 + [2] * 20)
    centres = np.linalg.qr(random.normal(size=(5, 5)))[0][:3]
    vectors = (centres[labels] + noise * random.normal(size=(90, 5))) * random.lognormal(0, 2, (90, 1))
    return vectors, labels.tolist()


def _slow_silhouette(vectors: Array, labels: list[int]) -> float:
    directions = [vector / math.sqrt(sum(x * x for x in vector)) for vector in vectors]
    answers = []
    for i, label in enumerate(labels):
        by_cluster: dict[int, list[float]] = {}
        for j, other in enumerate(labels):
            if j != i:
                by_cluster.setdefault(other, []).append(math.dist(directions[i], directions[j]))
        within = np.mean(by_cluster[label])
        nearest = min(np.mean(far) for other, far in by_cluster.items() if other != label)
        answers.append((nearest - within) / max(nearest, within))
    return float(np.mean(answers))


def _slow_adjusted_information(one: list[int], two: list[int]) -> float:
    """Vinh et al. 2010: (I − E I) / (mean of the entropies − E I), E I over the hypergeometric tables."""
    n, a, b = len(one), Counter(one), Counter(two)
    joint = Counter(zip(one, two, strict=True))
    information = sum(c / n * math.log(n * c / (a[i] * b[j])) for (i, j), c in joint.items())
    entropies = [-sum(c / n * math.log(c / n) for c in counts.values()) for counts in (a, b)]
    expected = 0.0
    for ai in a.values():
        for bj in b.values():
            for c in range(max(1, ai + bj - n), min(ai, bj) + 1):
                chance = math.comb(ai, c) * math.comb(n - ai, bj - c) / math.comb(n, bj)
                expected += chance * c / n * math.log(n * c / (ai * bj))
    return (information - expected) / (sum(entropies) / 2 - expected)


@pytest.mark.parametrize("seed", range(4))
def test_planted_directions_are_found_whatever_the_lengths(seed: int) -> None:
    vectors, labels = _planted(seed)
    found = _clusters(vectors, vectors)
    assert (found.values, found.clusters, found.note) == (90, 3, "")
    assert _value(found.mutual_information) == pytest.approx(1)
    for space in found.spaces:
        assert [point.cluster for point in space.points] == labels  # the largest cluster is the first
        assert _value(space.silhouette) == pytest.approx(_slow_silhouette(vectors, labels))
    assert [space.table for space in found.spaces] == ["the first", "the second"]


def test_mutual_information_agrees_with_the_formula() -> None:
    first, labels = _planted(0)
    moved = labels.copy()
    for place in range(0, 90, 3):
        moved[place] = (moved[place] + 1) % 3
    directions = np.linalg.qr(np.random.default_rng(9).normal(size=(5, 5)))[0][:3]
    found = _clusters(first, directions[moved] + 0.01 * np.random.default_rng(1).normal(size=(90, 5)))
    assert 0.1 < _value(found.mutual_information) < 0.9
    assert _value(found.mutual_information) == pytest.approx(_slow_adjusted_information(labels, moved))
    # The second space's points keep the colours of the first.
    assert [point.cluster for point in found.spaces[1].points] == labels


def test_independent_spaces_have_nothing_in_common() -> None:
    random = np.random.default_rng(0)
    found = _clusters(random.normal(size=(600, 4)), random.normal(size=(600, 4)), clusters=8)
    assert abs(_value(found.mutual_information)) < 0.02


def test_places_are_the_two_principal_components() -> None:
    vectors, _ = _planted(2, noise=0.5)
    space = _clusters(vectors, vectors).spaces[0]
    directions = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    centred = directions - directions.mean(axis=0)
    variances, axes = np.linalg.eigh(centred.T @ centred)
    for values, axis in (([p.x for p in space.points], axes[:, -1]), ([p.y for p in space.points], axes[:, -2])):
        projected = centred @ axis
        assert np.abs(values) == pytest.approx(np.abs(projected), abs=1e-4)
    assert _value(space.explained) == pytest.approx(variances[-2:].sum() / variances.sum())


def test_equal_vectors_are_not_measurable_and_leave_the_other_space_its_clusters() -> None:
    vectors, labels = _planted(0)
    scaled = np.outer(np.linspace(1, 9, 90), [1.0, 2.0, 3.0, 0.0, 1.0]).astype(np.float32)
    for equal in (scaled, np.zeros((90, 5)), np.full((90, 5), 1e-30)):
        found = _clusters(vectors, equal)
        assert found.mutual_information == NotMeasurable(reason="all vectors of the CVR space are equal")
        ctr, cvr = found.spaces
        assert cvr.silhouette == cvr.explained == NotMeasurable(reason="all vectors are equal")
        assert [point.cluster for point in cvr.points] == labels
        assert _value(ctr.silhouette) > 0.5
        found = _clusters(equal, vectors)
        assert {point.cluster for point in found.spaces[1].points} == {0}


def test_few_values_have_fewer_clusters_or_none() -> None:
    vectors, _ = _planted(0)
    found = _clusters(vectors[:10], vectors[:10], clusters=8)
    assert (found.clusters, found.note) == (3, "10 values allow 3 clusters, not 8")
    spaces = {"ctr": Vectors("a", vectors[:5]), "cvr": Vectors("b", vectors[:5])}
    assert cluster_embeddings(spaces, side="user", field="user", clusters=2, seed=0) is None  # type: ignore[arg-type]
    two_places = np.repeat([[1.0, 0.0], [0.0, 1.0]], 45, axis=0)
    assert _value(_clusters(two_places, two_places).mutual_information) == pytest.approx(1)


def test_one_dimension_and_values_that_are_not_finite() -> None:
    line = np.repeat([[1.0], [-2.0]], 10, axis=0)
    found = _clusters(line, line, clusters=2)
    assert {point.y for point in found.spaces[0].points} == {0.0}
    assert _value(found.spaces[0].explained) == pytest.approx(1)
    with pytest.raises(ValueError, match="1 of 20 values of the embeddings are not finite"):
        _clusters(np.where(np.arange(20)[:, None] == 3, np.nan, line), line)


def test_the_same_seed_gives_the_same_answer() -> None:
    random = np.random.default_rng(0)
    ctr, cvr = random.normal(size=(200, 6)), random.normal(size=(200, 6))
    assert _clusters(ctr, cvr, seed=2**40 + 1) == _clusters(ctr, cvr, seed=2**40 + 1)
    assert _clusters(ctr, cvr, seed=1) != _clusters(ctr, cvr, seed=2)
