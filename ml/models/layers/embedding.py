"""The fused embedding table: one lookup for all fields of a batch, sequences as the mean of their members."""

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
        self._sequences = tuple(sequence.name for sequence in layout.sequences)
        self.table = nn.Embedding(layout.total_rows, size, sparse=True)
        nn.init.normal_(self.table.weight, mean=0.0, std=std)

    def forward(self, batch: Batch) -> torch.Tensor:
        """x = the concatenated field embeddings, float32 [B, width]: columns in order, then sequences in order."""
        fields = self.table(batch.features).flatten(1)
        if not self._sequences:
            return fields
        return torch.cat([fields, *(self._mean(batch.sequences[name]) for name in self._sequences)], dim=1)

    def _mean(self, ids: torch.Tensor) -> torch.Tensor:
        """Mean of the members' embeddings [B, d]; 0 for a sequence that holds nothing but padding (id −1)."""
        present = (ids >= 0).unsqueeze(2)
        members = self.table(ids.clamp(min=0)) * present
        return members.sum(dim=1) / present.sum(dim=1).clamp(min=1)


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
