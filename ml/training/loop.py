"""The training loop: epochs, steps, early stopping; a step's mathematics is the model's, files are the trainer's."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch

from ml.data.batches import Batch, WindowBatches
from ml.data.placement import Batches, on_device
from ml.models.contract import ConversionModel, Losses
from ml.training.checkpoint import Checkpoints, Run
from ml.training.diagnosis import Divergence, TrainingDiverged, first_bad_tensor, gradient_norm
from ml.training.exit_record import peak_memory_bytes
from ml.training.forward_pass import forward_pass
from ml.training.optimizers import Optimizers
from ml.training.progress import MetricsLog, Progress
from ml.training.run_state import BestEpoch, RunState
from ml.training.spec import TrainSpec
from ml.training.termination import Terminated, Termination
from ml.training.validation import Validation, validate

RECORDS_PER_EPOCH = 50
"""Points of an epoch's loss curve; where the device is no CPU, reading the loss is all that makes a step wait for
it."""


@dataclass(frozen=True)
class TrainingOutcome:
    """Which epoch the model now holds, how many were run, and the best one's validation."""

    best_epoch: int
    epochs_run: int
    validation: Validation


def run_epochs(
    *,
    model: ConversionModel,
    optimizers: Optimizers,
    batches: WindowBatches,
    spec: TrainSpec,
    metrics: MetricsLog,
    progress: Progress,
    termination: Termination,
    checkpoints: Checkpoints | None = None,
) -> TrainingOutcome:
    """Trains ``model`` in place for at most ``spec.epochs`` epochs and leaves it with the best epoch's weights.

    After each epoch the validation rows decide: a score above the best is a gain; ``spec.patience`` epochs without
    one end the run. Without validation rows every epoch is run and the last kept. Same inputs, seed and thread count:
    the same bits on a CPU, whether the run was interrupted and went on from a checkpoint or not.
    Raises ``TrainingDiverged`` when the loss or the gradient of a dense parameter is not finite (before the step is
    made; off the CPU, at the steps whose loss is recorded), ``Terminated`` after the step in which SIGTERM came, with
    a checkpoint kept.
    """
    checkpoints = checkpoints or Checkpoints(None)
    state = RunState()
    device = torch.device(spec.runtime.device)
    run = Run(model, optimizers, state, metrics, progress, device, order=batches.shuffle)
    placed = on_device(batches, device)
    losses_of = forward_pass(model, spec)
    with termination.deferred():
        if checkpoints.resume(run):
            print(f"resumed in epoch {state.epoch} after {state.step} of {batches.training_batches} steps", flush=True)
        try:
            while not state.is_finished(spec):
                _train_epoch(
                    run, losses_of, placed, spec,
                    steps=batches.training_batches, checkpoints=checkpoints, termination=termination,
                )  # fmt: skip
                validation = validate(
                    model, placed.validation(), task=spec.task, device=device, check=termination.check
                )
                _judge_epoch(run, validation, spec)
                termination.check()
        except Terminated:
            checkpoints.save(run)
            raise
    assert state.best is not None
    epochs_run = state.epoch - 1
    if state.best.epoch < epochs_run:
        model.load_state_dict(state.best.state)
    return TrainingOutcome(best_epoch=state.best.epoch, epochs_run=epochs_run, validation=state.best.validation)


def _train_epoch(
    run: Run,
    losses_of: Callable[[Batch], Losses],
    batches: Batches,
    spec: TrainSpec,
    *,
    steps: int,
    checkpoints: Checkpoints,
    termination: Termination,
) -> None:
    """Those of the epoch's ``steps`` that are still to be done."""
    state = run.state
    steps_before = (state.epoch - 1) * steps
    record_every = max(1, steps // RECORDS_PER_EPOCH)
    reads_every_loss = run.device.type == "cpu"
    dense = list(run.model.dense_parameters())
    if state.step == 0:
        run.progress.start_epoch(state.epoch)
        run.model.start_epoch(state.epoch)
    for host_batch in batches.training(state.epoch, skip=state.step):
        batch = host_batch.to(run.device)
        losses = losses_of(batch)
        losses.total.backward()
        state.losses.add({"total": losses.total, **losses.parts}, len(batch))
        state.step += 1
        state.rows += len(batch)
        is_recorded = state.step % record_every == 0 or state.step == steps
        read = state.losses.read() if is_recorded else {"total": losses.total.item()} if reads_every_loss else {}
        # The gradient only where the loss is recorded: looking at all of it costs 3 % of a step.
        checked = (*read.values(), gradient_norm(dense)) if is_recorded else read.values()
        if not all(map(math.isfinite, checked)):
            since = 1 if reads_every_loss else record_every
            raise _diverged(run, read, batch, spec, step=steps_before + state.step, steps_since_checked=since)
        rate = run.optimizers.rate
        run.optimizers.step()
        if is_recorded:
            _record_step(run, read, step=steps_before + state.step, learning_rate=rate)
        run.progress.rows_done(state.rows)
        if checkpoints.is_due():
            checkpoints.save(run)
        termination.check()


def _record_step(run: Run, means: dict[str, float], *, step: int, learning_rate: float) -> None:
    total = means.pop("total")
    run.progress.loss(total)
    run.metrics.add(
        "step",
        epoch=run.state.epoch,
        step=step,
        rows=run.state.rows,
        loss=total,
        losses=means,
        learning_rate=learning_rate,
        samples_per_second=round(run.progress.speed(run.state.rows), 1),
        **_memory(run.device),
    )


def _memory(device: torch.device) -> dict[str, int]:
    """Bytes that the process has held at most, and of a GPU's those that it holds; asking makes nothing wait."""
    of_process = {"peak_memory_bytes": peak_memory_bytes()}
    if device.type != "cuda":
        return of_process
    now, peak = torch.cuda.memory_allocated(device), torch.cuda.max_memory_allocated(device)
    return {**of_process, "gpu_memory_bytes": now, "peak_gpu_memory_bytes": peak}


def _judge_epoch(run: Run, validation: Validation, spec: TrainSpec) -> None:
    """Keeps the weights where the epoch is the best so far, and goes on to the next."""
    state = run.state
    if validation.loss is not None and not math.isfinite(validation.loss):
        raise TrainingDiverged(
            f"the validation loss is {validation.loss} after epoch {state.epoch}; learning_rate is "
            f"{spec.learning_rate}: try a smaller one"
        )
    is_gain = state.best is None or validation.score is None or _score(validation) > _score(state.best.validation)
    run.metrics.add(
        "epoch",
        epoch=state.epoch,
        is_best=is_gain,
        validation=validation.record(),
        seconds=round(run.progress.seconds, 3),
    )
    if is_gain:
        weights = {name: value.detach().clone() for name, value in run.model.state_dict().items()}
        state.best = BestEpoch(state.epoch, validation, weights)
        state.without_gain = 0
    else:
        state.without_gain += 1
    state.end_epoch()


def _score(validation: Validation) -> float:
    return -math.inf if validation.score is None else validation.score


def _diverged(
    run: Run, losses: dict[str, float], batch: Batch, spec: TrainSpec, *, step: int, steps_since_checked: int
) -> TrainingDiverged:
    first_bad = first_bad_tensor(run.model, batch)
    where = first_bad or "none that a second pass shows: dropout fell otherwise in it"
    since = f"in one of the {steps_since_checked} steps up to" if steps_since_checked > 1 else "in step"
    return TrainingDiverged(
        f"the loss or its gradient is not finite in epoch {run.state.epoch}, {since} {step}: {losses}; "
        f"first bad tensor: {where}; learning_rate is {spec.learning_rate}: try a smaller one, or clip_norm",
        Divergence(run.state.epoch, step, steps_since_checked, losses, first_bad, batch),
    )
