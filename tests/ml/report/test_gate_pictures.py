"""Gate pictures: the bars are the gates' weights, of any model with experts, and their course is stacked by epoch."""

import re

import pytest

from ml.report.gate_pictures import course, draw_gates, gates_of, weights
from tests.ml.report.drawn import blank_axes, words_on

TAML = {
    f"gate.{task}.learner{learner}.{group}": weight
    for task in ("ctr", "ctcvr")
    for learner in (0, 1)
    for group, weight in (("general", 0.6), ("task", 0.35), ("learner", 0.05))
}
PLE = {"gate.1.ctr.own": 0.7, "gate.1.ctr.shared": 0.3, "gate.1.shared.ctr": 0.2, "gate.1.shared.cvr": 0.8}
MMOE = {f"gate.{task}.{expert}": 0.1 for task in ("ctr", "cvr") for expert in range(10)}


def courses(measures, epochs=3):
    return {name: tuple((float(epoch), weight) for epoch in range(1, epochs + 1)) for name, weight in measures.items()}


def test_gates_are_taken_apart_in_words():
    assert list(gates_of(list(TAML))) == ["CTR, learner 1", "CTR, learner 2", "CTCVR, learner 1", "CTCVR, learner 2"]
    assert list(gates_of(list(PLE))) == ["level 1, CTR", "level 1, shared"]
    assert len(gates_of(list(MMOE))["CTR"]) == 10
    assert gates_of(["gate.odd"]) == {"all tasks": {"odd": "gate.odd"}}


def test_each_bar_is_its_gates_weights_end_to_end():
    axes = blank_axes()
    colours = {"general experts": "#3b82c4", "task experts": "#d97a2b", "learner experts": "#3f9e6e"}
    weights(axes, gates_of(list(TAML)), TAML, colours)
    bars = [(bar.get_x(), bar.get_width(), bar.get_y() + bar.get_height() / 2) for bar in axes.patches]
    first = [(start, width) for start, width, row in bars if row == 0 and width > 0 and start + width <= 1.01][:3]
    assert first == [(0, 0.6), (0.6, 0.35), (pytest.approx(0.95), pytest.approx(0.05))]
    text = words_on(axes)
    assert "60" in text.split()
    assert "5" not in text.split()  # too narrow for its number
    for words in ("general", "task", "learner", "CTCVR, learner 2", "mean weight of experts"):
        assert words in text


def test_the_course_stacks_the_groups_over_the_epochs_that_all_have():
    axes = blank_axes()
    course(axes, [((1, 0.5), (2, 0.4), (3, 0.3)), ((2, 0.6), (3, 0.7))], ["#3b82c4", "#d97a2b"], best=2)
    assert axes.get_xlim() == (2, 3)
    tops = [collection.get_paths()[0].vertices[:, 1].max() for collection in axes.collections]
    assert tops == [pytest.approx(0.4), pytest.approx(1)]
    axes = blank_axes()
    course(axes, [((1, 0.5),), ((2, 0.6),)], ["#3b82c4", "#d97a2b"], best=None)
    assert "no two epochs" in words_on(axes)


@pytest.mark.parametrize("measures", [TAML, PLE, MMOE], ids=["taml", "ple", "mmoe"])
def test_any_model_with_gates_has_bars_and_a_course(measures):
    pictures = draw_gates(measures, courses(measures), latest_is="on the judged day's rows", best=2)
    assert [picture.name for picture in pictures] == ["gate_weights", "gate_course"]
    assert "on the judged day's rows" in pictures[0].caption
    assert {picture.section for picture in pictures} == {"model"}


def test_one_epoch_has_no_course_and_no_gate_no_picture():
    assert len(draw_gates(TAML, courses(TAML, epochs=1), latest_is="", best=1)) == 1
    assert draw_gates({"curse_escaper.mean_weight": 1.0}, {}, latest_is="", best=None) == []


def test_many_gates_are_not_all_drawn_by_epoch_and_that_is_said():
    measures = {f"gate.{level}.ctr.{group}": 0.5 for level in range(11) for group in ("own", "shared")}
    assert "3 more gates are not drawn." in draw_gates(measures, courses(measures), latest_is="", best=None)[1].caption


def test_a_group_has_one_colour_in_both_pictures_whatever_the_order_it_was_told_in():
    told = dict(reversed(TAML.items()))
    bars, areas = draw_gates(told, courses(TAML), latest_is="", best=None)
    again, _ = draw_gates(TAML, courses(TAML), latest_is="", best=None)
    assert bars == again
    # Areas are filled in the order of their groups: general, learner, task.
    fills = re.findall(r"fill: (#\w{6})", areas.svg)
    assert list(dict.fromkeys(fills))[:3] == list(dict.fromkeys(re.findall(r"fill: (#\w{6})", bars.svg)))[:3]


def test_the_tenth_expert_stands_behind_the_ninth():
    (bars,) = draw_gates(MMOE, {}, latest_is="", best=None)
    places = [bars.svg.index(f">expert {number}<") for number in range(1, 11)]
    assert places == sorted(places)
