"""Writes a study's files: trials.csv, study.json, the pictures and the stand-alone page; it runs and draws nothing."""

from __future__ import annotations

import csv
import io
from pathlib import Path

from markupsafe import Markup

from ml.atomic_files import atomic_file, write_json
from ml.report.environment import page_environment
from ml.tuning.dimensions import Range, choice_key
from ml.tuning.objective import OBJECTIVES
from ml.tuning.records import StudyRecord, TrialRecord, as_yaml

INDEX_FILE = "index.html"
TRIALS_FILE = "trials.csv"
STUDY_FILE = "study.json"
_LISTED = 20


def write_study(study: StudyRecord, out: Path) -> Path:
    """Writes the study's files into its folder, each whole, and returns the page.

    parallel_coordinates.png is there with the page. The same study gives the same bytes.
    """
    # matplotlib takes a second to load.
    from ml.tuning.pictures import PARALLEL_COORDINATES, draw_study

    write_json(out / STUDY_FILE, study.model_dump(mode="json"))
    with atomic_file(out / TRIALS_FILE) as unfinished:
        unfinished.write_text(trials_csv(study), encoding="utf-8")
    pictures = draw_study(study)
    for picture in pictures:
        if picture.name == PARALLEL_COORDINATES:
            with atomic_file(out / f"{picture.name}.png") as unfinished:
                unfinished.write_bytes(picture.png)
    environment = page_environment("ml.tuning")
    page = environment.get_template("study.html.jinja").render(
        study=study,
        objective=OBJECTIVES[study.settings.objective],
        ranked=ranked_trials(study)[:_LISTED],
        failed=[trial for trial in study.trials if trial.state == "failed"],
        space={name: _range(study, name) for name in study.settings.space.dimensions},
        as_yaml=as_yaml,
        # The SVG is this program's own.
        pictures=[(picture, Markup(picture.svg)) for picture in pictures],
    )
    with atomic_file(out / INDEX_FILE) as unfinished:
        unfinished.write_text(page, encoding="utf-8")
    return out / INDEX_FILE


def ranked_trials(study: StudyRecord) -> list[TrialRecord]:
    """Complete trials from the best on, then pruned ones; failed ones are not among them."""
    sign = -1 if OBJECTIVES[study.settings.objective].goal == "maximize" else 1
    told = [trial for trial in study.trials if trial.state != "failed" and trial.value is not None]
    return sorted(told, key=lambda trial: (trial.state != "complete", sign * (trial.value or 0.0), trial.number))


def trials_csv(study: StudyRecord) -> str:
    """All trials that have ended, a line each: number, state, value, epochs, seconds, every setting, reason."""
    text = io.StringIO()
    names = list(study.settings.space.dimensions)
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["trial", "state", study.settings.objective, "best_epoch", "epochs", "seconds", *names, "reason"])
    for trial in study.trials:
        settings = [choice_key(trial.settings.get(name)) for name in names]
        head = [trial.number, trial.state, trial.value, trial.best_epoch, trial.epochs, trial.seconds]
        writer.writerow([*head, *settings, trial.reason])
    return text.getvalue()


def _range(study: StudyRecord, name: str) -> str:
    dimension = study.settings.space.dimensions[name]
    if not isinstance(dimension, Range):
        return ", ".join(as_yaml(value) for value in dimension.values)
    scale = " on a log scale" if dimension.log else f" by {dimension.step:g}" if dimension.step else ""
    return f"{dimension.low:g} to {dimension.high:g}{scale}"
