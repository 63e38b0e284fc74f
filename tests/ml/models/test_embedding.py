"""The fused lookup against a loop, sequences included, and which positions belong to whom."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch

from ml.data.batches import Batch
from ml.data.layout import FeatureLayout
from ml.models.layers.embedding import FusedEmbedding, entity_positions


def test_lookup_and_sequence_means_agree_with_a_loop(layout: FeatureLayout, make_batch: Callable[..., Batch]) -> None:
    embedding, batch = FusedEmbedding(layout, size=3, std=1.0), make_batch(40)
    answer, table = embedding(batch).detach().numpy(), embedding.table.weight.detach().double().numpy()
    assert embedding.width == answer.shape[1] == (5 + 1) * 3
    for row in range(40):
        parts = [table[i] for i in batch.features[row].tolist()]
        members = [table[i] for i in batch.sequences["history"][row].tolist() if i >= 0]
        parts.append(np.mean(members, axis=0) if members else np.zeros(3))
        np.testing.assert_allclose(answer[row], np.concatenate(parts), rtol=1e-5, atol=1e-7)
    lengths = (batch.sequences["history"] >= 0).sum(dim=1)
    assert set(lengths.tolist()) == {0, 1, 2, 3}


def test_gradients_are_sparse_and_padding_gets_none(layout: FeatureLayout, make_batch: Callable[..., Batch]) -> None:
    embedding = FusedEmbedding(layout, size=2, std=1.0)
    full = make_batch(1, seed=2)
    batch = Batch(
        features=full.features,
        sequences={"history": torch.full((1, 3), -1)},
        click=full.click,
        conversion=full.conversion,
        value=full.value,
    )
    embedding(batch).sum().backward()
    gradient = embedding.table.weight.grad
    assert gradient is not None
    assert gradient.is_sparse
    touched = gradient.to_dense().abs().sum(dim=1).nonzero().flatten().tolist()
    assert touched == sorted(set(batch.features[0].tolist()))


def test_embeddings_start_as_asked(layout: FeatureLayout) -> None:
    torch.manual_seed(0)
    big = layout.model_copy(update={"total_rows": 50_000})
    weight = FusedEmbedding(big, size=5, std=0.01).table.weight
    assert abs(weight.std().item() - 0.01) < 1e-4
    assert abs(weight.mean().item()) < 1e-4


def test_positions_of_the_sides_divide_the_representation(layout: FeatureLayout) -> None:
    positions = {side: entity_positions(layout, side, 2).tolist() for side in ("user", "item", "context")}
    assert positions["user"] == [0, 1, 2, 3]
    assert positions["item"] == [4, 5, 6, 7]
    assert positions["context"] == [8, 9, 10, 11]  # hour, then the sequence
