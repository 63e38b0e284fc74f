"""Configuration of ESMM: a shared embedding under a CTR and a CVR tower."""

from __future__ import annotations

from typing import Literal

from ml.models.configs.base import ModelConfig


class Config(ModelConfig):
    """ESMM (Ma et al. 2018); nothing beyond the common preset."""

    name: Literal["esmm"] = "esmm"
