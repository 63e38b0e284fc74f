"""Builds the model that a configuration names; a new model is a file here and one in configs/, nothing else."""

from __future__ import annotations

import importlib

from ml.data.layout import FeatureLayout
from ml.models.configs.base import ModelConfig
from ml.models.contract import ConversionModel
from ml.models.layers.node_graph import Graphs


def build_model(config: ModelConfig, layout: FeatureLayout, *, graphs: Graphs | None = None) -> ConversionModel:
    """The untrained class ``Model`` of ``ml/models/<config.name>.py``, drawn from torch's global random generator.

    Raises ``TypeError`` if that module has no such class.
    """
    module = importlib.import_module(f"ml.models.{config.name}")
    model = getattr(module, "Model", None)
    if not (isinstance(model, type) and issubclass(model, ConversionModel)):
        raise TypeError(f"{module.__name__} has no class Model(ConversionModel)")
    return model(config, layout, graphs=graphs)
