"""Which tables every model's CTR and CVR read: found by which embeddings change which prediction."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch

from ml.data.batches import Batch
from ml.data.layout import FeatureLayout
from ml.models.configs.base import ModelConfig
from ml.models.contract import ConversionModel, Losses, Predictions


def test_every_model_says_which_table_each_task_reads(
    build: Callable[..., ConversionModel],
    make_samples: Callable[..., Batch],
    every_layout: FeatureLayout,
    model_values: dict[str, Any],
) -> None:
    model, batch = build(model_values).eval(), make_samples(64)
    spaces = model.embedding_spaces()
    assert set(spaces) == {"ctr", "cvr"}
    with torch.no_grad():
        before = model(batch)
    moved: dict[str, set[str]] = {}
    for parameter in model.embedding_parameters():
        assert parameter.shape[0] == every_layout.total_rows
        kept = parameter.detach().clone()
        with torch.no_grad():
            parameter.add_(torch.randn(parameter.shape, generator=torch.Generator().manual_seed(0)))
            after = model(batch)
            parameter.copy_(kept)
        name = next(name for name, space in spaces.items() if space.data_ptr() == parameter.data_ptr())
        changed = {
            "ctr": not torch.equal(before.ctr_logit, after.ctr_logit),
            "cvr": not torch.equal(before.log_ctcvr - _log_p_ctr(before), after.log_ctcvr - _log_p_ctr(after)),
        }
        moved[name] = {task for task, did in changed.items() if did}
    if len(moved) == 1:
        assert spaces["ctr"].data_ptr() == spaces["cvr"].data_ptr()
    else:
        assert "ctr" in moved["ctr"]
        assert moved["cvr"] == {"cvr"}
    assert not any(space.requires_grad for space in spaces.values())


def _log_p_ctr(predictions: Predictions) -> torch.Tensor:
    return torch.nn.functional.logsigmoid(predictions.ctr_logit)


class _Tables(ConversionModel):
    """Some tables, and no word of which is whose."""

    def __init__(self, layout: FeatureLayout, count: int) -> None:
        super().__init__(ModelConfig(name="tables"), layout)
        self.tables = torch.nn.ModuleList([torch.nn.Embedding(3, 2, sparse=True) for _ in range(count)])

    def forward(self, batch: Batch) -> Predictions:
        raise NotImplementedError

    def loss(self, predictions: Predictions, batch: Batch) -> Losses:
        raise NotImplementedError


def test_one_table_is_shared_and_several_are_not_guessed_at(layout: FeatureLayout) -> None:
    spaces = _Tables(layout, 1).embedding_spaces()
    assert spaces["ctr"] is spaces["cvr"]
    assert _Tables(layout, 2).embedding_spaces() == {}
    assert _Tables(layout, 0).embedding_spaces() == {}
