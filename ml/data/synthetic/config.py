"""The settings of the synthetic source, validated; light to import (no numpy), and no generation here."""

from __future__ import annotations

import hashlib
import json
from datetime import date
from enum import StrEnum
from typing import Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

GENERATOR_VERSION = 1
"""Raised whenever the same settings would give other rows; part of the digest, so no old feed is taken for new."""


class FaultKind(StrEnum):
    """What can be planted into one day's raw files."""

    CONVERSIONS_WITHOUT_CLICK = "conversions_without_click"
    CLICKS_WITHOUT_IMPRESSION = "clicks_without_impression"
    DUPLICATES = "duplicates"
    BROKEN_TYPES = "broken_types"
    LOW_VOLUME = "low_volume"
    CONVERSION_BEFORE_CLICK = "conversion_before_click"


class Fault(BaseModel):
    """One fault planted in the raw files of one day; the day's true probabilities stay as they were."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    day: date = Field(description="The day whose impressions (and what followed from them) carry the fault.")
    kind: FaultKind = Field(
        description=(
            "conversions_without_click: conversions are added whose click_id does not exist; "
            "clicks_without_impression: clicks are added whose impression_id does not exist; "
            "duplicates: impression rows are repeated exactly; "
            "broken_types: the column price arrives as text, and some of it cannot be read as a number; "
            "low_volume: only a part of the impressions (and of what followed from them) arrives; "
            "conversion_before_click: conversions carry a time before their click."
        )
    )
    share: float = Field(
        gt=0,
        le=1,
        description=(
            "Rows affected, as a share of the day's impressions (conversion_before_click: of its conversions; "
            "low_volume: the share that does arrive, 0.3 = a day with 30 % of its volume)."
        ),
    )


class SyntheticConfig(BaseModel):
    """Everything that determines the synthetic events; the same settings give the same bytes.

    Strengths are standard deviations or shifts in logits (natural log odds).
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    seed: int = Field(default=7, ge=0, lt=2**63, description="Seed of the world and of every day.")

    users: int = Field(default=1_200, ge=10, le=100_000_000, description="Users in the world.")
    items: int = Field(default=300, ge=10, le=100_000_000, description="Items in the world.")
    user_clusters: int = Field(default=6, ge=1, le=500, description="Latent groups of users (never a field).")
    item_clusters: int = Field(default=6, ge=1, le=500, description="Latent groups of items (never a field).")
    user_zipf: float = Field(default=0.5, ge=0, le=3, description="Zipf exponent of the users' activity.")
    item_zipf: float = Field(default=0.7, ge=0, le=3, description="Zipf exponent of the items' popularity.")
    field_signal: float = Field(
        default=0.5,
        ge=0,
        le=1,
        description="Chance that a user's or item's category was chosen by its latent cluster, not at random.",
    )

    impressions_per_day: int = Field(
        default=25_000,
        ge=1,
        le=10_000_000_000,
        description="Impressions of an average day, before the weekly season.",
    )
    base_ctr: float = Field(
        default=0.18,
        gt=0,
        lt=0.9,
        description="Clicks per impression, averaged over users, items and context.",
    )
    base_cvr: float = Field(default=0.16, gt=0, lt=0.9, description="Conversions per click, averaged over the clicks.")

    affinity_click: float = Field(
        default=1.15, ge=0, le=5, description="Strength of user cluster x item cluster on the click."
    )
    affinity_conversion: float = Field(
        default=1.6, ge=0, le=5, description="Strength of user cluster x item cluster on the conversion."
    )
    affinity_correlation: float = Field(
        default=0.2,
        ge=-1,
        le=1,
        description="Correlation of the click's and the conversion's cluster affinities.",
    )
    user_effect: float = Field(default=0.2, ge=0, le=5, description="Strength of each single user's own tendency.")
    item_effect: float = Field(default=0.25, ge=0, le=5, description="Strength of each single item's own tendency.")
    bait_share: float = Field(
        default=0.15, ge=0, le=1, description="Share of items that are click bait: high CTR, low CVR."
    )
    daily_need_share: float = Field(
        default=0.15, ge=0, le=1, description="Share of items that are daily needs: low CTR, high CVR."
    )
    contradiction: float = Field(
        default=0.9, ge=0, le=5, description="Shift by which bait and daily needs move the two logits apart."
    )

    positions: int = Field(default=10, ge=1, le=1_000, description="Display positions, numbered from 1 (the top).")
    position_bias: float = Field(
        default=0.3,
        ge=0,
        le=5,
        description="Click logit lost per doubling of the position; conversions lose none.",
    )
    weekly_season: float = Field(
        default=0.1,
        ge=0,
        le=0.9,
        description="Weekend swing: of the volume as a share, of both logits as a shift.",
    )
    daily_drift: float = Field(
        default=0.02, ge=0, le=1, description="Most that an item's logits move from one day to the next."
    )

    click_delay_seconds_mean: float = Field(
        default=20.0, gt=0, le=3_600, description="Mean of the exponential delay from impression to click."
    )
    conversion_delay_hours: float = Field(
        default=2.0, gt=0, le=240, description="Median of the log-normal delay from click to conversion."
    )
    conversion_delay_tail: float = Field(
        default=1.6,
        gt=0,
        le=4,
        description="Log standard deviation of that delay: the larger, the longer the tail.",
    )
    max_delay_days: int = Field(
        default=14, ge=1, le=90, description="Conversions later than this after their click never arrive."
    )

    price_median: float = Field(default=25.0, gt=0, description="Median price of an item, in currency units.")
    price_sigma: float = Field(default=0.8, ge=0, le=3, description="Log standard deviation of the items' prices.")
    price_effect: float = Field(
        default=0.3, ge=0, le=5, description="Conversion logit lost per standard deviation of log price."
    )
    order_quantity_mean: float = Field(default=1.3, ge=1, le=100, description="Mean units of an order (at least 1).")
    order_value_sigma: float = Field(
        default=0.15, ge=0, le=2, description="Log standard deviation of order value around price x quantity."
    )

    chunk_rows: int = Field(
        default=100_000,
        ge=1_000,
        le=5_000_000,
        description="Impressions drawn and written at a time: bounds memory; other chunks are other random draws.",
    )
    faults: tuple[Fault, ...] = Field(default=(), description="Faults planted in the raw files.")

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if self.bait_share + self.daily_need_share > 1:
            raise ValueError(
                f"bait_share {self.bait_share} and daily_need_share {self.daily_need_share} add up to more than 1: "
                "an item is one or the other; lower one of them"
            )
        if self.conversion_delay_hours > self.max_delay_days * 24:
            raise ValueError(
                f"conversion_delay_hours {self.conversion_delay_hours} lies beyond max_delay_days "
                f"{self.max_delay_days}: most conversions would never arrive; raise max_delay_days"
            )
        for name, clusters, members in (
            ("user_clusters", self.user_clusters, self.users),
            ("item_clusters", self.item_clusters, self.items),
        ):
            if clusters > members:
                raise ValueError(f"{name} is {clusters}, but only {members} are there to share out; lower {name}")
        planted = [(fault.day, fault.kind) for fault in self.faults]
        for day, kind in planted:
            if planted.count((day, kind)) > 1:
                raise ValueError(f"faults: {kind} is planted more than once on {day}; keep one, with the share wanted")
        return self

    def digest(self) -> str:
        """sha256 (hex) of the canonical JSON of all settings and of the generator's version."""
        content = {"generator": GENERATOR_VERSION, "config": self.model_dump(mode="json")}
        text = json.dumps(content, sort_keys=True, separators=(",", ":"))
        return hashlib.sha256(text.encode()).hexdigest()

    def lookback_days(self) -> int:
        """Days before E that may put rows into day E's files: a click across midnight, then the longest delay."""
        return self.max_delay_days + 1

    def faults_on(self, day: date) -> dict[FaultKind, float]:
        """The faults of one day: kind → share."""
        return {fault.kind: fault.share for fault in self.faults if fault.day == day}
