"""Embedding pictures: every point in its place and in the colour of its CTR cluster, small files, absences said."""

import numpy as np
import pytest

from ml.evaluation.measurement import Measured, NotMeasurable
from ml.inspection.record import ClusteredPoint, EmbeddingClusters, EmbeddingSpace
from ml.report.embedding_pictures import MOST_POINTS, coloured, draw_embeddings


def space(name, places, clusters, silhouette=0.4):
    return EmbeddingSpace(
        space=name,
        table="E",
        silhouette=NotMeasurable(reason="one cluster") if silhouette is None else Measured(value=silhouette),
        explained=Measured(value=0.5),
        points=tuple(ClusteredPoint(x=x, y=y, cluster=k) for (x, y), k in zip(places, clusters, strict=True)),
    )


def sides(spaces, *, values=4, note=""):
    return EmbeddingClusters(
        side="item", field="item_id", values=values, clusters=2, mutual_information=Measured(value=0.25),
        spaces=tuple(spaces), note=note,
    )  # fmt: skip


SQUARE = [(0, 0), (2, 0), (0, 1), (2, 1)]


def test_both_spaces_take_the_colours_of_ctr_and_keep_their_proportions():
    ctr, cvr = space("ctr", SQUARE, [0, 0, 1, 1]), space("cvr", SQUARE[::-1], [1, 0, 1, 0])
    first, second = (dict(coloured(one, ctr)) for one in (ctr, cvr))
    np.testing.assert_allclose(first[0], [[0, 0.25], [1, 0.25]])
    np.testing.assert_allclose(first[1], [[0, 0.75], [1, 0.75]])
    np.testing.assert_allclose(second[0], [[1, 0.75], [0, 0.75]])


def test_spaces_of_other_values_keep_their_own_clusters():
    ctr, cvr = space("ctr", SQUARE, [0, 0, 1, 1]), space("cvr", SQUARE[:3], [5, 6, 6])
    assert [cluster for cluster, _ in coloured(cvr, ctr)] == [5, 6]


def test_the_picture_shows_both_spaces_and_says_what_they_share():
    (picture,) = draw_embeddings([sides([space("ctr", SQUARE, [0, 0, 1, 1]), space("cvr", SQUARE, [0, 1, 0, 1], 0.1)])])
    assert (picture.name, picture.section) == ("embeddings_item_item_id", "embeddings")
    for words in (">CTR<", ">CVR<", ">silhouette 0.40<", ">silhouette 0.10<"):
        assert words in picture.svg
    assert "adjusted mutual information 0.25" in picture.caption
    assert "CTR 50 %, CVR 50 % of the variance" in picture.caption


def test_many_points_are_thinned_and_cost_few_bytes():
    generator = np.random.default_rng(0)
    places = generator.normal(size=(5000, 2))
    clusters = generator.integers(0, 40, 5000)
    one = sides([space("ctr", places, clusters), space("cvr", places, clusters)], values=5000)
    drawn = sum(len(found) for _, found in coloured(one.spaces[0], one.spaces[0]))
    assert drawn == MOST_POINTS
    (picture,) = draw_embeddings([one])
    assert f"{drawn} of 5,000 values" in picture.caption
    assert len(picture.svg) < 150_000


@pytest.mark.parametrize(
    ("clusters", "words"),
    [
        (sides([], note="the tasks share one table"), "the tasks share one table"),
        (sides([space("ctr", [], [])], note="no value is known"), "no value is known"),
        (sides([space("ctr", [(1, 1)] * 4, [0] * 4, None)]), "silhouette not measurable"),
    ],
    ids=["no space", "no point", "one point and cluster"],
)
def test_what_is_not_there_is_said(clusters, words):
    (picture,) = draw_embeddings([clusters])
    assert words in picture.svg
    assert "nan" not in picture.svg.lower()


def test_two_fields_of_a_side_have_two_pictures_and_no_side_none():
    one = sides([space("ctr", SQUARE, [0, 0, 1, 1])])
    names = [picture.name for picture in draw_embeddings([one, one.model_copy(update={"field": "shop"})])]
    assert names == ["embeddings_item_item_id", "embeddings_item_shop"]
    assert draw_embeddings([]) == []
