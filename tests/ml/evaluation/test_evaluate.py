"""A judged day from files: metrics by task, comparison and ceilings, against scikit-learn."""

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import average_precision_score, log_loss, roc_auc_score

from ml.evaluation.evaluate import Evaluation
from ml.evaluation.evaluated_day import ModelFacts
from tests.ml.evaluation.conftest import BASE_RATES


def test_a_first_model_gets_its_metrics_its_ceilings_and_promotion(judged, judged_day):
    edited = {}
    path = judged_day.predictions("a.parquet", noise=0.4, edit=lambda frame: edited.setdefault("frame", frame))
    evaluation = judged(path, truth=judged_day.truth)
    frame = edited["frame"]
    clicked = frame[frame["click"] == 1]
    tasks = evaluation.challenger.tasks
    assert tasks["ctr"].auc.value == pytest.approx(roc_auc_score(frame["click"], frame["p_ctr"]))
    assert tasks["cvr"].auc.value == pytest.approx(roc_auc_score(clicked["conversion"], clicked["p_cvr"]))
    assert tasks["ctcvr"].auc.value == pytest.approx(roc_auc_score(frame["conversion"], frame["p_ctcvr"]))
    assert tasks["cvr"].log_loss.value == pytest.approx(log_loss(clicked["conversion"], clicked["p_cvr"]))
    base = log_loss(frame["conversion"], np.full(len(frame), BASE_RATES["ctcvr"]))
    assert tasks["ctcvr"].base_rate_log_loss.value == pytest.approx(base)
    assert (tasks["cvr"].rows, tasks["cvr"].population) == (len(clicked), "clicked impressions")
    assert evaluation.challenger.units == frame["unit_key"].nunique()
    ceiling = evaluation.ceilings["ctr"]
    assert ceiling.auc.value == pytest.approx(roc_auc_score(frame["click"], judged_day.p_click))
    assert ceiling.share.value == pytest.approx(tasks["ctr"].auc.value / ceiling.auc.value)
    assert ceiling.share_above_chance.value == pytest.approx((tasks["ctr"].auc.value - 0.5) / (ceiling.auc.value - 0.5))
    assert (evaluation.champion, evaluation.comparison) == (None, None)
    assert evaluation.decision.decision == "promoted"


def test_the_models_own_truth_reaches_its_ceiling(judged, judged_day):
    evaluation = judged(judged_day.predictions("a.parquet"), truth=judged_day.truth)
    for ceiling in evaluation.ceilings.values():
        assert ceiling.share.value == pytest.approx(1)
        assert ceiling.share_above_chance.value == pytest.approx(1)


@pytest.mark.parametrize(("ours", "theirs", "expected"), [(0.2, 1.5, "promoted"), (1.5, 0.2, "rejected")])
def test_the_better_model_wins_against_the_champion(judged, judged_day, champion_facts, ours, theirs, expected):
    challenger = judged_day.predictions("a.parquet", noise=ours)
    champion = judged_day.predictions("b.parquet", noise=theirs, edit=lambda frame: frame.iloc[::-1])
    evaluation = judged(challenger, champion=(champion_facts, champion))
    assert evaluation.decision.decision == expected
    difference = evaluation.comparison["ctcvr"].auc_difference
    aucs = [day.tasks["ctcvr"].auc.value for day in (evaluation.challenger, evaluation.champion)]
    assert difference.estimate == pytest.approx(aucs[0] - aucs[1])
    assert evaluation.champion.model == champion_facts
    assert evaluation.champion.day == evaluation.judged_day


def test_the_champion_judged_against_itself_is_not_promoted(judged, judged_day, champion_facts):
    path = judged_day.predictions("a.parquet", noise=0.3)
    evaluation = judged(path, champion=(champion_facts, path))
    assert evaluation.decision.decision == "rejected"
    assert evaluation.comparison["ctcvr"].auc_difference.p_value == 1


def test_the_judged_day_is_the_models_as_of_day(judged, judged_day, challenger_facts):
    evaluation = judged(judged_day.predictions("a.parquet"))
    assert evaluation.judged_day == challenger_facts.as_of
    assert ModelFacts.model_validate_json(challenger_facts.model_dump_json()) == challenger_facts


def test_all_metrics_of_a_task_are_there(judged, judged_day):
    frame = pd.read_parquet(path := judged_day.predictions("a.parquet", noise=0.4))
    evaluation = judged(path)
    metrics = evaluation.challenger.tasks["ctr"]
    assert metrics.pr_auc.value == pytest.approx(average_precision_score(frame["click"], frame["p_ctr"]))
    by_user = frame.groupby("unit_key").filter(lambda rows: 0 < rows["click"].sum() < len(rows))
    areas = by_user.groupby("unit_key").apply(lambda rows: roc_auc_score(rows["click"], rows["p_ctr"]))
    sizes = by_user.groupby("unit_key").size()
    assert metrics.gauc.value == pytest.approx((areas * sizes).sum() / sizes.sum())
    assert metrics.gauc_interval.estimate == pytest.approx(metrics.gauc.value)
    assert metrics.gauc_left_out.value == pytest.approx(1 - len(by_user) / len(frame))
    assert 0 < metrics.ece_by_chance.value < 0.02
    assert evaluation.challenger.order_violations.value == 0
    assert evaluation.challenger.values == ()


def test_predicted_order_values_are_measured_where_a_model_has_them(judged, judged_day):
    edited = {}

    def valued(frame):
        value = np.where(frame["conversion"] == 1, 1 + np.arange(len(frame)) % 7, np.nan)
        edited["frame"] = frame.assign(value=value, value_given_conversion=4.0, expected_value=4 * frame["p_ctcvr"])
        return edited["frame"]

    evaluation = judged(judged_day.predictions("a.parquet", edit=valued))
    converted, impressions = evaluation.challenger.values
    frame = edited["frame"]
    bought = frame.loc[frame["conversion"] == 1, "value"]
    assert (converted.population, converted.rows) == ("converted impressions", len(bought))
    assert converted.bias.value == pytest.approx(4 * len(bought) / bought.sum())
    assert converted.mae.value == pytest.approx((bought - 4).abs().mean())
    assert converted.gini.value == pytest.approx(0)
    assert (impressions.population, impressions.rows) == ("impressions", len(frame))
    assert impressions.bias.value == pytest.approx(frame["expected_value"].sum() / bought.sum())
    assert impressions.gini.value > 0.3
    assert Evaluation.from_json(evaluation.to_json()) == evaluation


def test_the_champion_judged_on_its_own_day_again_is_unchanged(judged, judged_day, good_facts):
    facts = good_facts.model_copy(update={"is_champion": True})
    evaluation = judged(judged_day.predictions("a.parquet"), facts=facts)
    assert evaluation.decision.decision == "unchanged"
    assert evaluation.comparison is None
