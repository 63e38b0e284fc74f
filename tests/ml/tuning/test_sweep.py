"""A sweep's file holds what W&B's agents need to run our command, and what they hand over becomes settings again."""

from __future__ import annotations

from typing import Any

import pytest
from wandb.sdk.launch.sweeps.utils import create_sweep_command, create_sweep_command_args

from ml.tuning.dimensions import Choice
from ml.tuning.known_settings import SpaceInvalid
from ml.tuning.objective import OBJECTIVES
from ml.tuning.search_space import SearchSpace, read_space
from ml.tuning.sweep import read_parameters, sweep_config

#: Keys of each kind of parameter, from the JSON schema of W&B's package `sweeps` 0.3.0.
PARAMETER_KEYS = {
    None: {"values"},
    "uniform": {"distribution", "min", "max"},
    "log_uniform_values": {"distribution", "min", "max"},
    "int_uniform": {"distribution", "min", "max"},
    "q_log_uniform_values": {"distribution", "min", "max", "q"},
}


def config_of(space: SearchSpace, objective: Any = "score") -> dict[str, Any]:
    return sweep_config(
        space, objective=OBJECTIVES[objective], name="n", program="postclick", arguments=["tune", "--sweep-trial"]
    )


def test_each_kind_of_dimension_has_its_distribution(space: SearchSpace):
    more = {"weight_decay": {"low": 0, "high": 0.1}, "warmup_steps": {"low": 0, "high": 9}, "optimizer": ["adamw"]}
    more |= {"batch_size": {"low": 100, "high": 10_000, "log": True}}
    parameters = config_of(space)["parameters"] | config_of(read_space(more, model="esmm"))["parameters"]
    assert parameters == {
        "learning_rate": {"distribution": "log_uniform_values", "min": 1e-4, "max": 1e-2},
        "embedding_size": {"values": [4, 8, 12, 16]},
        "tower_widths": {"values": ["[64, 32]", "[128, 64]"]},
        "weight_decay": {"distribution": "uniform", "min": 0.0, "max": 0.1},
        "warmup_steps": {"distribution": "int_uniform", "min": 0, "max": 9},
        "optimizer": {"values": ["adamw"]},
        "batch_size": {"distribution": "q_log_uniform_values", "min": 100, "max": 10_000, "q": 1},
    }
    for parameter in parameters.values():
        assert set(parameter) == PARAMETER_KEYS[parameter.get("distribution")]


def test_the_metric_is_the_best_so_far_in_the_objectives_direction(space: SearchSpace):
    assert config_of(space)["metric"] == {"name": "best_score", "goal": "maximize"}
    assert config_of(space, "loss")["metric"] == {"name": "best_loss", "goal": "minimize"}
    assert config_of(space)["early_terminate"] == {"type": "hyperband", "min_iter": 2, "eta": 3}


def test_what_an_agent_hands_over_becomes_a_space_of_single_values(space: SearchSpace):
    command = create_sweep_command(config_of(space)["command"])
    assert command == ["${env}", "${program}", "tune", "--sweep-trial", "${args_json}"]
    chosen = {"learning_rate": 0.003, "embedding_size": 8, "tower_widths": "[64, 32]", "batch_size": 500}
    handed = create_sweep_command_args({"args": {name: {"value": value} for name, value in chosen.items()}})
    (text,) = handed["args_json"]
    read = read_space(read_parameters(text), model="esmm")
    assert {name: each.values for name, each in read.dimensions.items() if isinstance(each, Choice)} == {
        "learning_rate": (0.003,),
        "embedding_size": (8,),
        "tower_widths": ([64, 32],),
        "batch_size": (500,),
    }
    # Quantized values are floats.
    assert read_space(read_parameters('{"batch_size": 500.0}'), model="esmm").dimensions["batch_size"] == Choice(
        values=(500,)
    )


@pytest.mark.parametrize("text", ["", "[1]", "{"])
def test_what_is_no_object_is_refused(text: str):
    with pytest.raises(SpaceInvalid, match="no JSON object"):
        read_parameters(text)


def test_steps_that_a_sweep_cannot_list_are_refused():
    fine = read_space({"l2": {"low": 0, "high": 1, "step": 0.001}}, model="esmm")
    with pytest.raises(SpaceInvalid, match="1001 steps"):
        config_of(fine)
