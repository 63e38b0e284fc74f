"""Renders reports of small judged days for the page's tests; what they must say is the tests'."""

import json

import numpy as np
import pytest

from ml.data.policy import GateSpec
from ml.evaluation.evaluate import evaluate
from ml.evaluation.evaluated_day import Task
from ml.report import page
from ml.report.facts import ReportFacts
from ml.report.page import render
from ml.report.picture import Picture
from tests.ml.report.full_facts import DATA, FULL_FACTS, HOSTILE, TRAINING

BASE_RATES: dict[Task, float] = {"ctr": 0.3, "cvr": 0.35, "ctcvr": 0.1}


def drawn(section):
    """A picture that is quickly drawn: drawing them is most of a report's time, and tested elsewhere."""
    svg = f'<svg role="img" viewBox="0 0 4 3"><text id="{section}-t">drawn: {section}</text></svg>'
    return Picture(
        name=f"of_{section}",
        title=f"Title of {section}",
        caption=f"Caption of {section}",
        png=b"\x89PNG",
        svg=svg,
        section=section,
    )


PICTURED = ("ranking", "calibration", "scores", "training", "labels", "model", "embeddings", "importance", "cost")


@pytest.fixture
def rendered(judged_day, gate, good_facts, challenger_facts, champion_facts, tmp_path, monkeypatch):
    """`run(…)` renders a judged day: its evaluation, the answer of `render` and the page's text.

    real_pictures: as the report has them; if not, one of each section, quickly drawn.
    """

    def run(
        *,
        champion=True,
        data=DATA,
        edit=None,
        trained=True,
        out="report.html",
        model=challenger_facts,
        facts=good_facts,
        shown=None,
        fields=None,
        gate=gate,
        training=TRAINING,
        change=None,
        real_pictures=False,
    ):
        if not real_pictures:
            monkeypatch.setattr(page, "draw_pictures", lambda **_: [drawn(section) for section in PICTURED])
        ours = judged_day.predictions("a.parquet", noise=0.2, edit=edit)
        theirs = judged_day.predictions("b.parquet", noise=1.5, edit=edit) if champion else None
        samples = None
        if fields is not None:
            samples = tmp_path / "samples.parquet"
            judged_day.labels[["impression_id"]].assign(**fields).to_parquet(samples)
        evaluation = evaluate(
            predictions=ours, model=model, champion=(champion_facts, theirs) if theirs else None,
            truth=judged_day.truth, gate=gate, facts=facts, base_rates=BASE_RATES, samples=samples,
            fields=list(fields or ()),
        )  # fmt: skip
        evaluation = change(evaluation) if change else evaluation
        metrics = tmp_path / "metrics.jsonl"
        metrics.write_text("\n".join(json.dumps(record) for record in training))
        answer = render(
            evaluation=evaluation, predictions=ours, champion_predictions=theirs,
            training_metrics=metrics if trained else None,
            facts=shown or ReportFacts(data_used=tuple(data), labels_mature=True, label_days=2), out=tmp_path / out,
        )  # fmt: skip
        return evaluation, answer, answer.path.read_text(encoding="utf-8")

    return run


def uncalibrated(frame):
    """A model's predictions with what they were before calibration."""
    return frame.assign(p_cvr_uncalibrated=frame.p_cvr * 0.7, p_ctcvr_uncalibrated=frame.p_ctcvr * 0.7)


def fields_of_many_values(rows=6000):
    """Fields of the judged day: of two values, one of them hostile; of twelve; and of fifty, too small to measure."""
    generator = np.random.default_rng(3)
    return {
        "device": np.where(generator.random(rows) < 0.4, HOSTILE, "phone"),
        "page": [f"page {number}" for number in generator.integers(0, 12, rows)],
        "shop": [f"shop {number:03d}" for number in generator.integers(0, 50, rows)],
    }


GATE = GateSpec(replicates=200, slice_min_rows=300, slice_min_positives=20, slice_values=60)


def everything(rendered, **changes):
    """A page with all that a page can have."""
    given = {"shown": FULL_FACTS, "fields": fields_of_many_values(), "edit": uncalibrated, "gate": GATE}
    return rendered(**given | changes)
