"""The fused embedding table: one lookup for all fields of a batch, sequences as the (weighted) mean of their values."""

from __future__ import annotations

import torch
from torch import nn

from ml.data.batches import Batch
from ml.data.layout import Entity, FeatureLayout


class FusedEmbedding(nn.Module):
    """A table [total_rows, d] with sparse gradients, rows drawn from N(0, std²).

    ``width`` is the length of a sample's representation: (columns + sequences) · d.
    """

    def __init__(self, layout: FeatureLayout, *, size: int, std: float) -> None:
        super().__init__()
        self.size = size
        self.width = (len(layout.columns) + len(layout.sequences)) * size
        self._sequences = tuple((sequence.name, sequence.weighted) for sequence in layout.sequences)
        self.table = nn.Embedding(layout.total_rows, size, sparse=True)
        nn.init.normal_(self.table.weight, mean=0.0, std=std)

    def forward(self, batch: Batch) -> torch.Tensor:
        """x = the concatenated field embeddings, float32 [B, width]: columns in order, then sequences in order."""
        fields = self.table(batch.features).flatten(1)
        if not self._sequences:
            return fields
        pooled = [
            self._weighted_mean(batch.sequences[name], batch.sequence_weights[name])
            if weighted
            else self._mean(batch.sequences[name])
            for name, weighted in self._sequences
        ]
        return torch.cat([fields, *pooled], dim=1)

    def _mean(self, ids: torch.Tensor) -> torch.Tensor:
        """Mean of the members' embeddings [B, d]; 0 for a sequence that holds nothing but padding (id −1)."""
        present = (ids >= 0).unsqueeze(2)
        members = self.table(ids.clamp(min=0)) * present
        return members.sum(dim=1) / present.sum(dim=1).clamp(min=1)

    def _weighted_mean(self, ids: torch.Tensor, weights: torch.Tensor) -> torch.Tensor:
        """Σ w·e / Σ w over the members [B, d], from ``weights`` float32 [B, L], finite and ≥ 0.

        A member of weight 0 does not count; where none counts, the answer is 0, as for an empty sequence [reading].
        """
        present = torch.where(ids >= 0, weights, 0.0)
        total = present.sum(dim=1, keepdim=True)
        # Of the weights, not of their sum with the members: whatever their size, they stay within float32.
        shares = present / torch.where(total > 0, total, 1.0)
        return torch.bmm(shares.unsqueeze(1), self.table(ids.clamp(min=0))).squeeze(1)


def entity_positions(layout: FeatureLayout, entity: Entity, size: int) -> torch.Tensor:
    """Positions in a representation [width] that hold ``entity``'s fields, int64.

    Sequences change from sample to sample, so they count as context whatever their entity: a graph's node has one
    representation [reading].
    """
    fields = list(layout.entity_columns(entity))
    if entity == "context":
        fields += range(len(layout.columns), len(layout.columns) + len(layout.sequences))
    starts = torch.tensor(fields, dtype=torch.int64) * size
    return (starts.unsqueeze(1) + torch.arange(size)).flatten()
