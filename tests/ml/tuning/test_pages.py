"""A study's files: every trial in the table, the best one named, and a page that stands alone and escapes its text."""

from __future__ import annotations

import csv
import json
import re
from pathlib import Path

import pytest

from ml.tuning.pages import ranked_trials, write_study
from ml.tuning.pictures import draw_study
from ml.tuning.records import StudyRecord, as_yaml, best_number


def test_the_best_is_the_earliest_of_the_best_complete_trials(record: StudyRecord):
    assert record.best == 1
    assert [trial.number for trial in ranked_trials(record)] == [1, 4, 0, 2]
    assert best_number(record.trials, maximize=False) == 0
    assert best_number(record.trials[2:4], maximize=True) is None


def test_files_are_whole_and_the_same_each_time(record: StudyRecord, tmp_path: Path):
    page = write_study(record, tmp_path)
    first = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    assert set(first) == {"index.html", "study.json", "trials.csv", "parallel_coordinates.png"}
    write_study(record, tmp_path)
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == first
    assert first["parallel_coordinates.png"].startswith(b"\x89PNG")
    assert StudyRecord.model_validate(json.loads(first["study.json"])) == record
    rows = list(csv.DictReader(first["trials.csv"].decode().splitlines()))
    assert [(row["trial"], row["state"], row["score"]) for row in rows] == [
        ("0", "complete", "1.3"),
        ("1", "complete", "1.42"),
        ("2", "pruned", "1.1"),
        ("3", "failed", ""),
        ("4", "complete", "1.42"),
    ]
    assert rows[1]["tower_widths"] == "[128, 64]"
    assert page.name == "index.html"


def test_the_page_stands_alone_and_escapes(record: StudyRecord, tmp_path: Path):
    text = write_study(record, tmp_path).read_text()
    assert not re.search(r"https?://|<script|<link|@import|src=", text)
    assert "loss is no number &lt;b&gt;&amp;" in text
    assert "prefers-color-scheme: dark" in text
    assert "postclick run --model esmm --set learning_rate=0.005" in text
    assert "3 trials complete, 1 pruned, 1 failed" in text
    assert "is not read" in text
    assert text.count("<svg") == 3


@pytest.mark.parametrize("kept", [(), (3,), (2,), (0,)])
def test_studies_with_little_in_them_have_a_page_too(record: StudyRecord, tmp_path: Path, kept: tuple[int, ...]):
    trials = tuple(record.trials[place] for place in kept)
    best = best_number(trials, maximize=True)
    command = record.command if best is not None else None
    small = record.model_copy(update={"trials": trials, "best": best, "command": command, "importances": {}})
    text = write_study(small, tmp_path).read_text()
    assert text.count("<svg") == 2
    assert ("No trial is complete." in text) == (best is None)


def test_pictures_show_every_setting(record: StudyRecord):
    pictures = {picture.name: picture for picture in draw_study(record)}
    parallel = pictures["parallel_coordinates"].svg
    for shown in ("learning", "[64, 32]", "1.4200", "1.3000"):
        assert shown in parallel
    assert "importances" in pictures


@pytest.mark.parametrize(
    ("value", "text"), [(1e-05, "1.0e-05"), (0.01, "0.01"), ([64, 32], "[64, 32]"), (True, "true"), (None, "null"),
                        ("adam", "adam"), (3, "3")]
)  # fmt: skip
def test_values_are_written_as_the_command_line_reads_them(value: object, text: str):
    import yaml

    assert as_yaml(value) == text
    assert yaml.safe_load(as_yaml(value)) == value
