"""evaluation.json: the same bytes for the same files, and files of earlier versions are still read."""

import json

import pandas as pd

from ml.evaluation.evaluate import Evaluation


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


def test_an_evaluation_written_before_these_metrics_is_still_read(judged, judged_day, champion_facts):
    path = judged_day.predictions("a.parquet")
    old = json.loads(judged(path, champion=(champion_facts, path)).to_json())
    for day in (old["challenger"], old["champion"]):
        for task in day["tasks"].values():
            for name in ("pr_auc", "gauc", "gauc_interval", "gauc_left_out", "ece_by_chance", "pcoc_interval"):
                del task[name]
        del day["order_violations"], day["values"]
    for compared in old["comparison"].values():
        del compared["gauc_difference"]
    del old["slices"], old["facts"]["is_champion"], old["calibration"]
    del old["gate"]["value_field"], old["gate"]["pcoc_gross"]
    old["gate"] |= {"pcoc_low": 0.2, "pcoc_high": 5.0}
    read = Evaluation.from_json(json.dumps(old))
    assert read.challenger.tasks["ctr"].gauc.reason == "not measured when this was written"
    assert read.slices == ()
    assert read.calibration == ()
    assert read.challenger.tasks["ctcvr"].pcoc_interval.reason == "not measured when this was written"
    assert (read.gate.pcoc_high, read.gate.value_field) == (5.0, None)
