"""Configuration of TAML: how many experts and learners there are, and how much the learners teach each other."""

from __future__ import annotations

from typing import ClassVar, Literal

from pydantic import Field

from ml.models.configs.experts_base import ExpertsConfig


class Config(ExpertsConfig):
    """TAML (papers/taml.txt section 3.2). A learner is a tower of ``tower_widths`` and one last unit."""

    takes_task_ratio: ClassVar[bool] = False

    name: Literal["taml"] = "taml"

    tower_widths: tuple[int, ...] = Field(
        default=(64, 32), min_length=1, description="hidden units per layer of each learner; paper: 64, 32 (then 1)"
    )
    tower_dropout: tuple[float, ...] = Field(
        default=(0.1, 0.3),
        min_length=1,
        description="dropout after each of these; paper silent, as elsewhere [reading]",
    )
    learners: int = Field(default=2, ge=1, le=64, description="n, learners per task; paper: 2")
    general_experts: int = Field(
        default=1,
        ge=1,
        le=64,
        description="experts that all learners see; the three that a gate mixes, one a group [reading]",
    )
    task_experts: int = Field(
        default=1, ge=0, le=64, description="experts per task, for its learners; 1 [reading]; 0: no such group"
    )
    learner_experts: int = Field(
        default=1, ge=0, le=64, description="experts of each learner alone; paper: 1; 0: no such group"
    )
    expert_widths: tuple[int, ...] = Field(
        default=(64,), min_length=1, description="units per expert layer; paper: one layer of 64"
    )
    expert_dropout: tuple[float, ...] = Field(
        default=(0.1,), min_length=1, description="dropout after each expert layer; paper silent: 0.1 [reading]"
    )
    ctr_distillation: float = Field(default=0.1, ge=0, le=100, description="α of eq. 6; paper: 0.1")
    cvr_distillation: float = Field(default=0.1, ge=0, le=100, description="β of eq. 6; paper: 0.1")
