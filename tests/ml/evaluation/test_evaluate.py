import json

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import log_loss, roc_auc_score

from ml.evaluation.evaluate import Evaluation, evaluate
from ml.evaluation.evaluated_day import ModelFacts

BASE_RATES = {"ctr": 0.3, "cvr": 0.35, "ctcvr": 0.1}


@pytest.fixture
def judged(judged_day, gate, good_facts, challenger_facts):
    def run(predictions, **changed):
        arguments = {
            "model": challenger_facts,
            "champion": None,
            "truth": None,
            "gate": gate,
            "facts": good_facts,
            "base_rates": BASE_RATES,
        }
        return evaluate(predictions=predictions, **{**arguments, **changed})

    return run


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


def test_same_files_in_another_order_give_the_same_bytes(judged, judged_day):
    path = judged_day.predictions("a.parquet", noise=0.3)
    first = judged(path, truth=judged_day.truth).to_json()
    other = judged_day.folder / "b.parquet"
    pd.read_parquet(path).sample(frac=1, random_state=0).to_parquet(other)
    assert judged(other, truth=judged_day.truth).to_json() == first


def test_json_has_sorted_keys_and_reads_back(judged, judged_day, champion_facts):
    path = judged_day.predictions("a.parquet", noise=0.3)
    evaluation = judged(path, champion=(champion_facts, path), truth=judged_day.truth)
    text = evaluation.to_json()
    assert json.dumps(json.loads(text), sort_keys=True, indent=2, ensure_ascii=False) + "\n" == text
    assert Evaluation.from_json(text) == evaluation


@pytest.mark.parametrize(
    ("edit", "task"),
    [
        (lambda frame: frame.assign(click=1), "ctr"),
        (lambda frame: frame.assign(click=0, conversion=0), "ctcvr"),
        (lambda frame: frame.assign(conversion=0), "cvr"),
        (lambda frame: frame.head(0), "ctr"),
    ],
    ids=["all clicked", "no click", "no conversion", "no row"],
)
def test_days_of_one_class_are_answered_in_words_and_never_crash(judged, judged_day, champion_facts, edit, task):
    path = judged_day.predictions("a.parquet", noise=0.3, edit=edit)
    evaluation = judged(path, champion=(champion_facts, path), truth=judged_day.truth)
    assert evaluation.challenger.tasks[task].auc.kind == "not_measurable"
    assert evaluation.ceilings[task].share.kind == "not_measurable"
    assert evaluation.decision.decision in {"insufficient_evidence", "rejected"}
    assert "NaN" not in evaluation.to_json()


def test_a_log_where_every_impression_is_clicked_can_still_promote(judged, judged_day):
    evaluation = judged(judged_day.predictions("a.parquet", edit=lambda frame: frame.assign(click=1)))
    assert evaluation.challenger.tasks["ctr"].auc.kind == "not_measurable"
    assert evaluation.decision.decision == "promoted"


@pytest.mark.parametrize("bad", [np.nan, np.inf, -0.1, 1.5])
def test_a_model_with_predictions_that_are_no_probabilities_is_rejected(judged, judged_day, bad):
    def spoil(frame):
        return frame.assign(p_ctcvr=frame["p_ctcvr"].where(np.arange(len(frame)) >= 3, bad))

    evaluation = judged(judged_day.predictions("a.parquet", edit=spoil))
    assert evaluation.challenger.unusable_predictions == 3
    assert evaluation.decision.decision == "rejected"
    assert any("3 of 6,000" in reason for reason in evaluation.decision.reasons)


def test_the_base_rate_must_be_told_and_be_a_share(judged, judged_day):
    path = judged_day.predictions("a.parquet")
    evaluation = judged(path, base_rates={})
    assert evaluation.decision.decision == "insufficient_evidence"
    with pytest.raises(ValueError, match=r"base rate of ctr is 1\.5"):
        judged(path, base_rates={"ctr": 1.5})


def test_the_judged_day_is_the_models_as_of_day(judged, judged_day, challenger_facts):
    evaluation = judged(judged_day.predictions("a.parquet"))
    assert evaluation.judged_day == challenger_facts.as_of
    assert ModelFacts.model_validate_json(challenger_facts.model_dump_json()) == challenger_facts
