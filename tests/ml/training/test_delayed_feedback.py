"""Delayed feedback: unbiased on a large sample with known delays, its curve against a loop, and what runs record."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from ml.bundle import load_bundle, smoke_test
from ml.commands import train
from ml.data.encoded_day import EncodedDay
from ml.data.vocabulary import Vocabulary
from ml.training import trainer
from ml.training.delayed_feedback import DelayCurve, DelayedFeedback, DelaysUnknown, correct_for_delay
from ml.training.inputs import InputRefused, read_window
from ml.training.spec import TrainSpec
from ml.training.termination import Termination

MakeSpec = Callable[..., TrainSpec]
SCALE, WINDOW = 40_000.0, 3 * 86_400.0


def encoded(*, conversion: Sequence[int], elapsed: Sequence[float] | None, delay: Sequence[float] | None) -> EncodedDay:
    rows = len(conversion)
    return EncodedDay(
        features=np.zeros((rows, 1), dtype=np.int32),
        sequences={},
        click=np.ones(rows, dtype=np.uint8),
        conversion=np.array(conversion, dtype=np.uint8),
        value=np.zeros(rows, dtype=np.float32),
        vocabulary_digest="v",
        samples_content_id="s",
        elapsed=None if elapsed is None else np.array(elapsed, dtype=np.float32),
        delay=None if delay is None else np.array(delay, dtype=np.float32),
    )


def mature_day(delays: Sequence[float]) -> EncodedDay:
    return encoded(conversion=[1] * len(delays), elapsed=[np.inf] * len(delays), delay=delays)


def correct(days: Sequence[EncodedDay], *, cap: float = 10.0, held_out: Any = None) -> DelayedFeedback:
    rows = sum(day.rows for day in days)
    return correct_for_delay(days, held_out=np.ones(rows, dtype=bool) if held_out is None else held_out, cap=cap)


def test_targets_are_unbiased_where_labels_are_too_low() -> None:
    """Exponential delays cut off at W, clicks of all ages: a loss linear in the target is unbiased if its mean is."""
    random, rows, p = np.random.default_rng(0), 400_000, 0.2
    delay = -SCALE * np.log1p(-random.random(2 * rows) * -np.expm1(-WINDOW / SCALE))
    converts = random.random(2 * rows) < p
    elapsed = random.uniform(4_000.0, WINDOW, rows)
    seen = converts[rows:] & (delay[rows:] <= elapsed)
    old = encoded(
        conversion=converts[:rows].astype(int),
        elapsed=np.full(rows, np.inf),
        delay=np.where(converts[:rows], delay[:rows], np.nan),
    )
    new = encoded(conversion=seen.astype(int), elapsed=elapsed, delay=np.where(seen, delay[rows:], np.nan))
    target = correct([old, new], cap=100.0).days[1].conversion.astype(np.float64)

    share_seen = np.expm1(-elapsed / SCALE) / np.expm1(-WINDOW / SCALE)
    # Of the targets' own noise, and of F, which is itself counted on the mature conversions.
    own = target.std() / np.sqrt(rows)
    of_curve = p * np.sqrt(np.mean((1 - share_seen) / share_seen) / converts[:rows].sum())
    standard_error = np.hypot(own, of_curve)
    assert abs(target.mean() - p) < 3 * standard_error
    assert standard_error < 0.01 * p

    bias = p * (share_seen.mean() - 1)
    assert bias < -0.1 * p
    assert abs(seen.mean() - p - bias) < 3 * seen.std() / np.sqrt(rows)
    assert abs(seen.mean() - p) > 10 * standard_error


@settings(deadline=None)
@given(
    st.lists(st.floats(0, 1e6, width=32), min_size=1, max_size=30), st.lists(st.floats(0, 1e6, width=32), max_size=30)
)
def test_the_curve_is_the_share_of_delays_at_most_as_long(delays: list[float], elapsed: list[float]) -> None:
    curve = DelayCurve(np.sort(np.array(delays, dtype=np.float32)))
    found = curve.share_seen(np.array([*elapsed, np.inf], dtype=np.float32))
    expected = [sum(delay <= at for delay in delays) / len(delays) for at in elapsed]
    assert found.tolist() == pytest.approx([*expected, 1.0])


def test_only_conversions_of_immature_rows_change_and_no_target_exceeds_the_cap() -> None:
    day = encoded(
        conversion=[1, 1, 1, 0, 1],
        elapsed=[50.5, np.inf, 10.5, 10.5, 0.0],
        delay=[5, 7, 3, np.nan, 0],
    )
    mature = mature_day(list(range(1, 101)))
    answer = correct([mature, day], cap=8.0)
    assert answer.days[0].conversion is mature.conversion
    # 100 mature delays 1..100 and this day's own of 7: 51 of 101 are at most 50.5, 11 at most 10.5.
    assert answer.days[1].conversion.tolist() == pytest.approx([101 / 51, 1, 8, 0, 8])
    assert answer.facts["immature_rows"] == 4
    assert answer.facts["immature_conversions"] == 3
    assert answer.facts["mature_conversions"] == 101
    assert answer.facts["capped_conversions"] == 2
    assert answer.facts["conversions_made_up_for"] == pytest.approx(101 / 51 + 8 + 8 - 3, abs=1e-3)
    assert answer.shortfall is None
    assert correct([mature, day], cap=1.0).days[1].conversion.tolist() == [1, 1, 1, 0, 1]


def test_too_few_mature_conversions_leave_the_labels_and_say_so() -> None:
    day = encoded(conversion=[1, 0], elapsed=[50.0, 60.0], delay=[5, np.nan])
    answer = correct([mature_day(range(99)), day])
    assert answer.shortfall == "not fitted: too few mature conversions (99 < 100)"
    assert (answer.facts["fitted"], answer.facts["reason"]) == (False, answer.shortfall)
    assert answer.days[1] is day
    assert answer.judged is None
    assert correct([day]).facts["mature_conversions"] == 0


def test_validation_keeps_the_mature_rows_where_these_hold_enough_conversions() -> None:
    days = [mature_day(range(150)), encoded(conversion=[1, 0], elapsed=[50.0, np.inf], delay=[5, np.nan])]
    answer = correct(days)
    assert answer.judged is not None
    assert answer.judged.tolist() == [True] * 150 + [False, True]
    assert answer.facts["validated_on"] == "mature held-out rows"
    few = correct(days, held_out=np.arange(152) < 99)
    assert few.judged is None
    assert few.facts["validated_on"] == "all held-out rows"


def test_days_that_do_not_say_how_old_their_labels_are_are_refused() -> None:
    empty = encoded(conversion=[], elapsed=None, delay=None)
    with pytest.raises(DelaysUnknown, match="samples s lack them"):
        correct([mature_day(range(150)), encoded(conversion=[1], elapsed=None, delay=None)])
    assert correct([mature_day(range(150)), empty]).shortfall is None


def run(spec: TrainSpec, out: Path) -> tuple[str, ...]:
    out.mkdir()
    return trainer.run(spec, out, Termination())


@pytest.fixture
def make_cvr_spec(make_spec: MakeSpec, tmp_path: Path) -> Callable[..., TrainSpec]:
    """make_cvr_spec(**changes): a spec of task cvr whose vocabulary is built, of samples with times."""

    def make(*, samples: dict[str, Any], rows: int = 1200, **changes: Any) -> TrainSpec:
        pretraining = tmp_path / "pretraining"
        if not pretraining.exists():
            run(make_spec(rows=rows, samples=samples, epochs=1), pretraining)
        inputs = {"vocabulary_dir": pretraining / "vocabulary", "vocabulary_version": "v1"}
        return make_spec(task="cvr", rows=rows, samples=samples, inputs=inputs, **changes)

    return make


def _log(out: Path, kind: str) -> list[dict[str, Any]]:
    lines = [json.loads(line) for line in (out / "metrics.jsonl").read_text().splitlines()]
    return [line for line in lines if line["kind"] == kind]


@pytest.mark.parametrize("model", [{"name": "esmm"}, {"name": "mlp"}, {"name": "cstwa", "structure_migrator": False}])
def test_a_run_trains_on_targets_and_keeps_what_was_done(
    make_cvr_spec: Callable[..., TrainSpec], tmp_path: Path, model: dict[str, Any]
) -> None:
    seen = {"seen_until": datetime(2026, 11, 4, tzinfo=UTC)}  # of three days, the first alone is mature
    spec = make_cvr_spec(samples=seen, model=model, delayed_feedback="elapsed_time", delayed_feedback_cap=20)
    assert run(spec, tmp_path / "out") == ()
    (record,) = _log(tmp_path / "out", "delayed_feedback")
    assert record["fitted"] is True
    assert record["mature_conversions"] >= 100
    assert 2350 < record["immature_rows"] < 2450
    assert 0.3 < record["conversions_made_up_for"] / record["immature_conversions"] < 1.5
    bundle = load_bundle(tmp_path / "out" / "bundle")
    assert smoke_test(bundle) <= 1e-6
    assert "delayed_feedback" in (tmp_path / "out" / "bundle" / "metrics.jsonl").read_text()
    plain = make_cvr_spec(samples=seen, model=model)
    run(plain, tmp_path / "plain")
    assert _log(tmp_path / "plain", "delayed_feedback") == []
    assert load_bundle(tmp_path / "plain" / "bundle").manifest.files != bundle.manifest.files


def test_a_window_validates_on_mature_rows_and_trains_on_targets(make_cvr_spec: Callable[..., TrainSpec]) -> None:
    seen = {"seen_until": datetime(2026, 11, 4, tzinfo=UTC)}
    spec = make_cvr_spec(samples=seen, rows=2500, validation_share=0.5, delayed_feedback="elapsed_time")
    assert spec.inputs.vocabulary_dir is not None
    vocabulary = Vocabulary.load(spec.inputs.vocabulary_dir)
    window = read_window(spec, vocabulary)
    plain = read_window(spec.model_copy(update={"delayed_feedback": "none"}), vocabulary)
    assert window.delayed_feedback is not None
    assert window.delayed_feedback["validated_on"] == "mature held-out rows"
    assert window.batches.training_rows == plain.batches.training_rows
    assert window.batches.validation_rows < 0.4 * plain.batches.validation_rows
    assert {t for batch in window.batches.validation() for t in batch.conversion.tolist()} == {0.0, 1.0}
    targets, labels = (torch.cat([batch.conversion for batch in each.batches.training(1)]) for each in (window, plain))
    assert torch.equal(targets > 0, labels > 0)
    assert targets.max() > 1.5
    assert plain.delayed_feedback is None
    assert labels.max() == 1


def test_a_run_that_cannot_correct_says_so_in_its_log_and_its_exit_record(
    make_cvr_spec: Callable[..., TrainSpec], tmp_path: Path
) -> None:
    seen = {"seen_until": datetime(2026, 11, 2, 12, tzinfo=UTC)}
    spec = make_cvr_spec(samples=seen, rows=200, delayed_feedback="elapsed_time")
    path = tmp_path / "spec.json"
    path.write_text(spec.model_dump_json())
    assert train.run(path, tmp_path / "out") == 0
    reason = "not fitted: too few mature conversions (0 < 100)"
    assert [(line["fitted"], line["reason"]) for line in _log(tmp_path / "out", "delayed_feedback")] == [
        (False, reason)
    ]
    record = json.loads((tmp_path / "out" / "exit.json").read_text())
    assert (record["status"], record["shortfalls"]) == ("ok", [f"delayed_feedback {reason}"])


def test_samples_without_times_are_refused(make_cvr_spec: Callable[..., TrainSpec], tmp_path: Path) -> None:
    spec = make_cvr_spec(samples={}, rows=50, delayed_feedback="elapsed_time")
    with pytest.raises(InputRefused, match="or set delayed_feedback to none"):
        run(spec, tmp_path / "out")


def test_a_stage_that_the_samples_lack_is_refused_before_training(
    make_cvr_spec: Callable[..., TrainSpec], tmp_path: Path
) -> None:
    model = {"name": "esmm", "auxiliary_tasks": ["cart"]}
    spec = make_cvr_spec(samples={"carts": True}, rows=100, model=model)
    run(spec, tmp_path / "out")
    assert set(_log(tmp_path / "out", "step")[0]["losses"]) == {"click", "conversion", "cart"}
    wanted = make_cvr_spec(samples={"carts": True}, rows=100, model={**model, "auxiliary_tasks": ["favourite"]})
    with pytest.raises(InputRefused, match="'favourite', of which the samples of 2026-11-01, 2026-11-02, 2026-11-03"):
        run(wanted, tmp_path / "refused")
    assert not (tmp_path / "refused" / "metrics.jsonl").exists()


def test_the_identity_knows_delayed_feedback_only_where_it_is_on(make_spec: MakeSpec) -> None:
    def identity(task: str = "cvr", **changes: Any) -> str:
        inputs = {"vocabulary_dir": "/x", "vocabulary_version": "v1"} if task == "cvr" else {}
        return make_spec(task=task, rows=5, inputs=inputs, **changes).identity()

    on = {"delayed_feedback": "elapsed_time"}
    assert identity(delayed_feedback_cap=5) == identity()
    assert len({identity(), identity(**on), identity(**on, delayed_feedback_cap=5)}) == 3
    assert identity("ctr_pretraining", **on) == identity("ctr_pretraining")
