"""The option `--dataset` of all commands, and what every command begins with: settings, and the dataset in force."""

from typing import Annotated

import typer

from infra.structured_logs import describe
from ml.data.dataset import DatasetSpec
from orchestration.settings import Settings, prepare_process, read_settings

DatasetOption = Annotated[
    str | None, typer.Option("--dataset", help="A dataset spec: its path or, if it ships, its name.")
]


def open_dataset(dataset: str | None) -> tuple[Settings, DatasetSpec]:
    """The settings with this dataset, or the one that they name, and its spec; the process is prepared for work."""
    settings = read_settings({"dataset": dataset} if dataset else {})
    prepare_process(settings)
    spec = settings.dataset_spec()
    describe(dataset=spec.name)
    return settings, spec
