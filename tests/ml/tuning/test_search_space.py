"""Spaces are held against the model and the trainer: what is wrong is named before anything is run."""

from __future__ import annotations

from typing import Any

import pytest

from ml.models.configs.catalog import config_classes, model_names, parse_model_config
from ml.training.settings import TrainingSettings
from ml.tuning.dimensions import Choice, Range
from ml.tuning.known_settings import NOT_SEARCHED, SpaceInvalid, read_fixed
from ml.tuning.search_space import (
    SearchSpace,
    default_space,
    parse_assignments,
    read_space,
    require_possible,
    split_settings,
)


def test_ranges_and_values_are_of_the_settings_own_types(space: SearchSpace):
    assert space.dimensions == {
        "batch_size": Choice(values=(500, 1000, 2000)),
        "embedding_size": Range(low=4, high=16, step=4),
        "learning_rate": Range(low=1e-4, high=1e-2, log=True),
        "tower_widths": Choice(values=([64, 32], [128, 64])),
    }
    assert type(space.dimensions["embedding_size"].low) is int  # pyright: ignore
    # YAML 1.1 reads 1e-4 as text.
    read = read_space(parse_assignments(["learning_rate={low: 1e-4, high: 1e-2, log: true}"]), model="esmm")
    assert read.dimensions["learning_rate"] == space.dimensions["learning_rate"]
    assert read_space({"learning_rate": ["1e-4", 1]}, model="esmm").dimensions["learning_rate"] == Choice(
        values=(0.0001, 1.0)
    )


def test_a_hyper_parameter_may_be_written_with_its_models_prefix():
    found = read_space({"model.weight_magnitude": {"low": 1, "high": 4}}, model="cstwa")
    assert found.dimensions == {"weight_magnitude": Range(low=1.0, high=4.0)}


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ({"learnin_rate": [0.1]}, "learnin_rate: model esmm and its training have no such setting; there are aux"),
        ({"learners": [2]}, "model esmm and its training have no such setting"),
        ({"model.epochs": [2]}, "no such setting; there are auxiliary_tasks, auxiliary_weight, embedding_size"),
        ({"name": ["mlp"]}, "no such setting"),
        ({"learning_rate": {"low": 0.1, "high": 3}}, "learning_rate: 3: Input should be less than or equal to 1"),
        ({"learning_rate": {"low": 0, "high": 0.1}}, "greater than 0"),
        ({"batch_size": {"low": 1.5, "high": 3}}, "valid integer"),
        ({"batch_size": {"low": 1, "high": 3, "step": 0.5}}, "whole numbers, and step is 0.5"),
        ({"batch_size": {"low": 1, "high": 8, "step": 3}}, "no number of steps of 3 leads to high 8"),
        ({"batch_size": {"low": 8, "high": 8}}, "low 8 must lie below high 8"),
        ({"batch_size": {"low": 8}}, "high: Field required"),
        ({"l2": {"low": 0, "high": 1, "log": True}}, "does not reach low 0"),
        ({"l2": {"low": 0.1, "high": 1, "log": True, "step": 0.1}}, "log or step, not both"),
        ({"optimizer": ["sgd"]}, "'sgd': Input should be 'adam', 'adamw' or 'adagrad'"),
        ({"optimizer": {"low": 1, "high": 2}}, "no number, so it has no range"),
        ({"tower_widths": [64]}, "valid tuple"),
        ({"batch_size": [500, 500]}, "not distinct"),
        ({"batch_size": []}, "at least 1 item"),
        ({"batch_size": 500}, "neither a list of values nor a range"),
        ({"epochs": [2], "model.embedding_size": [4], "embedding_size": [8]}, "embedding_size is named twice"),
        ({}, "a search space is settings by name"),
        ({"seed": [1, 2]}, "the best of several seeds is luck"),
    ],
)
def test_what_is_wrong_is_named(content: dict[str, Any], said: str):
    with pytest.raises(SpaceInvalid, match=said):
        read_space(content, model="esmm")


def test_all_faults_are_told_at_once():
    with pytest.raises(SpaceInvalid, match=r"foo: .*; l2: 'x'"):
        read_space({"foo": [1], "l2": ["x"]}, model="esmm")


@pytest.mark.parametrize("name", sorted(NOT_SEARCHED))
def test_what_validation_rows_cannot_judge_is_not_searched(name: str):
    with pytest.raises(SpaceInvalid, match=f"{name}: it is not searched"):
        read_space({name: [1]}, model="esmm")


@pytest.mark.parametrize("model", model_names())
def test_names_of_models_and_training_differ_and_every_model_has_a_default_space(model: str):
    assert not set(config_classes()[model].model_fields) & set(TrainingSettings.model_fields)
    config = parse_model_config({"name": model})
    space = default_space(config)
    assert {"learning_rate", "batch_size", "l2"} <= set(space.dimensions)
    require_possible(space, training={}, model={"name": model})


def test_the_default_space_leaves_what_is_fixed_and_the_pretrained_tables_width():
    config = parse_model_config({"name": "cstwa", "warm_start_ctr": True})
    assert set(default_space(config, fixed=["l2"]).dimensions) == {"batch_size", "learning_rate"}
    with pytest.raises(SpaceInvalid, match="every setting of the default space is fixed"):
        default_space(config, fixed=["l2", "batch_size", "learning_rate"])


def test_settings_of_all_trials_are_checked_one_by_one():
    assert read_fixed({"epochs": 3, "seed": 1, "model.tower_dropout": [0, 0.5]}, model="esmm") == {
        "epochs": 3,
        "seed": 1,
        "tower_dropout": [0.0, 0.5],
    }
    with pytest.raises(SpaceInvalid, match=r"epochs: 0: .*; min_count: model esmm and its training have no such"):
        read_fixed({"epochs": 0, "min_count": 3}, model="esmm")


def test_a_space_no_combination_of_which_can_be_trained_is_refused(space: SearchSpace):
    with pytest.raises(SpaceInvalid, match=r"tower_widths \[64, 32\] has 2 layers and tower_dropout"):
        require_possible(space, training={}, model={"name": "esmm"})
    require_possible(space, training={}, model={"name": "esmm", "tower_dropout": [0.1, 0.1]})
    mixed = read_space({"optimizer": ["adam", "adamw"]}, model="esmm")
    require_possible(mixed, training={"weight_decay": 0.1}, model={"name": "esmm"})


def test_parameters_become_settings_again(space: SearchSpace):
    values = space.values({"tower_widths": "[128, 64]", "batch_size": 500, "learning_rate": 0.001})
    assert values == {"tower_widths": [128, 64], "batch_size": 500, "learning_rate": 0.001}
    assert split_settings(values) == ({"batch_size": 500, "learning_rate": 0.001}, {"tower_widths": [128, 64]})
    switches = read_space({"structure_migrator": [True, False]}, model="cstwa")
    assert switches.values({"structure_migrator": False}) == {"structure_migrator": False}


@pytest.mark.parametrize("assignment", ["learning_rate", "=[1]", "l2=[1"])
def test_an_argument_that_is_no_assignment_is_refused(assignment: str):
    with pytest.raises(SpaceInvalid, match=r"is not NAME=SPEC|is no YAML"):
        parse_assignments([assignment])
