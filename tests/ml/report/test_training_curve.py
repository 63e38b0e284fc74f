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
