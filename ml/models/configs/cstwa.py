"""Configuration of CSTWA: structure migrator, click perceptron and curse escaper, each of which can be switched off."""

from __future__ import annotations

from typing import Literal, Self

from pydantic import Field, model_validator

from ml.models.configs.base import ModelConfig


class Config(ModelConfig):
    """CSTWA (papers/cstwa.txt). The seven rows of its Table 3 are the settings of the three switches."""

    name: Literal["cstwa"] = "cstwa"

    structure_migrator: bool = Field(default=True, description="SM: mix in the neighbours' representations")
    click_perceptron: bool = Field(default=True, description="CP: scale the CVR tower's input by the click state")
    curse_escaper: bool = Field(default=True, description="CE: weights on contradictory samples")

    migration_share: float = Field(default=0.3, ge=0, le=1, description="α of eq. 10; paper: 0.3")
    propagation_layers: int = Field(default=1, ge=1, le=4, description="L of eq. 9; paper: 1")
    refresh: Literal["epoch", "batch"] = Field(
        default="epoch",
        description="epoch: H^L of every node once per epoch (the paper); batch: of the batch's nodes on the fly",
    )
    first_migrating_epoch: int = Field(
        default=2, ge=1, description="epochs count from 1; the paper migrates from the second epoch on"
    )
    warm_start_ctr: bool = Field(
        default=False, description="start E_ctr from the pre-trained table; the paper does not say so [reading]"
    )

    perceptron_widths: tuple[int, ...] = Field(
        default=(), description="hidden layers of CP's MLP (eq. 13); lost from the paper's text, none here [reading]"
    )

    weighting: Literal["capped", "constant"] = Field(
        default="capped", description="capped: γ·p/t_h or γ·t_l/p up to weight_cap [reading]; constant: γ"
    )
    weight_magnitude: float = Field(default=3.0, gt=0, description="γ of eq. 18; paper: 3")
    weight_cap: float = Field(default=4.0, gt=0, description="upper limit of a weight; paper: below 4 [reading]")
    high_quantile: float = Field(default=0.99, gt=0, lt=1, description="t_h: paper: the 99th percentile")
    low_quantile: float = Field(default=0.10, gt=0, lt=1, description="t_l: paper: the 10th percentile")
    recent_predictions: int = Field(
        default=10_000, ge=2, description="CTR predictions that the thresholds are taken over; paper: 10,000"
    )

    constraint_weight: float = Field(
        default=0.6, ge=0, description="weight of max(p_ctcvr − p_ctr, 0), eq. 19 and 20; paper: 0.6"
    )

    @property
    def needs_graphs(self) -> bool:
        """SM propagates over both graphs."""
        return self.structure_migrator

    @property
    def needs_pretrained_table(self) -> bool:
        """Only where E_ctr starts from it."""
        return self.warm_start_ctr

    @model_validator(mode="after")
    def _is_consistent(self) -> Self:
        if self.low_quantile >= self.high_quantile:
            raise ValueError(
                f"low_quantile {self.low_quantile} must lie below high_quantile {self.high_quantile}: "
                "a sample cannot be predicted low and high at once"
            )
        if self.perceptron_widths and min(self.perceptron_widths) < 1:
            raise ValueError(f"perceptron_widths {list(self.perceptron_widths)}: every layer needs at least one unit")
        return self
