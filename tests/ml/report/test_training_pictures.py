"""Training's pictures: the log's numbers by step and epoch, the kept epoch marked, and what was not recorded said."""

from ml.report.training_curve import TrainingCurve
from ml.report.training_pictures import by_epoch, draw_training
from tests.ml.report.drawn import blank_axes, line, words_on

EPOCHS = {
    "validation_auc_ctr": ((1.0, 0.7), (2.0, 0.72), (3.0, 0.71)),
    "validation_auc_cvr": ((2.0, 0.6), (3.0, 0.61)),
    "validation_loss": ((1.0, 0.5), (2.0, 0.4), (3.0, 0.45)),
}


def curve(*, epochs=EPOCHS, steps=((10.0, 0.5), (20.0, 0.4)), note="", best=2):
    return TrainingCurve(steps=steps, epochs=epochs, unreadable=0, note=note, best_epoch=best)


def test_each_validation_number_is_a_line_and_the_kept_epoch_is_marked():
    axes = blank_axes()
    by_epoch(axes, {name: points for name, points in EPOCHS.items() if "auc" in name}, best=2)
    assert line(axes, "CTR") == ([1, 2, 3], [0.7, 0.72, 0.71])
    assert line(axes, "CVR") == ([2, 3], [0.6, 0.61])
    assert any(list(one.get_xdata()) == [2, 2] and one.get_linestyle() == "--" for one in axes.get_lines())
    assert axes.get_ylabel() == "AUC"


def test_no_epoch_is_marked_where_none_was_kept():
    axes = blank_axes()
    by_epoch(axes, EPOCHS, best=None)
    assert not any(one.get_linestyle() == "--" for one in axes.get_lines())


def test_the_pictures_are_those_that_the_log_allows():
    pictures = draw_training(curve())
    assert [picture.name for picture in pictures] == ["training", "validation"]
    assert {picture.section for picture in pictures} == {"training"}
    assert "dashed line marks the epoch" in pictures[1].caption
    assert "dashed" not in draw_training(curve(best=None))[1].caption
    assert ">loss<" not in pictures[1].svg


def test_without_an_auc_the_loss_is_shown():
    pictures = draw_training(curve(epochs={"validation_loss": EPOCHS["validation_loss"]}))
    assert ">loss<" in pictures[1].svg


def test_order_violations_are_shown_where_there_are_any():
    some, none = ({**EPOCHS, "validation_order_violations": ((1.0, 0.0), (2.0, share))} for share in (0.013, 0.0))
    assert [picture.name for picture in draw_training(curve(epochs=some))][-1] == "order_violations"
    assert [picture.name for picture in draw_training(curve(epochs=none))][-1] == "validation"
    alone = draw_training(curve(epochs={"validation_order_violations": ((1.0, 0.0),)}))
    assert [picture.name for picture in alone] == ["training"]


def test_a_log_that_is_not_there_is_said():
    (picture,) = draw_training(curve(epochs={}, steps=(), note="The training left no metrics.jsonl."))
    assert picture.caption == "The training left no metrics.jsonl."
    assert ">The training left no metrics.jsonl.<" in picture.svg
    assert words_on(blank_axes()).strip() != ""  # blank axes have ticks, a picture of words has none
    assert "xtick" not in picture.svg
