"""Configuration of ESMM: a shared embedding under a CTR and a CVR tower."""

from __future__ import annotations

from typing import Literal

from ml.models.configs.base import AuxiliaryTasksConfig


class Config(AuxiliaryTasksConfig):
    """ESMM (Ma et al. 2018); beyond the common preset, extra tasks."""

    name: Literal["esmm"] = "esmm"
