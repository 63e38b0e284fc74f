"""What the judged day's samples add to an evaluation: slices, and the value that rows are bucketed by."""

import numpy as np
import pandas as pd
import pytest

from ml.evaluation.evaluate import Evaluation


@pytest.fixture
def samples(judged_day):
    device = np.where(judged_day.p_click > np.median(judged_day.p_click), "phone", "desk")
    frame = judged_day.labels[["impression_id"]].assign(device=device, shop=np.arange(6000))
    frame.to_parquet(judged_day.folder / "samples.parquet")
    return judged_day.folder / "samples.parquet"


def test_slices_of_the_judged_days_fields_are_measured_and_guarded(judged, judged_day, samples, champion_facts, gate):
    def collapsed(frame):
        phone = pd.read_parquet(samples)["device"].to_numpy() == "phone"
        return frame.assign(p_cvr=np.where(phone, 0.3, frame["p_cvr"]), p_ctcvr=np.where(phone, 0.1, frame["p_ctcvr"]))

    good, bad = judged_day.predictions("a.parquet", noise=0.2), judged_day.predictions("b.parquet", edit=collapsed)
    evaluation = judged(bad, champion=(champion_facts, good), samples=samples, fields=["device", "shop"])
    assert {(found.field, found.value) for found in evaluation.slices} == {("device", "phone"), ("device", "desk")}
    rule = next(rule for rule in evaluation.decision.rules if rule.rule == "no_slice_collapses")
    assert rule.verdict == "fail"
    assert "device phone" in rule.why
    assert Evaluation.from_json(evaluation.to_json()) == evaluation
    assert judged(good, samples=samples, gate=gate.model_copy(update={"slice_fields": ()})).slices == ()
    named = gate.model_copy(update={"slice_fields": ("shop",), "slice_values": 4})
    assert {found.field for found in judged(good, samples=samples, gate=named).slices} == {"shop"}


def test_calibrations_effect_is_shown_by_the_value_field(judged, judged_day, samples, gate):
    def uncalibrated(frame):
        return frame.assign(p_cvr_uncalibrated=frame["p_cvr"] ** 0.5, p_ctcvr_uncalibrated=frame["p_ctcvr"] ** 0.5)

    path = judged_day.predictions("a.parquet", edit=uncalibrated)
    frame = pd.read_parquet(samples).merge(pd.read_parquet(path), on="impression_id")
    by_shop = gate.model_copy(update={"value_field": "shop"})
    evaluation = judged(path, samples=samples, gate=by_shop)
    cvr, ctcvr = evaluation.calibration
    assert (cvr.task, ctcvr.task) == ("cvr", "ctcvr")
    assert {bucket.by for bucket in ctcvr.buckets} == {"score", "shop"}
    first = next(bucket for bucket in ctcvr.buckets if bucket.by == "shop")
    cheapest = frame[frame["shop"] < 600]
    assert (first.bucket, first.rows) == ("0 to 600", 600)
    assert first.after.value == pytest.approx(cheapest["p_ctcvr"].sum() / cheapest["conversion"].sum())
    assert first.before.value == pytest.approx((cheapest["p_ctcvr"] ** 0.5).sum() / cheapest["conversion"].sum())
    assert ctcvr.pcoc.after == evaluation.challenger.tasks["ctcvr"].pcoc
    assert Evaluation.from_json(evaluation.to_json()) == evaluation
    for other in (judged(path, samples=samples), judged(path, gate=by_shop)):
        assert {bucket.by for effect in other.calibration for bucket in effect.buckets} == {"score"}


@pytest.mark.parametrize(("name", "why"), [("price", "no such column"), ("device", "string")])
def test_a_value_field_that_the_samples_lack_is_refused(judged, judged_day, samples, gate, name, why):
    path = judged_day.predictions("a.parquet")
    with pytest.raises(ValueError, match=f"gate.value_field names '{name}'.*{why}"):
        judged(path, samples=samples, gate=gate.model_copy(update={"value_field": name}))
