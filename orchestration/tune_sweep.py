"""A search by Weights & Biases: the sweep's file, and one trial for the agent that runs it; the rest is W&B's."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import yaml

from assets.resources import Platform
from assets.tuning_trials import Trials, TuningRequest
from infra.sweep_run import SWEEP_ID, SweepRun
from ml.atomic_files import atomic_file
from ml.data.dataset import DatasetSpec
from ml.tuning.dimensions import Choice, choice_key
from ml.tuning.objective import OBJECTIVES
from ml.tuning.records import as_yaml
from ml.tuning.search import Proposal, TrialFailed, Watch
from ml.tuning.sweep import metric_name, read_parameters, sweep_config

_PROGRAM = "postclick"
DONE, FAILED = 0, 1


def write_sweep(platform: Platform, request: TuningRequest, file: Path) -> str:
    """Write the search as a W&B sweep; returns what to do with the file. SpaceInvalid where W&B cannot hold it."""
    dataset = [] if platform.dataset_argument is None else ["--dataset", platform.dataset_argument]
    sets = [part for name, value in request.given.items() for part in ("--set", f"{name}={as_yaml(value)}")]
    arguments = [
        *("tune", *dataset, "--as-of", request.as_of.isoformat(), "--model", str(request.model["name"])),
        *("--objective", request.objective, *sets),
        *("--cores", str(request.budget.threads), "--threads", str(request.budget.threads), "--sweep-trial"),
    ]
    config = sweep_config(
        request.space,
        objective=OBJECTIVES[request.objective],
        name=request.name,
        program=_PROGRAM,
        arguments=arguments,
    )
    with atomic_file(file) as unfinished:
        unfinished.write_text(yaml.safe_dump(config, sort_keys=False, width=10_000), encoding="utf-8")
    project = platform.tracking.project
    return (
        f"now: wandb sweep --project {project} {file}; then, where {_PROGRAM} is on the PATH and POSTCLICK_HOME is set "
        "as here: wandb agent with the id that it prints"
    )


def sweep_space(parameters: str, *, sweep_id: str | None) -> dict[str, Any]:
    """The settings that an agent hands over, for `tune_request`; ValueError where they are none, or none called it."""
    if sweep_id is None:
        raise ValueError(f"--sweep-trial is called by `wandb agent`, which sets {SWEEP_ID}; for a search leave it out")
    return read_parameters(parameters)


def run_sweep_trial(
    platform: Platform, spec: DatasetSpec, request: TuningRequest, *, tell: Callable[[str], None]
) -> int:
    """Train the one setting of the request and log its validation epochs to the agent's run; the exit code.

    Each epoch is a step: epoch, the objective, and under `metric_name` the best so far, by which the sweep is judged.
    """
    objective = OBJECTIVES[request.objective]
    with platform.scratch("sweep-trial") as folder:
        trials = Trials(platform, spec, request, out=folder)
        values: list[float] = []
        try:
            with SweepRun(folder=platform.tracking.folder) as run:

                def note(epoch: int, value: float) -> bool:
                    values.append(value)
                    run.log({"epoch": epoch, objective.name: value, metric_name(objective): objective.best(values)})
                    # Ending a trial early is the sweep's: its agent sends SIGTERM.
                    return False

                trials.run(Proposal(number=0, origin=0, parameters=_only(request)), Watch(note=note), lambda: False)
        except TrialFailed as fault:
            tell(str(fault))
            return FAILED
    tell(f"{metric_name(objective)} {objective.best(values)}" if values else "no epoch was reported")
    return DONE if values else FAILED


def _only(request: TuningRequest) -> dict[str, Any]:
    """The parameters of a space of single values."""
    return {
        name: choice_key(dimension.values[0])
        for name, dimension in request.space.dimensions.items()
        if isinstance(dimension, Choice)
    }
