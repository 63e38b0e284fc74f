"""The optimizers of a model: lazy Adam on the touched embedding rows, fused Adam on everything else."""

from __future__ import annotations

import torch
from torch import nn

from ml.models.contract import ConversionModel


class Optimizers:
    """SparseAdam on the embedding tables and Adam(fused) on the dense parameters, one ``step`` for both.

    L2 acts on the embedding rows that the batch touched, once each: their gradient gains ``l2 · row``, as
    ``weight_decay`` does, i.e. the penalty is ``l2/2 · Σ‖row‖²`` over the batch's rows [reading]. Towers have none.
    Lazy Adam leaves rows that a batch does not touch as they are, moments included: another optimizer than Adam.
    """

    def __init__(self, model: ConversionModel, *, learning_rate: float, l2: float) -> None:
        self._tables: list[nn.Parameter] = list(model.embedding_parameters())
        self._l2 = l2
        self._sparse = torch.optim.SparseAdam(self._tables, lr=learning_rate)
        self._dense = torch.optim.Adam(list(model.dense_parameters()), lr=learning_rate, fused=True)

    def step(self, loss: torch.Tensor) -> None:
        """One update from ``loss``, a scalar: gradients are made, used and dropped."""
        loss.backward()
        for table in self._tables:
            if table.grad is not None:
                table.grad = self._with_l2(table)
        self._sparse.step()
        self._dense.step()
        self._sparse.zero_grad(set_to_none=True)
        self._dense.zero_grad(set_to_none=True)

    @torch.no_grad()
    def _with_l2(self, table: nn.Parameter) -> torch.Tensor:
        assert table.grad is not None
        gradient = table.grad.coalesce()
        if self._l2 > 0:
            rows = table.index_select(0, gradient.indices()[0])
            gradient.values().add_(rows, alpha=self._l2)
        return gradient
