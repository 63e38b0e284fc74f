"""The importance picture: fields by falling loss, three bars each, at most twenty, and absent answers in words."""

import pytest

from ml.evaluation.measurement import Measured, NotMeasurable
from ml.inspection.record import FieldImportance, Inspection
from ml.report.importance_pictures import MOST_FIELDS, draw_importance, importance, ranked
from tests.ml.report.drawn import blank_axes, words_on

TASKS = ("ctr", "cvr", "ctcvr")


def field(name, ctcvr, *, cvr=0.01):
    none = NotMeasurable(reason="0 conversions in 9 rows")
    losses = {"ctr": 0.02, "cvr": cvr, "ctcvr": ctcvr}
    return FieldImportance(
        field=name,
        losses={task: none if loss is None else Measured(value=loss) for task, loss in losses.items()},
        spreads=dict.fromkeys(TASKS, 0.003),
    )


def inspected(fields, repeats=2):
    return Inspection(
        model_id="c" * 64, model="esmm", rows=20_000, clicks=9, conversions=1, repeats=repeats, importance=tuple(fields)
    )


def test_fields_stand_by_falling_loss_of_ctcvr():
    fields = [field("b", 0.01), field("a", 0.01), field("most", 0.2), field("none", None), field("least", -0.01)]
    assert [one.field for one in ranked(fields)] == ["most", "a", "b", "least", "none"]


def test_each_bar_is_its_fields_loss():
    axes = blank_axes()
    importance(axes, [field("first", 0.2), field("second", -0.01)])
    bars = {(round(bar.get_y() + bar.get_height() / 2, 2), round(bar.get_width(), 4)) for bar in axes.patches}
    assert bars == {(-0.26, 0.02), (0.0, 0.01), (0.26, 0.2), (0.74, 0.02), (1.0, 0.01), (1.26, -0.01)}
    assert axes.get_ylim()[0] > axes.get_ylim()[1]  # the first is at the top
    assert [label.get_text() for label in axes.get_yticklabels()] == ["first", "second"]
    spreads = [segment[1][0] - segment[0][0] for one in axes.collections for segment in one.get_segments()]
    assert spreads == [pytest.approx(0.006)] * 6


def test_a_task_without_an_answer_has_no_bar_and_its_reason_below():
    axes = blank_axes()
    importance(axes, [field("first", 0.2, cvr=None)])
    assert "CVR" not in words_on(axes).split()
    (picture,) = draw_importance(inspected([field("first", 0.2, cvr=None)]))
    assert "CVR: not measurable, 0 conversions in 9 rows." in picture.caption


def test_nothing_measurable_is_said():
    axes = blank_axes()
    none = NotMeasurable(reason="0 rows")
    importance(axes, [FieldImportance(field="a", losses=dict.fromkeys(TASKS, none), spreads={})])
    assert "Not measurable:\n0 rows" in words_on(axes)
    assert not axes.patches


def test_the_rest_of_many_fields_is_said():
    (picture,) = draw_importance(inspected([field(f"f{number:02d}", number / 100) for number in range(30)]))
    assert f"The first {MOST_FIELDS} of 30 fields." in picture.caption
    assert "20,000 rows" in picture.caption
    assert ">f29<" in picture.svg
    assert ">f05<" not in picture.svg
    assert picture.section == "importance"


def test_one_shuffle_has_no_spread_to_tell_and_no_field_no_picture():
    assert "deviation" not in draw_importance(inspected([field("a", 0.1)], repeats=1))[0].caption
    assert draw_importance(inspected([])) == []


def test_a_long_name_is_cut():
    (picture,) = draw_importance(inspected([field("a_name_that_is_longer_than_its_place", 0.1)]))
    assert ">a_name_that_is_lo…<" in picture.svg
