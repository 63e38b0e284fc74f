"""Dagster's instance for a dataset: its folder and its dagster.yaml; what runs in it is decided elsewhere."""

import os
from importlib import resources
from pathlib import Path

import dagster as dg

from ml.data.dataset import DatasetSpec
from orchestration.settings import Settings


def prepare_dagster_home(settings: Settings, spec: DatasetSpec) -> Path:
    """The dataset's DAGSTER_HOME, made with Postclick's dagster.yaml if it has none; one that is there is kept."""
    folder = settings.dagster_folder(spec)
    folder.mkdir(parents=True, exist_ok=True)
    target = folder / "dagster.yaml"
    if not target.exists():
        text = (resources.files("infra") / "dagster.yaml").read_text(encoding="utf-8")
        part = folder / f".dagster.yaml.{os.getpid()}"
        part.write_text(text, encoding="utf-8")
        part.replace(target)
    return folder


def open_instance(settings: Settings, spec: DatasetSpec) -> dg.DagsterInstance:
    """The instance that the UI shows for this dataset, so that what the command line runs is seen there."""
    return dg.DagsterInstance.from_config(str(prepare_dagster_home(settings, spec)))
