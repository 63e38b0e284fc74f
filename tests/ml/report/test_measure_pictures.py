"""Pictures of a model's own measures: of any model, grouped by its parts; CSTWA's in words and over known nodes."""

import pytest

from ml.inspection.record import Inspection
from ml.report.measure_panels import MOST_LINES, panels_of
from ml.report.measure_pictures import MOST_PICTURES, draw_measures, lines
from ml.report.training_curve import TrainingCurve
from tests.ml.report.drawn import blank_axes, line, words_on

CSTWA = {
    "curse_escaper.up_weighted.over_clicked": 0.045,
    "curse_escaper.up_weighted.under_clicked": 0.001,
    "curse_escaper.mean_weight": 1.1,
    "click_perceptron.scale.mean": 0.97,
    "click_perceptron.scale.deviation": 0.2,
    "click_perceptron.scale.above_one": 0.42,
    "structure_migrator.user.distance": 0.24,
    "structure_migrator.user.known": 0.8,
    "structure_migrator.item.distance": 0.3,
    "structure_migrator.item.known": 0.0,
}


def curve(measures, epochs=3, best=2):
    points = {name: tuple((float(epoch), value) for epoch in range(1, epochs + 1)) for name, value in measures.items()}
    return TrainingCurve(steps=(), epochs={}, unreadable=0, note="", measures=points, best_epoch=best)


def inspected(measures):
    return Inspection(model_id="c" * 64, model="cstwa", rows=10, clicks=1, conversions=1, repeats=1, measures=measures)


def test_every_part_of_cstwa_has_a_picture():
    pictures = draw_measures(curve(CSTWA), inspected(CSTWA))
    assert [picture.name for picture in pictures] == [
        "measures_click_perceptron",
        "measures_curse_escaper",
        "measures_structure_migrator",
    ]
    assert {picture.section for picture in pictures} == {"model"}
    assert "up-weighted: not converted, click predicted high" in pictures[1].svg
    assert all("judged day" in picture.svg and "dashed line" in picture.caption for picture in pictures)
    assert not any("more measures" in picture.caption for picture in pictures)


def test_a_distance_is_told_over_the_rows_that_are_in_the_graph(monkeypatch):
    drawn = {}
    monkeypatch.setattr(
        "ml.report.measure_pictures.lines",
        lambda axes, panel, curves, judged: drawn.update({"curves": curves, "judged": judged}),
    )
    draw_measures(curve({name: value for name, value in CSTWA.items() if "migrator" in name}), inspected(CSTWA))
    assert drawn["curves"]["structure_migrator.user.distance"] == tuple(
        (epoch, pytest.approx(0.3)) for epoch in (1, 2, 3)
    )
    assert drawn["judged"]["structure_migrator.user.distance"] == pytest.approx(0.3)
    assert drawn["judged"]["structure_migrator.item.distance"] == 0.3  # nothing known: as it was measured
    assert not any(name.endswith(".known") for name in drawn["curves"])


def test_the_judged_day_stands_right_of_the_last_epoch():
    axes = blank_axes()
    (panel,) = panels_of("structure_migrator", ["structure_migrator.user.distance"])
    name = "structure_migrator.user.distance"
    lines(axes, panel, {name: ((1.0, 0.2), (2.0, 0.3))}, {name: 0.25})
    assert line(axes, "users") == ([1, 2], [0.2, 0.3])
    (alone,) = [one for one in axes.get_lines() if one.get_linestyle() == "None"]
    assert (alone.get_xdata()[0], alone.get_ydata()[0]) == (3, 0.25)
    assert words_on(axes).count("users") == 1


def test_a_model_that_nobody_knows_is_drawn_by_its_parts():
    measures = {"imputed_error": 0.1, "value_mu": 3.0, "tower.left.size": 1.0, "tower.right": 2.0}
    pictures = draw_measures(curve(measures), None)
    assert [picture.name for picture in pictures] == ["measures", "measures_tower"]
    assert "judged day" not in pictures[0].svg
    assert "left, size" in pictures[1].svg


def test_a_measure_that_a_known_part_gained_since_is_drawn_too():
    panels = panels_of("curse_escaper", ["curse_escaper.mean_weight", "curse_escaper.news"])
    assert [dict(panel.labels) for panel in panels] == [
        {"curse_escaper.mean_weight": "of a row's conversion loss"},
        {"curse_escaper.news": "news"},
    ]


def test_too_many_parts_and_too_many_measures_are_capped_and_said():
    many = {f"part{number:02d}.x": 1.0 for number in range(MOST_PICTURES + 3)}
    pictures = draw_measures(curve(many), None)
    assert len(pictures) == MOST_PICTURES
    assert "Of 9 parts, 3 are not drawn." in pictures[-1].caption
    wide = {f"part.{number:02d}": 1.0 for number in range(MOST_LINES + 2)}
    assert "2 more measures are not drawn." in draw_measures(curve(wide), None)[0].caption


def test_an_inspection_alone_and_a_log_alone_are_enough():
    only = {"attention.transferred": 0.4}
    (alone,) = draw_measures(curve({}, best=None), inspected(only))
    assert ">judged day<" in alone.svg
    assert ">epoch<" not in alone.svg
    (alone,) = draw_measures(curve(only, epochs=1), None)
    assert ">epoch<" in alone.svg


def test_a_model_without_measures_has_no_picture():
    assert draw_measures(curve({}), None) == []
    assert draw_measures(curve({}), inspected({})) == []


def test_gates_show_the_judged_day_or_else_the_epoch_that_was_kept():
    rising = {name: ((1.0, start), (2.0, 1 - start)) for name, start in (("gate.ctr.0", 0.25), ("gate.ctr.1", 0.75))}
    log = TrainingCurve(steps=(), epochs={}, unreadable=0, note="", measures=rising, best_epoch=1)
    kept, judged = draw_measures(log, None)[0], draw_measures(log, inspected({"gate.ctr.0": 0.4, "gate.ctr.1": 0.6}))[0]
    assert ">25<" in kept.svg
    assert "epoch kept" in kept.caption
    assert ">40<" in judged.svg
    assert "judged day's rows" in judged.caption
    assert ">25<" in draw_measures(log, inspected({"attention.transferred": 0.4}))[0].svg
