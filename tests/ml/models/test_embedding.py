"""The fused lookup against a loop, sequences included, and which positions belong to whom."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

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


def test_weighted_means_agree_with_a_loop(
    listed_layout: FeatureLayout, make_listed_batch: Callable[..., Batch]
) -> None:
    embedding, batch = FusedEmbedding(listed_layout, size=3, std=1.0), make_listed_batch(60)
    answer, table = embedding(batch).detach().numpy(), embedding.table.weight.detach().double().numpy()
    assert embedding.width == answer.shape[1] == (5 + 2) * 3
    kinds = set()
    for row in range(60):
        total, members = 0.0, np.zeros(3)
        for place in range(4):
            if batch.sequences["tags"][row, place] >= 0:
                weight = float(batch.sequence_weights["tags"][row, place])
                total, members = total + weight, members + weight * table[int(batch.sequences["tags"][row, place])]
        present = bool((batch.sequences["tags"][row] >= 0).any())
        kinds.add((present, total > 0))
        np.testing.assert_allclose(answer[row, -3:], members / total if total else 0.0, rtol=1e-5, atol=1e-6)
    assert kinds == {(False, False), (True, False), (True, True)}  # empty, all weights 0, and usual ones


def test_equal_weights_give_the_plain_mean_whatever_their_size(
    listed_layout: FeatureLayout, make_listed_batch: Callable[..., Batch]
) -> None:
    batch = make_listed_batch(40)
    plain = listed_layout.model_copy(
        update={"sequences": tuple(s.model_copy(update={"weighted": False}) for s in listed_layout.sequences)}
    )
    weighted, unweighted = (FusedEmbedding(each, size=3, std=1.0) for each in (listed_layout, plain))
    weighted.load_state_dict(unweighted.state_dict())
    for weight in (1e30, 1.0, 1e-30):
        weights = {"tags": (batch.sequences["tags"] >= 0).float() * weight}
        torch.testing.assert_close(weighted(replace(batch, sequence_weights=weights)), unweighted(batch))


def test_padding_and_weightless_members_get_no_gradient(listed_layout: FeatureLayout) -> None:
    embedding, first = FusedEmbedding(listed_layout, size=2, std=1.0), listed_layout.row_range("tags").offset
    features = torch.tensor([[column.offset for column in listed_layout.columns]])
    batch = Batch(
        features=features,
        sequences={"history": torch.full((1, 3), -1), "tags": torch.tensor([[-1, first, first + 1, first + 2]])},
        sequence_weights={"tags": torch.tensor([[5.0, 0.0, 1.0, 3.0]])},
        click=torch.zeros(1),
        conversion=torch.zeros(1),
        value=torch.zeros(1),
    )
    embedding(batch)[:, -2:].sum().backward()
    gradient = embedding.table.weight.grad
    assert gradient is not None
    dense = gradient.to_dense()
    assert dense.abs().sum(dim=1).nonzero().flatten().tolist() == [first + 1, first + 2]
    assert dense[first + 1].tolist() == [0.25, 0.25]
