"""All pictures of a report together: for an ordinary day, a first model, one class and no row."""

import re
import subprocess
import sys

import pytest

from ml.data.delay import DelayCurve, DelayPoint
from ml.evaluation.evaluate import evaluate
from ml.evaluation.judged_rows import read_predictions
from ml.evaluation.measurement import Measured
from ml.inspection.record import ClusteredPoint, EmbeddingClusters, EmbeddingSpace, FieldImportance, Inspection
from ml.report.facts import ReportFacts
from ml.report.pictures import draw_pictures
from ml.report.training_curve import TrainingCurve

SECTIONS = ["ranking", "calibration", "scores", "training", "labels", "model", "embeddings", "importance"]
POINTS = tuple(ClusteredPoint(x=number % 7, y=number % 5, cluster=number % 3) for number in range(60))
SPACES = tuple(
    EmbeddingSpace(space=space, table="E", silhouette=Measured(value=0.3), explained=Measured(value=0.5), points=POINTS)
    for space in ("ctr", "cvr")
)
MEASURES = {"gate.ctr.0": 0.25, "gate.ctr.1": 0.75, "curse_escaper.mean_weight": 1.1, "odd<b>.one": 1.0}
INSPECTION = Inspection(
    model_id="c" * 64, model="cstwa", rows=60, clicks=9, conversions=3, repeats=2, measures=MEASURES,
    importance=(
        FieldImportance(field="<script>$x$", losses={"ctcvr": Measured(value=0.1)}, spreads={"ctcvr": 0.01}),
    ),
    clusters=(
        EmbeddingClusters(
            side="user", field="user_id", values=60, clusters=3, mutual_information=Measured(value=0.2), spaces=SPACES
        ),
    ),
)  # fmt: skip
FACTS = ReportFacts(
    labels_mature=True, label_days=2, inspection=INSPECTION,
    delay=DelayCurve(
        conversions=5, window_seconds=86400, within_window=1, median_seconds=60,
        points=(DelayPoint(seconds=60, share=0.5), DelayPoint(seconds=86400, share=1)),
    ),
)  # fmt: skip
CURVE = TrainingCurve(
    steps=((1.0, 0.5), (2.0, 0.4)), epochs={"validation_auc_ctr": ((1.0, 0.7), (2.0, 0.8))}, unreadable=0, note="",
    measures={name: ((1.0, value), (2.0, value)) for name, value in MEASURES.items()}, best_epoch=2,
)  # fmt: skip
NO_CURVE = TrainingCurve(steps=(), epochs={}, unreadable=0, note="The training left no metrics.jsonl.")


@pytest.fixture
def drawn(judged_day, gate, good_facts, challenger_facts, champion_facts):
    def run(*, champion=True, edit=None, facts=FACTS, curve=CURVE, uncalibrated=True):
        def edited(frame):
            raw = {"p_cvr_uncalibrated": frame["p_cvr"] ** 0.5, "p_ctcvr_uncalibrated": frame["p_ctcvr"] ** 0.5}
            frame = frame.assign(**raw) if uncalibrated else frame
            return edit(frame) if edit else frame

        ours = judged_day.predictions("a.parquet", noise=0.2, edit=edited)
        theirs = judged_day.predictions("b.parquet", noise=1.5, edit=edited) if champion else None
        evaluation = evaluate(
            predictions=ours, model=challenger_facts, champion=(champion_facts, theirs) if theirs else None,
            truth=None, gate=gate, facts=good_facts, base_rates={},
        )  # fmt: skip
        return draw_pictures(
            rows=read_predictions(ours), champion=read_predictions(theirs) if theirs else None, curve=curve,
            evaluation=evaluation, facts=facts,
        )  # fmt: skip

    return run


def test_every_section_has_its_pictures_and_they_stand_on_one_page(drawn):
    pictures = drawn()
    assert list(dict.fromkeys(picture.section for picture in pictures)) == SECTIONS
    assert len({picture.name for picture in pictures}) == len(pictures)
    markup = "".join(picture.svg for picture in pictures)
    ids = re.findall(r'\bid="([^"]*)"', markup)
    assert len(ids) == len(set(ids))
    assert not re.search(r"https?:|//[a-z]|@import|url\((?!#)|<script|<b>", markup)
    assert not re.search(r">[^<]*\b(nan|inf)\b", markup, flags=re.IGNORECASE)
    assert "&lt;script&gt;$x$" in markup
    assert len(markup.encode()) < 1_000_000
    assert all(picture.caption.endswith(".") and picture.title for picture in pictures)
    assert all(picture.png.startswith(b"\x89PNG") for picture in pictures)
    assert drawn() == pictures


def test_a_first_model_has_no_champion_beside_it_and_nothing_that_nobody_looked_at(drawn):
    pictures = drawn(
        champion=False, facts=ReportFacts(labels_mature=True, label_days=2), curve=NO_CURVE, uncalibrated=False
    )
    assert {picture.section for picture in pictures} == {"ranking", "calibration", "scores", "training"}
    assert not any("champion" in picture.svg + picture.caption for picture in pictures)
    assert not any(picture.name.startswith("bias") for picture in pictures)
    assert not any("before calibration" in picture.svg for picture in pictures)


@pytest.mark.parametrize(
    ("edit", "reason", "champion"),
    [
        (lambda frame: frame.assign(click=0, conversion=0), "0 clicks in 6,000 rows", True),
        (lambda frame: frame.assign(click=1, conversion=1), "all 6,000 rows are clicks", False),
        (
            lambda frame: frame.assign(**dict.fromkeys(("p_ctr", "p_cvr", "p_ctcvr"), float("nan"))),
            "6,000 of 6,000",
            True,
        ),
        (lambda frame: frame.head(0), "0 rows", False),
    ],
    ids=["no click", "all converted", "no number", "no row"],
)
def test_what_cannot_be_measured_is_said_within_its_picture(drawn, edit, reason, champion):
    facts = ReportFacts(labels_mature=True, label_days=2)
    pictures = {one.name: one for one in drawn(edit=edit, champion=champion, facts=facts, curve=NO_CURVE)}
    for name in ("roc", "precision_recall_ctr", "scores_ctr"):
        assert reason in " ".join(re.sub(r"<[^>]*>", " ", pictures[name].svg).split())
    assert not any(re.search(r">[^<]*\bnan\b", one.svg, flags=re.IGNORECASE) for one in pictures.values())


def test_loading_the_assets_draws_nothing():
    """matplotlib takes a second to load, which a code location must not pay."""
    code = "import sys, assets.evaluation; print('matplotlib' in sys.modules)"
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "False"
