"""What models' measures are called: known ones in words of their own, any other taken apart, none lost."""

import pytest

from ml.report.measure_words import grouped_measures, measure_words


@pytest.mark.parametrize(
    ("name", "part", "text"),
    [
        ("curse_escaper.mean_weight", "Curse escaper (CE)", "mean weight of a row in the conversion loss"),
        ("gate.ctcvr.learner2.task", "Gates: mean weight of the experts", "CTCVR, learner 3: task experts"),
        ("gate.cvr.0", "Gates: mean weight of the experts", "CVR: expert 1"),
        ("gate.both.3", "Gates: mean weight of the experts", "both tasks: expert 4"),
        ("gate.1.ctr.own", "Gates: mean weight of the experts", "level 1, CTR: own experts"),
        ("gate.2.shared.cvr", "Gates: mean weight of the experts", "level 2, shared: CVR experts"),
        ("new_part.cvr_thing.mean", "New part", "CVR thing, mean"),
        ("imputed_error", "Of the whole model", "mean imputed error of the conversion prediction"),
        ("ctr_gate_main", "Of the whole model", "CTR gate main"),
        ("", "Of the whole model", ""),
        (".", "", ""),
    ],
)
def test_words_of_a_measure(name, part, text):
    found = measure_words(name)
    assert (found.name, found.part) == (name, part)
    assert found.text.strip(", ") == text


def test_models_stand_side_by_side_and_what_one_lacks_is_none():
    groups = grouped_measures({"gate.ctr.0": 1.0, "loss": 0.5}, {"gate.ctr.1": 2.0})
    assert [part for part, _ in groups] == ["Gates: mean weight of the experts", "Of the whole model"]
    assert [(words.name, values) for _, rows in groups for words, values in rows] == [
        ("gate.ctr.0", [1.0, None]),
        ("gate.ctr.1", [None, 2.0]),
        ("loss", [0.5, None]),
    ]
    assert grouped_measures({}) == []
