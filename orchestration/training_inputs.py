"""Embeddings and graphs as of a day, materialized for commands that train without being assets; no command here."""

from collections.abc import Callable
from datetime import date

from assets.resources import DataRefused, Platform
from assets.training_runs import training_window
from ml.data.dataset import DatasetSpec
from orchestration.definitions import build_definitions
from orchestration.experiment_job import EXPERIMENT_INPUTS, INPUT_ASSETS
from orchestration.instance import open_instance
from orchestration.runs import run_asset_job
from orchestration.settings import Settings


def require_inputs(
    platform: Platform, settings: Settings, spec: DatasetSpec, day: date, *, tell: Callable[[str], None]
) -> None:
    """Materialize the as-of day's embeddings and graphs where one is absent; DataRefused says why they cannot be."""
    if all(platform.artifacts.find(f"{asset}/{day.isoformat()}") for asset in INPUT_ASSETS):
        return
    training_window(platform, as_of=day, policy=spec.window)
    with open_instance(settings, spec) as instance:
        run = run_asset_job(build_definitions(settings), instance, EXPERIMENT_INPUTS, day=day, tell=tell)
    if why := run.refusal or run.fault:
        raise DataRefused(f"the embeddings and graphs of {day} could not be made: {why}")
