"""What `postclick tune` and the job's form accept and refuse before anything runs, and how refusals end."""

import json
import shlex
import subprocess
import sys
from datetime import date
from itertools import pairwise
from pathlib import Path
from typing import Any

import dagster as dg
import pytest
import yaml
from typer.testing import CliRunner

from assets.tuning import train_line
from ml.data.dataset import DatasetSpec
from ml.experiments.scheduling import CoreBudget
from ml.tuning.dimensions import Choice, Range
from orchestration.build import build_platform
from orchestration.command_line import app
from orchestration.definitions import build_definitions
from orchestration.model_arguments import form_values
from orchestration.settings import Settings
from orchestration.tune_job import TUNE
from orchestration.tune_request import read_space_file, tune_request
from tests.orchestration.conftest import TINY

DAY = date(2026, 1, 9)
SPACE: dict[str, Any] = {"learning_rate": {"low": 1e-3, "high": 1e-1, "log": True}}


def request(settings: Settings, spec: DatasetSpec, **changes: Any) -> Any:
    return tune_request(settings, spec, **{"as_of": DAY, "model": None, "space": SPACE, **changes})


def test_what_is_left_out_is_the_dataset_specs(settings: Settings, spec: DatasetSpec):
    found = request(settings, spec, space={})
    assert found.name == "esmm-2026-01-09"
    assert found.out == settings.dataset_home(spec) / "studies" / "esmm-2026-01-09"
    assert found.budget == CoreBudget(cores=settings.threads)
    assert found.model == {
        "name": "esmm", "tower_widths": [8], "tower_dropout": [0.0], "embedding_size": spec.training.embedding_dim
    }  # fmt: skip
    assert found.training == spec.training.training_settings()
    assert set(found.space.dimensions) == {"learning_rate", "batch_size", "l2", "embedding_size"}


def test_what_is_set_is_every_trials_and_is_not_searched(settings: Settings, spec: DatasetSpec):
    changes = ["epochs=2", "embedding_size=8", "seed=5"]
    found = request(settings, spec, space={}, changes=changes, model="mlp", seed=3)
    assert (found.training["epochs"], found.training["seed"], found.seed) == (2, 5, 3)
    assert found.model == {"name": "mlp", "embedding_size": 8}
    assert found.given == {"epochs": 2, "embedding_size": 8, "seed": 5}
    assert set(found.space.dimensions) == {"learning_rate", "batch_size", "l2"}


def test_towers_may_be_searched_with_the_dropout_of_their_depth(settings: Settings, spec: DatasetSpec):
    space = {"tower_widths": [[8, 4], [16, 8]]}
    found = request(settings, spec, space=space, changes=["tower_dropout=[0, 0]"])
    assert found.space.dimensions == {"tower_widths": Choice(values=([8, 4], [16, 8]))}
    with pytest.raises(ValueError, match="give one dropout rate per layer"):
        request(settings, spec, space=space)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"model": "deepfm"}, "model deepfm is unknown; there is aitm"),
        ({"objective": "auc"}, "objective auc is unknown; there is score, auc_ctcvr"),
        ({"pruner": "mine"}, "pruner mine is unknown; there is median, halving, none"),
        ({"changes": ["epochs=0"]}, "epochs: 0"),
        ({"changes": ["learners=2"]}, "model esmm and its training have no such setting"),
        ({"changes": ["epochs"]}, "is not NAME=SPEC"),
        ({"changes": ["learning_rate=0.1"]}, "learning_rate is searched and set at once"),
        ({"space": {"learners": [2]}}, "learners: model esmm and its training have no such setting"),
        ({"trials": 0}, "trials"),
        ({"study": "../elsewhere"}, "name: String should match"),
        ({"cores": 1, "threads": 2}, "2 threads are more than the 1 cores"),
        ({"seed": -1}, "seed"),
    ],
)
def test_what_is_wrong_is_named(settings: Settings, spec: DatasetSpec, changes: dict[str, Any], said: str):
    with pytest.raises(ValueError, match=said):
        request(settings, spec, **changes)


def test_a_space_is_read_from_a_file(tmp_path: Path):
    file = tmp_path / "space.yaml"
    file.write_text("learning_rate: {low: 1e-4, high: 1e-2, log: true}\nbatch_size: [500, 1000]\n")
    assert read_space_file(file)["batch_size"] == [500, 1000]
    for wrong in ("- 1\n", "", "a: [\n"):
        file.write_text(wrong)
        with pytest.raises(ValueError, match=r"the search space .*space\.yaml"):
            read_space_file(file)
    with pytest.raises(ValueError, match="cannot be read"):
        read_space_file(tmp_path / "absent.yaml")


def test_the_best_trials_command_sets_what_the_trial_was_trained_with(settings: Settings, spec: DatasetSpec):
    found = request(settings, spec, changes=["epochs=2", "tower_widths=[4]"])
    line = train_line(build_platform(settings, spec), found, {"learning_rate": 1e-05, "l2": 0.1})
    arguments = shlex.split(line)
    sets = [value for name, value in pairwise(arguments) if name == "--set"]
    form = form_values(spec, model="esmm", preset=None, settings=sets)
    assert {name: form[name] for name in ("learning_rate", "l2", "epochs")} == {
        "learning_rate": 1e-05, "l2": 0.1, "epochs": 2
    }  # fmt: skip
    assert {"name": "esmm", "embedding_size": spec.training.embedding_dim, **form["model"]["esmm"]} == found.model
    assert arguments[:2] == ["postclick", "run"]


def invoke(tmp_path: Path, *arguments: str, **environment: str) -> Any:
    own = {"POSTCLICK_HOME": str(tmp_path), "COLUMNS": "300", **environment}
    return CliRunner().invoke(app, ["tune", "--dataset", str(TINY), "--as-of", "2026-01-09", *arguments], env=own)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--search", "learnin_rate=[0.1]"], "learnin_rate: model esmm"),
        (["--as-of", "2027-01-09"], "lies outside dataset tiny"),
        (["--trials", "0"], "--trials"),
        (["--space", "absent.yaml"], "absent.yaml cannot be read"),
        (["--sweep-trial", '{"l2": 0.1}'], "WANDB_SWEEP_ID"),
    ],
)
def test_the_command_ends_with_wrong_arguments(arguments: list[str], said: str, tmp_path: Path):
    result = invoke(tmp_path, *arguments)
    assert result.exit_code == 2
    assert said in result.output
    assert not (tmp_path / "tiny" / "studies").exists()


def test_a_sweep_is_written_without_any_data(tmp_path: Path):
    file = tmp_path / "sweep.yaml"
    result = invoke(
        tmp_path, "--export-sweep", str(file), "--set", "epochs=2", "--search", "l2=[0.1, 1e-5]", "--objective", "loss"
    )
    assert result.exit_code == 0, result.output
    config = yaml.safe_load(file.read_text())
    assert config["parameters"] == {"l2": {"values": [0.1, 1e-05]}}
    assert config["metric"] == {"name": "best_loss", "goal": "minimize"}
    command = config["command"]
    assert command[:3] == ["${env}", "${program}", "tune"]
    assert command[-2:] == ["--sweep-trial", "${args_json}"]
    assert command[command.index("--dataset") + 1] == str(TINY)
    assert command[command.index("--set") + 1] == "epochs=2"
    # Our own command takes what the agent will call it with, up to the data that is absent here.
    called = [part.replace("${args_json}", '{"l2": 0.1}') for part in command[3:]]
    result = CliRunner().invoke(app, ["tune", *called], env={"POSTCLICK_HOME": str(tmp_path), "WANDB_SWEEP_ID": "s"})
    assert "2026-01-08" in str(result.exception)


def test_the_jobs_form_refuses_in_words(settings: Settings):
    job = build_definitions(settings).resolve_job_def(TUNE)
    quiet = {"console": {"config": {"log_level": "CRITICAL"}}}
    with dg.DagsterInstance.ephemeral() as instance:
        for config, said in (
            ({"as_of": ""}, "is no day"),
            ({"as_of": "2026-01-09", "search": ["learners=[2]"]}, "model esmm and its training have no such setting"),
            ({"as_of": "2026-01-09", "pruner": "halving", "objective": "loss", "model": "mlp"}, "2026-01-08"),
        ):
            form = {"ops": {"run_trials": {"config": config}}, "loggers": quiet}
            result = job.execute_in_process(run_config=form, instance=instance, raise_on_error=False)
            assert not result.success
            (failure,) = [event for event in result.all_events if event.event_type_value == "STEP_FAILURE"]
            data = failure.step_failure_data.user_failure_data
            assert data is not None
            assert said in (data.description or "")


def test_the_code_location_loads_without_what_searches_need():
    code = (
        "import json, sys, orchestration.definitions; heavy = ('torch', 'matplotlib', 'optuna', 'wandb', 'sklearn'); "
        "print(json.dumps([name for name in heavy if name in sys.modules]))"
    )
    root = Path(__file__).parents[2]
    found = subprocess.run([sys.executable, "-c", code], cwd=root, capture_output=True, text=True, check=True)
    assert json.loads(found.stdout.splitlines()[-1]) == []


def test_ranges_of_the_form_are_those_of_the_command(settings: Settings, spec: DatasetSpec):
    assert request(settings, spec).space.dimensions == {"learning_rate": Range(low=1e-3, high=1e-1, log=True)}
