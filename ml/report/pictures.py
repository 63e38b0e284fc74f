"""All pictures of a report in the order of their sections; each subject's module draws its own."""

from __future__ import annotations

from ml.evaluation.evaluate import Evaluation
from ml.evaluation.judged_rows import JudgedRows
from ml.report.calibration_pictures import draw_biases, draw_reliability
from ml.report.delay_picture import draw_delay_curve
from ml.report.embedding_pictures import draw_embeddings
from ml.report.facts import ReportFacts
from ml.report.importance_pictures import draw_importance
from ml.report.measure_pictures import draw_measures
from ml.report.picture import Picture
from ml.report.ranking_pictures import draw_ranking
from ml.report.score_pictures import draw_scores
from ml.report.task_curves import day_curves
from ml.report.training_curve import TrainingCurve
from ml.report.training_pictures import draw_training


def draw_pictures(
    *,
    rows: JudgedRows,
    champion: JudgedRows | None,
    curve: TrainingCurve,
    evaluation: Evaluation,
    facts: ReportFacts,
) -> list[Picture]:
    """Every picture that the inputs allow, each with its `section`; no two share a name.

    rows, and the champion's of the same impressions, are those that `evaluation` judged: its numbers are written
    beside the curves. What cannot be measured says so within its picture; what nobody looked at (no inspection, no
    calibration, no delay curve) has none.
    """
    challenger = day_curves(rows, day=evaluation.challenger)
    other = day_curves(champion, day=evaluation.champion) if champion and evaluation.champion else None
    pictures = [
        *draw_ranking(challenger, other),
        *draw_reliability(challenger, other),
        *draw_biases(evaluation.calibration, gate=evaluation.gate),
        *draw_scores(rows),
        *draw_training(curve),
    ]
    if facts.delay is not None:
        pictures.append(draw_delay_curve(facts.delay))
    pictures += draw_measures(curve, facts.inspection)
    if facts.inspection is not None:
        pictures += draw_embeddings(facts.inspection.clusters)
        pictures += draw_importance(facts.inspection)
    return pictures
