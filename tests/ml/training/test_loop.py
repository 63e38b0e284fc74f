"""Early stopping, the best epoch's weights, divergence and SIGTERM, with fakes in place of model and window."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from ml.data.batches import Batch
from ml.data.layout import FeatureLayout
from ml.evaluation.metrics import NotMeasurable
from ml.models.configs.esmm import Config
from ml.models.contract import ConversionModel, Losses, Predictions
from ml.models.esmm import Model
from ml.training import loop
from ml.training.loop import TrainingDiverged, TrainingOutcome, run_epochs
from ml.training.optimizers import Optimizers
from ml.training.progress import MetricsLog, Progress
from ml.training.spec import TrainSpec
from ml.training.termination import Terminated, Termination
from ml.training.validation import Validation


class FakeWindow:
    """Two training batches an epoch and one for validation."""

    training_batches = 2
    validation_rows = 8
    shuffle = "fake"

    def __init__(self, make_batch: Callable[..., Batch], on_batch: Callable[[int, int], None] | None = None) -> None:
        self._make_batch = make_batch
        self._on_batch = on_batch or (lambda epoch, number: None)

    def training(self, epoch: int, *, skip: int = 0) -> Iterator[Batch]:
        for number in range(skip, 2):
            self._on_batch(epoch, number)
            yield self._make_batch(8, seed=10 * epoch + number)

    def validation(self) -> Iterator[Batch]:
        yield self._make_batch(8, seed=99)


def _validation(score: float | None) -> Validation:
    reason = NotMeasurable(reason="fake")
    return Validation(rows=8, loss=0.5, auc_ctr=reason, auc_cvr=reason, auc_ctcvr=reason, score=score, score_is="fake")


@pytest.fixture
def run(
    layout: FeatureLayout, make_batch: Callable[..., Batch], make_spec: Callable[..., TrainSpec], tmp_path: Path
) -> Callable[..., tuple[TrainingOutcome, ConversionModel, MetricsLog]]:
    def start(
        *,
        window: FakeWindow | None = None,
        model: ConversionModel | None = None,
        termination: Termination | None = None,
        **changes: Any,
    ) -> tuple[TrainingOutcome, ConversionModel, MetricsLog]:
        spec = make_spec(rows=20, days=1, **changes)
        torch.manual_seed(0)
        trained = model or Model(Config(), layout)
        log = MetricsLog(tmp_path / "metrics.jsonl")
        outcome = run_epochs(
            model=trained,
            optimizers=Optimizers(trained, spec.optimizer_settings()),
            batches=window or FakeWindow(make_batch),  # type: ignore[arg-type]
            spec=spec,
            metrics=log,
            progress=Progress(epochs=spec.epochs, rows_per_epoch=16, every_seconds=100),
            termination=termination or Termination(),
        )
        return outcome, trained, log

    return start


def _epochs_of(log: MetricsLog) -> list[dict[str, Any]]:
    return [record for record in log.records if record["kind"] == "epoch"]


@pytest.mark.parametrize(
    ("scores", "patience", "best", "run_epochs_"),
    [
        ([0.5, 0.6, 0.6, 0.9], 1, 2, 3),
        ([0.5, 0.4, 0.6, 0.5, 0.4], 2, 3, 5),
        ([0.9, 0.1, 0.2, 0.3], 0, 1, 4),
        ([None, None, None], 1, 3, 3),
    ],
)
def test_early_stopping_keeps_the_best_epoch(
    run: Callable[..., Any],
    monkeypatch: pytest.MonkeyPatch,
    scores: list[float | None],
    patience: int,
    best: int,
    run_epochs_: int,
) -> None:
    remaining, states = iter(scores), []

    def judge(model: ConversionModel, *_: Any, **__: Any) -> Validation:
        states.append({name: value.clone() for name, value in model.state_dict().items()})
        return _validation(next(remaining))

    monkeypatch.setattr(loop, "validate", judge)
    outcome, model, log = run(epochs=len(scores), patience=patience)
    assert (outcome.best_epoch, outcome.epochs_run) == (best, run_epochs_)
    assert [record["epoch"] for record in _epochs_of(log)] == list(range(1, run_epochs_ + 1))
    for name, value in model.state_dict().items():
        assert torch.equal(value, states[best - 1][name]), name
    assert not torch.equal(states[0]["ctr_head.unit.weight"], states[1]["ctr_head.unit.weight"])


def test_a_diverging_loss_stops_the_run_with_a_remedy(run: Callable[..., Any], layout: FeatureLayout) -> None:
    model = Model(Config(), layout)
    torch.nn.init.constant_(model.ctr_head.unit.bias, float("nan"))
    with pytest.raises(TrainingDiverged, match=r"epoch 1, in step 1: .*parameter ctr_head.*try a smaller one"):
        run(model=model)


def test_the_step_whose_loss_is_not_finite_is_not_made(
    run: Callable[..., Any], layout: FeatureLayout, make_batch: Callable[..., Batch]
) -> None:
    """On a CPU every step is looked at, recorded or not; weights stay as the step before left them."""
    model, seen = Model(Config(), layout), []

    def break_labels(epoch: int, number: int) -> None:
        seen.append({name: value.clone() for name, value in model.state_dict().items()})

    class BrokenWindow(FakeWindow):
        def training(self, epoch: int, *, skip: int = 0) -> Iterator[Batch]:
            for number, batch in enumerate(super().training(epoch, skip=skip)):
                if (epoch, number) == (2, 1):
                    batch.click[5] = float("nan")
                yield batch

    with pytest.raises(TrainingDiverged, match=r"in epoch 2, in step 4: .*input click \[8\]: 1 NaN") as caught:
        run(window=BrokenWindow(make_batch, break_labels), model=model, epochs=3)
    divergence = caught.value.divergence
    assert divergence is not None
    assert (divergence.epoch, divergence.step, divergence.steps_since_checked) == (2, 4, 1)
    assert divergence.batch.click.isnan().sum() == 1
    for name, value in model.state_dict().items():
        assert torch.equal(value, seen[-1][name]), name


def test_a_gradient_that_is_not_finite_stops_the_step_though_its_loss_is(
    run: Callable[..., Any], layout: FeatureLayout
) -> None:
    model = Model(Config(), layout)
    loss, calls = model.loss, []

    def broken(predictions: Predictions, batch: Batch) -> Losses:
        calls.append(len(batch))
        losses = loss(predictions, batch)
        if len(calls) != 2:
            return losses
        # 0 · √0: a term of nothing whose gradient is NaN.
        return Losses(losses.total + (0 * model.ctr_head.unit.weight).sqrt().sum(), losses.parts)

    model.loss = broken  # type: ignore[method-assign]
    with pytest.raises(TrainingDiverged, match=r"in step 2: .*tensor: gradient ctr_head\.unit\.weight \[1, 32\]"):
        run(model=model)
    assert model.ctr_head.unit.weight.isfinite().all()


def test_records_hold_the_rate_of_their_step(run: Callable[..., Any]) -> None:
    _, _, log = run(epochs=2, patience=0, learning_rate=0.1, warmup_steps=4)
    rates = [record["learning_rate"] for record in log.records if record["kind"] == "step"]
    assert rates == pytest.approx([0.025, 0.05, 0.075, 0.1])


def test_records_hold_the_memory_of_the_process_and_of_a_gpu_none_on_a_cpu(run: Callable[..., Any]) -> None:
    _, _, log = run(epochs=1)
    steps = [record for record in log.records if record["kind"] == "step"]
    assert all(record["peak_memory_bytes"] > 2**20 for record in steps)
    assert not any("gpu_memory_bytes" in record for record in steps)
    assert "memory" not in log.deterministic_lines()


def test_sigterm_in_the_validation_ends_it_after_the_batch(
    run: Callable[..., Any], make_batch: Callable[..., Batch], tmp_path: Path
) -> None:
    class SlowValidation(FakeWindow):
        def validation(self) -> Iterator[Batch]:
            yield make_batch(8, seed=98)
            os.kill(os.getpid(), signal.SIGTERM)
            yield make_batch(8, seed=99)
            raise AssertionError("the validation goes on")

    termination = Termination()
    with termination.listening(), pytest.raises(Terminated):
        run(window=SlowValidation(make_batch), termination=termination, epochs=5)


def test_a_validation_loss_that_is_not_finite_stops_the_run(
    run: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    broken = _validation(None).model_copy(update={"loss": float("nan")})
    monkeypatch.setattr(loop, "validate", lambda *_, **__: broken)
    with pytest.raises(TrainingDiverged, match="the validation loss is nan after epoch 1"):
        run()


def test_sigterm_ends_the_run_after_the_step(
    run: Callable[..., Any], make_batch: Callable[..., Batch], tmp_path: Path
) -> None:
    def send(epoch: int, number: int) -> None:
        if (epoch, number) == (2, 0):
            os.kill(os.getpid(), signal.SIGTERM)

    termination = Termination()
    before = signal.getsignal(signal.SIGTERM)
    with termination.listening(), pytest.raises(Terminated):
        run(window=FakeWindow(make_batch, send), termination=termination, epochs=5)
    lines = [json.loads(line) for line in (tmp_path / "metrics.jsonl").read_text().splitlines()]
    steps = [(line["epoch"], line["step"]) for line in lines if line["kind"] == "step"]
    assert steps == [(1, 1), (1, 2), (2, 3)]  # steps count on from epoch to epoch
    assert signal.getsignal(signal.SIGTERM) == before


def test_the_loss_curve_is_the_mean_per_row(run: Callable[..., Any]) -> None:
    _, _, log = run(epochs=1)
    steps = [record for record in log.records if record["kind"] == "step"]
    assert [record["rows"] for record in steps] == [8, 16]
    for record in steps:
        assert record["loss"] == pytest.approx(sum(record["losses"].values()), rel=1e-5)
