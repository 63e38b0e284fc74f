"""The calibration read back from a training's log: the last record counts, and no log can stop a report."""

import json

import pytest

from ml.report.calibration_choice import read_calibration_choice
from tests.ml.report.full_facts import TRAINING, selection


def write(path, *records):
    path.write_text("\n".join(r if isinstance(r, str) else json.dumps(r) for r in records), encoding="utf-8")
    return path


def test_the_last_record_counts(tmp_path):
    later = {**TRAINING[-1], "cvr": selection("said later")}
    choice = read_calibration_choice(write(tmp_path / "m", *TRAINING, later))
    assert choice is not None
    assert choice.cvr.reason == "said later"
    assert choice.ctcvr.candidates[1].name == "histogram by page"


@pytest.mark.parametrize(
    "line",
    ['{"kind": "calibration"', '["calibration"]', '{"kind": "calibration"}', '{"kind": "epoch", "calibration": 1}'],
)
def test_what_cannot_be_read_is_no_choice(tmp_path, line):
    assert read_calibration_choice(write(tmp_path / "m", line)) is None


def test_no_log_is_no_choice(tmp_path):
    assert read_calibration_choice(None) is None
    assert read_calibration_choice(tmp_path / "absent") is None
