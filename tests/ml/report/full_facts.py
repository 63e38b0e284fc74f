"""Facts and a training log with everything that a report can show, for the page's tests."""

from datetime import date

from ml.data.delay import DelayCurve, DelayPoint
from ml.evaluation.measurement import Measured, NotMeasurable
from ml.inspection.record import ClusteredPoint, EmbeddingClusters, EmbeddingSpace, FieldImportance, Inspection
from ml.report.facts import Costs, DayUsed, ReportFacts, StageCost

HOSTILE = "<img src=x>\"'&{{ 7 }}</script><script>alert(1)</script>"
DATA = (
    DayUsed(day="2026-11-14", receipt_id="f" * 64, verdict="admitted", rows=24_000, restated=True),
    DayUsed(day="2026-11-13", verdict="refused", why="<script>alert(1)</script>"),
)


def inspection(*, name="field"):
    """An inspection with a measure of each kind, two sides' clusters and a field that could not be measured."""
    few = NotMeasurable(reason="0 conversions in 5 rows")
    points = tuple(ClusteredPoint(x=i / 9, y=(i * 7 % 5) / 5, cluster=i % 3) for i in range(30))

    def space(of, silhouette):
        return EmbeddingSpace(
            space=of, table=f"the {of} table", silhouette=silhouette, explained=Measured(value=0.41), points=points
        )

    return Inspection(
        model_id="c" * 64,
        model="cstwa",
        rows=20_000,
        clicks=4_321,
        conversions=321,
        repeats=2,
        aucs={"ctr": Measured(value=0.7654), "cvr": few},
        importance=(
            FieldImportance(
                field=name,
                losses={"ctr": Measured(value=0.0312), "cvr": few, "ctcvr": Measured(value=-0.0021)},
                spreads={"ctr": 0.0011, "ctcvr": 0.0007},
            ),
            FieldImportance(
                field="page",
                losses={task: Measured(value=0.0412) for task in ("ctr", "cvr", "ctcvr")},
                spreads={"ctr": 0.002, "cvr": 0.0, "ctcvr": 0.0},
            ),
        ),
        measures={
            "curse_escaper.mean_weight": 1.0375,
            "gate.ctr.learner0.general": 0.25,
            "structure_migrator.user.distance": 0.3142,
            "something_new": 7.0,
        },
        clusters=tuple(
            EmbeddingClusters(
                side=side,
                field=f"{side}_id",
                values=1500,
                clusters=8,
                mutual_information=Measured(value=0.2345),
                spaces=(space("ctr", Measured(value=0.1234)), space("cvr", few)),
            )
            for side in ("user", "item")
        ),
        notes=(f"a note on {name}",),
    )


DELAY = DelayCurve(
    conversions=1234,
    window_seconds=2 * 86400,
    within_window=0.9125,
    median_seconds=4000.0,
    points=(DelayPoint(seconds=60, share=0.1), DelayPoint(seconds=604800, share=1)),
)
CHAMPION_INSPECTION = inspection().model_copy(update={"measures": {"curse_escaper.mean_weight": 1.5}})
FULL_FACTS = ReportFacts(
    data_used=DATA,
    labels_mature=False,
    mature_from=date(2026, 11, 18),
    label_days=2,
    delay=DELAY,
    costs=Costs(
        stages=(
            StageCost(stage="ctr_embeddings", wall_seconds=192.0, cpu_seconds=371.0, peak_memory_bytes=1_288_490_188),
            StageCost(
                stage="cvr_model",
                wall_seconds=65.2,
                cpu_seconds=121.0,
                gpu_seconds=60.0,
                price=0.0123,
                note="without the resumed part",
            ),
        ),
        currency="EUR",
        per_cpu_hour=0.04,
        per_gpu_hour=2.5,
    ),
    inspection=inspection(),
    inspection_failures=("the champion's bundle could not be inspected",),
    champion_inspection=CHAMPION_INSPECTION,
)


def selection(reason):
    """A calibration's record for one task, as the training log holds it."""
    return {
        "rows": 1500,
        "positives": 160,
        "candidates": [
            {"method": "none", "log_loss": 0.1208, "pcoc": 0.909, "gain": 0.0, "standard_error": 0.0},
            {"method": "histogram", "field": "page", "refused": "fewer than 50 positives"},
        ],
        "calibrator": {"kind": "none"},
        "reason": reason,
    }


TRAINING = [
    *({"kind": "step", "epoch": 1, "step": step, "loss": 1 / step} for step in range(1, 30)),
    *(
        {
            "kind": "epoch",
            "epoch": epoch,
            "is_best": epoch == 2,
            "validation": {"auc_ctr": 0.7, "loss": 0.5, "model": {"curse_escaper.mean_weight": 1 + epoch / 10}},
        }
        for epoch in (1, 2, 3)
    ),
    {
        "kind": "calibration",
        "option": "auto",
        "cvr": selection("the lowest log loss"),
        "ctcvr": selection(f"nothing better than {HOSTILE}"),
    },
]
