"""Models that answer by one field alone, and days whose clicks and conversions are counted out."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch

from ml.data.batches import Batch
from ml.data.encoded_day import EncodedDay
from ml.data.layout import FeatureLayout
from ml.models.configs.base import ModelConfig
from ml.models.contract import ConversionModel, Losses, Predictions


class TellingModel(ConversionModel):
    """p_ctr rises with the row of ``clicks_by``, p_cvr with that of ``converts_by``; nothing else is read."""

    def __init__(self, layout: FeatureLayout, *, clicks_by: str, converts_by: str) -> None:
        super().__init__(ModelConfig(name="telling"), layout)
        self._clicks_by, self._converts_by = clicks_by, converts_by

    def forward(self, batch: Batch) -> Predictions:
        return Predictions.of_product(self._score(batch, self._clicks_by), self._score(batch, self._converts_by))

    def loss(self, predictions: Predictions, batch: Batch) -> Losses:
        raise NotImplementedError

    def _score(self, batch: Batch, name: str) -> torch.Tensor:
        if name in batch.sequences:
            weights = batch.sequence_weights.get(name, torch.ones_like(batch.sequences[name]).float())
            return (batch.sequences[name].float() * weights).sum(dim=1) / 10
        column = self.layout.index(name)
        return (batch.features[:, column] - self.layout.columns[column].offset).float()


@pytest.fixture
def telling_model(listed_layout: FeatureLayout) -> Callable[..., ConversionModel]:
    """telling_model(clicks_by="user", converts_by="item") over ``listed_layout``."""

    def make(clicks_by: str = "user", converts_by: str = "item") -> ConversionModel:
        return TellingModel(listed_layout, clicks_by=clicks_by, converts_by=converts_by).eval()

    return make


@pytest.fixture
def make_day(layout: FeatureLayout) -> Callable[..., EncodedDay]:
    """make_day(rows, click_rate=.1, conversion_rate=.1, seed=0): clicks depend on the user, conversions on the item."""

    def make(rows: int, *, click_rate: float = 0.1, conversion_rate: float = 0.1, seed: int = 0) -> EncodedDay:
        random = np.random.default_rng(seed)
        local = np.stack([random.integers(0, column.size, rows) for column in layout.columns], axis=1)
        offsets = np.array([column.offset for column in layout.columns])
        user, item = (
            local[:, layout.index(name)] / layout.columns[layout.index(name)].size for name in ("user", "item")
        )
        click = random.random(rows) < click_rate * 2 * user
        conversion = click & (random.random(rows) < conversion_rate * 2 * item)
        return EncodedDay(
            features=(local + offsets).astype(np.int32),
            sequences={"history": np.full((rows, 3), -1, dtype=np.int32)},
            click=click.astype(np.uint8),
            conversion=conversion.astype(np.uint8),
            value=np.zeros(rows, dtype=np.float32),
            vocabulary_digest="v",
            samples_content_id="s",
        )

    return make
