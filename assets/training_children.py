"""Trains in a child process, once among all who want the same model; where checkpoints go is `kept_checkpoints`'."""

from __future__ import annotations

import os
import socket
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path

import dagster as dg

from assets.held_leases import holders_of
from assets.kept_checkpoints import kept_checkpoints
from assets.resources import Platform
from assets.training_runs import run_child
from infra.artifacts import Manifest
from infra.child_process import ChildInterrupted
from ml.training.spec import TrainSpec

#: Of the trainer, in the folder that it is given.
METRICS_FILE = "metrics.jsonl"
#: The exit code of a step process that was given up and found out; EX_TEMPFAIL of sysexits.h.
ORPHANED = 75


def trained(
    platform: Platform,
    train: TrainSpec,
    *,
    find: Callable[[], Manifest | None],
    publish: Callable[[Path], Manifest],
    run_id: str,
    folder: Path,
    log: Callable[[str], None],
    labels: Mapping[str, str] | None = None,
    end_process: Callable[[int], object] = os._exit,
) -> tuple[Manifest, bool]:
    """What training made, published, and whether it was trained here: what `find` finds is not trained again.

    Where the platform keeps checkpoints in the store, a retry on any machine goes on from the newest, and a second run
    of the same training waits for the first. publish: from the folder of what the child made.
    labels: of the metrics that are served while the child trains, where the platform says so; none are without.
    Raises dg.Failure without retries where another run has taken the training over. Where it is this very run, of which
    a later attempt goes on in another pod, this process ends without a word: what it told Dagster would be taken for
    the end of the attempt that lives.
    """
    known = find()
    if known is not None:
        log(f"{known.key} exists: nothing is trained")
        return known, False
    if not platform.checkpoints_in_store:
        with _served(platform, train, labels, folder=folder, log=log):
            out = run_child(platform, "train", train, folder=folder, log=log)
        return publish(out), True
    this_run = holders_of(run_id)
    holder = this_run + socket.gethostname()

    def is_done() -> bool:
        return find() is not None

    with kept_checkpoints(platform, train.identity(), holder=holder, is_done=is_done, log=log) as kept:
        known = find()
        if kept is None or known is not None:
            assert known is not None
            log(f"{known.key} was made by another run meanwhile: nothing is trained")
            return known, False
        try:
            with _served(platform, train, labels, folder=folder, log=log):
                out = run_child(platform, "train", train, folder=folder, log=log, check_interrupt=kept.lost)
            # A machine that stood still may have slept through the loss and finished before the next renewal.
            kept.confirm()
            if kept.lost():
                raise ChildInterrupted("the training was taken over before its result was stored")
        except ChildInterrupted as interrupted:
            if kept.taken_by is not None and kept.taken_by.startswith(this_run):
                end_process(ORPHANED)
            raise dg.Failure(
                description=f"another run has taken over the training of {train.identity()[:12]} and goes on with it, "
                "as this one had not been heard of; it was stopped",
                allow_retries=False,
            ) from interrupted
        manifest = publish(out)
        kept.remove()
        return manifest, True


def _served(
    platform: Platform,
    train: TrainSpec,
    labels: Mapping[str, str] | None,
    *,
    folder: Path,
    log: Callable[[str], None],
) -> AbstractContextManager[object]:
    if platform.metrics_port is None or labels is None:
        return nullcontext()
    from infra.training_metrics import serve_training

    return serve_training(
        folder / "train" / METRICS_FILE,
        port=platform.metrics_port,
        labels={**labels, "model_id": train.identity()[:12]},
        tell=log,
    )
