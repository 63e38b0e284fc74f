"""The metrics over time as pictures: which there are, what is left out, and that a year of them stays small."""

import re

import pytest

from ml.report.history_day import HistoryDay
from ml.report.history_pictures import draw_history
from tests.ml.report.made_up_history import FIRST, judged, long_history

NAMES = ["auc_ctcvr", "auc_cvr", "auc_ctr", "log_loss", "pcoc", "conversions"]


def test_a_picture_a_metric_and_the_same_bytes_again():
    days, _ = long_history(20)
    pictures = draw_history(days)
    assert [picture.name for picture in pictures] == [f"history_{name}" for name in NAMES]
    assert [picture.svg for picture in draw_history(days)] == [picture.svg for picture in pictures]


def test_without_a_model_there_is_nothing_to_draw():
    assert draw_history([]) == []
    assert draw_history([HistoryDay(day=FIRST, verdict="not_run", data="admitted")]) == []


@pytest.mark.parametrize("count", [1, 101, 400])
def test_any_number_of_days_can_be_drawn_and_stays_small(count):
    days, _ = long_history(count)
    assert sum(len(picture.svg) for picture in draw_history(days)) < 800_000


def test_days_before_the_first_model_are_left_out():
    idle = [HistoryDay(day=FIRST, verdict="not_run", data="admitted")]
    days = [judged(place) for place in (20, 21, 22)]
    assert [p.svg for p in draw_history([*idle, *days])] == [p.svg for p in draw_history(days)]


def test_what_no_day_could_measure_says_so():
    day = judged(1)
    tasks = {
        task: numbers.model_copy(update={"auc": None, "pcoc": None, "log_loss": None})
        for task, numbers in day.challenger.tasks.items()
    }
    blind = day.model_copy(update={"challenger": day.challenger.model_copy(update={"tasks": tasks})})
    said = [picture.name for picture in draw_history([blind]) if "Not measurable" in picture.svg]
    assert said == [f"history_{name}" for name in NAMES[:-1]]


def test_a_promotion_refused_data_and_an_acceptance_are_marked():
    def marks(**changes):
        [auc, *_] = draw_history([judged(1), judged(2, **changes), judged(3)])
        return len(re.findall("<use", auc.svg))

    plain = marks()
    assert marks(verdict="promoted") == plain + 1
    assert marks(data="refused") == plain + 1
    assert marks(data="accepted") == plain + 1
