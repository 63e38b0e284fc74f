"""The learning curve read back from a training run's metrics."""

import json

from ml.report.training_curve import read_training_curve


def write(path, *records):
    path.write_text("\n".join(r if isinstance(r, str) else json.dumps(r) for r in records), encoding="utf-8")
    return path


def test_steps_that_begin_anew_each_epoch_are_laid_end_to_end(tmp_path):
    path = write(
        tmp_path / "metrics.jsonl",
        *(
            {"kind": "step", "epoch": epoch, "step": step, "loss": epoch / step}
            for epoch in (1, 2)
            for step in (10, 20)
        ),
    )
    assert read_training_curve(path).steps == ((10, 0.1), (20, 0.05), (30, 0.2), (40, 0.1))


def test_one_step_an_epoch_still_moves_on(tmp_path):
    path = write(tmp_path / "m", *({"kind": "step", "epoch": e, "step": 5, "loss": 1} for e in (1, 2, 3)))
    assert [step for step, _ in read_training_curve(path).steps] == [5, 10, 15]


def test_nested_validation_numbers_become_curves_and_others_do_not(tmp_path):
    validation = {"rows": 10, "loss": 0.4, "auc_ctr": 0.7, "auc_cvr": None, "auc_cvr_reason": "0 conversions"}
    path = write(
        tmp_path / "m", *({"kind": "epoch", "epoch": e, "validation": validation, "seconds": 3} for e in (1, 2))
    )
    epochs = read_training_curve(path).epochs
    assert epochs == {"validation_auc_ctr": ((1, 0.7), (2, 0.7)), "validation_loss": ((1, 0.4), (2, 0.4))}


def test_lines_of_another_making_are_counted_or_passed_over(tmp_path):
    path = write(
        tmp_path / "m", "{broken", "[1]", {"kind": "start"}, {"kind": "step", "step": 1},
        '{"kind":"step","step":1,"loss":NaN}', {"kind": "step", "step": 1, "total": 0.5},
    )  # fmt: skip
    curve = read_training_curve(path)
    assert (curve.unreadable, curve.steps) == (2, ((1, 0.5),))


def test_an_absent_or_empty_log_is_said_so(tmp_path):
    for path in (None, tmp_path / "absent"):
        assert "no metrics.jsonl" in read_training_curve(path).note
    assert "no step" in read_training_curve(write(tmp_path / "m")).note


def test_long_curves_are_thinned(tmp_path):
    path = write(tmp_path / "m", *({"kind": "step", "step": step, "loss": 1} for step in range(1, 9001)))
    assert 1000 < len(read_training_curve(path).steps) <= 2000


def test_the_models_own_measures_are_curves_of_their_own(tmp_path):
    validation = {"auc_ctr": 0.7, "model": {"gate.ctr.0": 0.25, "loss_like.auc": 1.0, "gone": None}}
    path = write(
        tmp_path / "m", {"kind": "epoch", "epoch": 1, "validation": validation},
        {"kind": "epoch", "epoch": 2, "validation": {**validation, "model": {"gate.ctr.0": 0.5}}},
    )  # fmt: skip
    curve = read_training_curve(path)
    assert curve.measures == {"gate.ctr.0": ((1, 0.25), (2, 0.5)), "loss_like.auc": ((1, 1.0),)}
    assert set(curve.epochs) == {"validation_auc_ctr"}


def test_the_last_gain_is_the_epoch_that_was_kept(tmp_path):
    gains = [(1, True), (2, True), (3, False)]
    records = [{"kind": "epoch", "epoch": epoch, "is_best": gain} for epoch, gain in gains]
    assert read_training_curve(write(tmp_path / "m", *records)).best_epoch == 2
    assert read_training_curve(write(tmp_path / "m", {"kind": "epoch", "epoch": 1})).best_epoch is None


def test_an_epoch_told_twice_counts_as_it_was_told_last(tmp_path):
    told = [(1, 0.6, True), (2, 0.9, True), (2, 0.5, False)]
    path = write(
        tmp_path / "m",
        *({"kind": "epoch", "epoch": e, "is_best": gain, "validation": {"auc_ctr": a, "order_violations": 0.1}}
          for e, a, gain in told),
    )  # fmt: skip
    curve = read_training_curve(path)
    assert curve.epochs["validation_auc_ctr"] == ((1, 0.6), (2, 0.5))
    assert curve.epochs["validation_order_violations"] == ((1, 0.1), (2, 0.1))
    assert curve.best_epoch == 1
