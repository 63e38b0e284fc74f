"""Configuration of the MLP baseline: one embedding and one tower per task."""

from __future__ import annotations

from typing import Literal

from ml.models.configs.base import ModelConfig


class Config(ModelConfig):
    """MLP baseline; nothing beyond the common preset."""

    name: Literal["mlp"] = "mlp"
