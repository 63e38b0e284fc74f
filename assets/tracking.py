"""Mirrors models and evaluations to the experiment tracker; nothing here can fail or stall a run."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from assets.resources import Platform
from infra.tracking import TrackedRun, record


def mirror_training(platform: Platform, model_id: str, *, log: Callable[[str], None]) -> None:
    """Mirror a trained model: its settings, its curves and the bundle as an artifact, grouped by as-of day."""
    artifact = platform.artifacts.open(f"models/{model_id}")
    facts: Any = artifact.manifest.metadata
    directory = artifact.directory()
    _mirror(
        platform,
        log=log,
        run_id=f"{model_id[:40]}-train",
        name=model_id[:12],
        group=facts["as_of"],
        job_type="train",
        config=facts,
        curves=directory / "metrics.jsonl",
        artifact_dir=directory,
        artifact_name=f"cvr-model-{model_id[:12]}",
    )


def mirror_evaluation(
    platform: Platform,
    *,
    model_id: str,
    as_of: str,
    config: Mapping[str, Any],
    rows: Sequence[Mapping[str, Any]],
    log: Callable[[str], None],
) -> None:
    """Mirror an evaluation: its final table, beside the model's training run."""
    _mirror(
        platform,
        log=log,
        run_id=f"{model_id[:40]}-evaluate-{as_of}",
        name=model_id[:12],
        group=as_of,
        job_type="evaluate",
        config=dict(config),
        table_rows=[dict(row) for row in rows],
    )


def _mirror(platform: Platform, *, log: Callable[[str], None], **run: Any) -> None:
    tracking = platform.tracking
    tracked = TrackedRun(
        project=tracking.project,
        mode="online" if tracking.online else "offline",
        directory=tracking.folder,
        **run,
    )
    record(
        tracked,
        command=tracking.command,
        timeout_seconds=tracking.timeout_seconds,
        environment=tracking.environment,
        log=log,
    )
