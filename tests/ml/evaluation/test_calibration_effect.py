"""What calibration did on a judged day: levels before and after it by bucket, against loops over the rows."""

import numpy as np
import pandas as pd
import pytest

from ml.evaluation.calibration_effect import calibration_effects
from ml.evaluation.evaluated_day import TASKS
from ml.evaluation.judged_rows import JudgedRows, read_predictions
from ml.evaluation.measurement import NotMeasurable
from ml.evaluation.metrics import expected_calibration_error, log_loss, pcoc
from ml.evaluation.task_metrics import task_metrics

NOTHING = NotMeasurable(reason="not resampled here")


@pytest.fixture
def day():
    """2,000 rows whose uncalibrated conversion predictions are too high, most of all where they are low."""
    generator = np.random.default_rng(3)
    rows = 2000
    p_ctr, p_cvr = generator.uniform(0.1, 0.9, rows), np.round(generator.uniform(0.02, 0.5, rows), 2)
    click = generator.random(rows) < p_ctr
    conversion = click & (generator.random(rows) < p_cvr)
    return JudgedRows(
        impression_id=pd.Series([f"i{row:04d}" for row in range(rows)]),
        units=generator.integers(0, 300, rows),
        click=click.astype(np.uint8),
        conversion=conversion.astype(np.uint8),
        probabilities={"ctr": p_ctr, "cvr": p_cvr, "ctcvr": p_ctr * p_cvr},
        position=np.arange(rows),
        values={},
        uncalibrated={"cvr": np.sqrt(p_cvr), "ctcvr": np.sqrt(p_ctr * p_cvr)},
    )


def effects(rows, **values):
    tasks = {task: task_metrics(rows, task, base_rate=None, interval=NOTHING, grouped=NOTHING) for task in TASKS}
    return {found.task: found for found in calibration_effects(rows, tasks=tasks, values=values)}


def replaced(rows, **changed):
    return JudgedRows(**{**{name: getattr(rows, name) for name in rows.__dataclass_fields__}, **changed})


def slow_buckets(value, *, labels, before, after):
    """(rows, positives, PCOC before, PCOC after) of each range of a tenth of the rows, ties together."""
    ordered = sorted(value)
    lowest = sorted({ordered[part * len(ordered) // 10] for part in range(10)})
    answer = []
    for low, high in zip(lowest, [*lowest[1:], np.inf], strict=True):
        members = [row for row in range(len(value)) if low <= value[row] < high]
        found = sum(int(labels[row]) for row in members)
        levels = [sum(side[row] for row in members) / found for side in (before, after)]
        answer.append((len(members), found, *levels))
    return answer


@pytest.mark.parametrize("task", ["cvr", "ctcvr"])
def test_levels_by_score_and_by_value_equal_loops_over_the_rows(day, task):
    price = np.random.default_rng(4).integers(1, 60, day.click.size) / 2
    effect = effects(day, price=price)[task]
    chosen = day.chosen(task)
    sides = {"labels": day.labels(task)[chosen], "before": day.uncalibrated[task][chosen]}
    sides["after"] = day.probabilities[task][chosen]
    for by, value in (("score", sides["before"]), ("price", price[chosen])):
        expected = slow_buckets(value, **sides)
        found = [bucket for bucket in effect.buckets if bucket.by == by]
        assert [(one.rows, one.positives) for one in found] == [(rows, positives) for rows, positives, *_ in expected]
        assert [one.observed.value for one in found] == pytest.approx([found / rows for rows, found, *_ in expected])
        assert [one.before.value for one in found] == pytest.approx([before for *_, before, _ in expected])
        assert [one.after.value for one in found] == pytest.approx([after for *_, after in expected])
    assert (effect.rows, effect.positives) == (chosen.sum(), day.conversion.sum())
    assert sum(one.rows for one in effect.buckets) == 2 * effect.rows


def test_the_whole_populations_metrics_are_those_of_both_predictions(day):
    effect = effects(day)["cvr"]
    chosen = day.chosen("cvr")
    labels = day.conversion[chosen]
    for found, scores in (("before", day.uncalibrated["cvr"]), ("after", day.probabilities["cvr"])):
        shared = {"labels": labels, "probabilities": scores[chosen]}
        assert getattr(effect.log_loss, found) == log_loss(**shared)
        assert getattr(effect.pcoc, found) == pcoc(**shared, outcome="conversions")
        assert getattr(effect.ece, found) == expected_calibration_error(**shared)
    assert effect.log_loss.after.value < effect.log_loss.before.value


def test_low_scores_that_are_too_high_are_seen_and_mended(day):
    by_score = [bucket for bucket in effects(day)["ctcvr"].buckets if bucket.by == "score"]
    assert len(by_score) == 10
    assert by_score[0].before.value > 2 * by_score[-1].before.value > 2
    assert by_score[0].after.value < by_score[0].before.value / 2


def test_predicted_order_values_are_a_value_that_every_row_has(day):
    values = {"value": np.zeros(2000), "value_given_conversion": np.arange(2000.0), "expected_value": np.zeros(2000)}
    effect = effects(replaced(day, values=values))["ctcvr"]
    by_value = [bucket for bucket in effect.buckets if bucket.by == "value_given_conversion"]
    assert [bucket.rows for bucket in by_value] == [200] * 10
    assert by_value[0].bucket == "0 to 200"
    assert not [bucket for bucket in effects(day)["ctcvr"].buckets if bucket.by != "score"]


def test_rows_without_the_value_are_a_bucket_of_their_own(day):
    price = np.where(np.arange(2000) < 500, np.nan, 7.0)
    found = [bucket for bucket in effects(day, price=price)["ctcvr"].buckets if bucket.by == "price"]
    assert [(bucket.bucket, bucket.rows) for bucket in found] == [("7", 1500), ("(missing)", 500)]


def test_a_bucket_without_conversions_says_so(day):
    price = np.where(day.conversion == 1, 9.0, 1.0)
    cheap, dear = [bucket for bucket in effects(day, price=price)["ctcvr"].buckets if bucket.by == "price"]
    reason = f"0 conversions in {cheap.rows:,} rows"
    assert (cheap.before.reason, cheap.after.reason, cheap.observed.value) == (reason, reason, 0)
    assert dear.observed.value == 1


def test_days_without_clicks_or_conversions_have_no_levels(day):
    nobody = replaced(day, click=day.click * 0, conversion=day.conversion * 0)
    clicks, impressions = effects(nobody).values()
    assert (clicks.rows, clicks.buckets, clicks.pcoc.before.reason) == (0, (), "0 rows")
    assert impressions.pcoc.before == impressions.pcoc.after
    assert {bucket.before.reason for bucket in impressions.buckets} >= {"0 conversions in 200 rows"}


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_predictions_that_are_no_numbers_have_no_level(day, bad):
    spoilt = np.where(np.arange(2000) < 3, bad, day.uncalibrated["ctcvr"])
    price = np.where(np.arange(2000) < 1000, 1.0, 2.0)
    effect = effects(replaced(day, uncalibrated={"ctcvr": spoilt}), price=price)["ctcvr"]
    assert "3 of 2,000 predictions are not finite" in effect.log_loss.before.reason
    *measured, absent = [bucket for bucket in effect.buckets if bucket.by == "score"]
    assert {bucket.before.kind for bucket in measured} == {"measured"}
    assert (absent.bucket, absent.rows) == ("(missing)", 3)
    cheap, dear = [bucket for bucket in effect.buckets if bucket.by == "price"]
    assert "not finite" in cheap.before.reason
    assert (cheap.after.kind, dear.before.kind) == ("measured", "measured")


def test_a_file_without_uncalibrated_columns_has_no_effect(judged_day):
    plain = read_predictions(judged_day.predictions("a.parquet"))
    assert plain.uncalibrated == {}
    assert effects(plain) == {}


def test_uncalibrated_columns_are_read_in_the_rows_order(judged_day):
    def edit(frame):
        numbers = frame["impression_id"].str[1:].astype(float)
        return frame.assign(p_cvr_uncalibrated=numbers / 6000, p_ctcvr_uncalibrated=numbers / 12000)

    rows = read_predictions(judged_day.predictions("a.parquet", edit=edit))
    assert set(rows.uncalibrated) == {"cvr", "ctcvr"}
    assert np.array_equal(rows.uncalibrated["cvr"], np.arange(6000) / 6000)
    assert np.array_equal(rows.uncalibrated["ctcvr"], np.arange(6000) / 12000)
