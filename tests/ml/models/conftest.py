"""Every model and its variants under one layout that has all kinds of fields, with samples to train on; what a model
must do is in the tests."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch

from ml.data.batches import Batch
from ml.data.layout import FeatureLayout
from ml.models.configs.base import AuxiliaryTasksConfig
from ml.models.configs.catalog import config_classes, parse_model_config
from ml.models.contract import ConversionModel
from ml.models.factory import build_model
from ml.models.layers.node_graph import Graphs

VARIANTS: dict[str, list[dict[str, Any]]] = {
    "calibration": [
        *({"structure": name} for name in ("ctr_concat", "cvr_gate", "cvr_gate_concat", "single_task")),
        {"stages": ["cart"], "triplet_weight": 0.5, "bias_at_scoring": True},
    ],
    "cstwa": [
        {"recent_predictions": 5},
        {"refresh": "batch", "propagation_layers": 2, "first_migrating_epoch": 1, "weighting": "constant"},
        {"structure_migrator": False, "click_perceptron": False, "curse_escaper": False},
    ],
    "escm2": [{"variant": "ips"}, {"variant": "ips", "self_normalised": True}, {"imputation_gradient": "joint"}],
    "gmv": [{"attention": "separate", "value_head": "ziln"}, {"attention": "none", "value_head": "none"}],
    "ple": [{"levels": 3, "specific_experts": 2}, {"levels": 1}],
    "taml": [
        {"learners": 3, "general_experts": 2, "learner_experts": 2},
        {"learners": 1},
        {"general_experts": 3, "task_experts": 0, "learner_experts": 0},
    ],
}
"""What is worth a run beside a model's defaults; a model that is not here runs with its defaults alone."""


def _variants() -> list[dict[str, Any]]:
    return [{"name": name, **change} for name in config_classes() for change in ({}, *VARIANTS.get(name, []))]


def _with_auxiliary_tasks() -> list[dict[str, Any]]:
    takes_them = [name for name, config in config_classes().items() if issubclass(config, AuxiliaryTasksConfig)]
    return [{"name": name, "auxiliary_tasks": ["favourite", "cart"]} for name in takes_them]


def _id(values: dict[str, Any]) -> str:
    return "-".join([values["name"], *(f"{key}={value}" for key, value in values.items() if key != "name")])


@pytest.fixture(params=_variants(), ids=_id)
def model_values(request: pytest.FixtureRequest) -> dict[str, Any]:
    """The settings of every model: its defaults, then its variants."""
    return request.param


@pytest.fixture(params=[*_variants(), *_with_auxiliary_tasks()], ids=_id)
def all_values(request: pytest.FixtureRequest) -> dict[str, Any]:
    """Those of ``model_values``, and extra tasks for every model that takes them."""
    return request.param


@pytest.fixture(params=sorted(config_classes()))
def model_defaults(request: pytest.FixtureRequest) -> dict[str, Any]:
    """Every model with its defaults alone."""
    return {"name": request.param}


@pytest.fixture(params=_with_auxiliary_tasks(), ids=_id)
def auxiliary_values(request: pytest.FixtureRequest) -> dict[str, Any]:
    """Every model that takes extra tasks, with two of them."""
    return request.param


@pytest.fixture
def every_layout(listed_layout: FeatureLayout) -> FeatureLayout:
    """``listed_layout`` (each kind of field, a plain and a weighted sequence) with a bias field."""
    columns = [column.model_copy(update={"bias": column.name == "hour"}) for column in listed_layout.columns]
    return listed_layout.model_copy(update={"columns": tuple(columns)})


@pytest.fixture
def build(every_layout: FeatureLayout, graphs: Graphs) -> Callable[..., ConversionModel]:
    """build(values, seed=0, for_training=True): the model in training mode, without dropout, with embeddings of
    spread 1 unless ``values`` says otherwise; with its graphs if it is for training."""

    def make(values: dict[str, Any], *, seed: int = 0, for_training: bool = True) -> ConversionModel:
        torch.manual_seed(seed)
        config = parse_model_config({"embedding_std": 1.0, **_without_dropout(values), **values})
        return build_model(config, every_layout, graphs=graphs if for_training else None)

    return make


def _without_dropout(values: dict[str, Any]) -> dict[str, Any]:
    fields = config_classes()[values["name"]].model_fields
    return {name: [0.0] * len(info.default) for name, info in fields.items() if name.endswith("dropout")}


@pytest.fixture
def make_samples(make_batch: Callable[..., Batch], make_listed_batch: Callable[..., Batch]) -> Callable[..., Batch]:
    """make_samples(rows, seed=0, click_rate=.5, conversion_rate=.5, target=1, clicked_rows=0): samples of
    ``every_layout`` with the labels of all stages and the values of orders. A conversion's target is ``target``; the
    last ``clicked_rows`` are clicked."""

    def make(
        rows: int,
        *,
        seed: int = 0,
        click_rate: float = 0.5,
        conversion_rate: float = 0.5,
        target: float = 1.0,
        clicked_rows: int = 0,
    ) -> Batch:
        random = np.random.default_rng([seed, 2])
        click = make_batch(rows, seed=seed, click_rate=click_rate).click
        click[rows - clicked_rows :] = 1
        converted = click * torch.from_numpy(random.random(rows) < conversion_rate)
        return dataclasses.replace(
            make_listed_batch(rows, seed=seed),
            click=click,
            conversion=converted * target,
            value=converted * torch.from_numpy(random.lognormal(2.0, 1.5, rows)).float(),
            clicked_rows=clicked_rows,
        )

    return make
