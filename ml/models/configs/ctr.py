"""Configuration of the CTR model whose embeddings the similarity graphs are made of."""

from __future__ import annotations

from typing import ClassVar, Literal

from ml.models.configs.base import ModelConfig, Task


class Config(ModelConfig):
    """CTR pre-training (CSTWA section 3.2): embedding → concatenation → click tower."""

    task: ClassVar[Task] = "ctr_pretraining"

    name: Literal["ctr"] = "ctr"
