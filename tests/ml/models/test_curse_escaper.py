"""CE's weights against a loop with numpy's quantiles, and its ring buffer against a deque."""

from __future__ import annotations

from collections import deque
from typing import Literal

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from ml.models.layers.curse_escaper import CurseEscaper


def _escaper(recent: int, weighting: Literal["capped", "constant"] = "capped") -> CurseEscaper:
    return CurseEscaper(
        recent=recent, low_quantile=0.1, high_quantile=0.99, magnitude=3.0, cap=4.0, weighting=weighting
    )


@pytest.mark.parametrize("weighting", ["capped", "constant"])
def test_weights_agree_with_a_loop(weighting: Literal["capped", "constant"]) -> None:
    random = np.random.default_rng(0)
    recent = random.beta(1, 5, 1000).astype(np.float32)
    p = np.concatenate([random.beta(1, 5, 500), np.linspace(0.001, 0.999, 500)]).astype(np.float32)
    conversion = (random.random(1000) < 0.5).astype(np.float32)
    escaper = _escaper(1000, weighting)
    escaper.remember(torch.from_numpy(recent))
    answer = escaper.weights(torch.from_numpy(p), torch.from_numpy(conversion)).numpy()
    high, low = np.quantile(recent.astype(np.float64), [0.99, 0.1])
    expected = []
    for probability, label in zip(p, conversion, strict=True):
        if label == 0 and probability > high:
            expected.append(3.0 if weighting == "constant" else min(3 * probability / high, 4.0))
        elif label == 1 and probability < low:
            expected.append(3.0 if weighting == "constant" else min(3 * low / probability, 4.0))
        else:
            expected.append(1.0)
    np.testing.assert_allclose(answer, expected, rtol=1e-5)
    assert len(set(np.round(expected, 3))) > (1 if weighting == "constant" else 10)


def test_weights_are_one_until_the_buffer_is_full() -> None:
    escaper = _escaper(10)
    p, conversion = torch.tensor([0.999, 0.001]), torch.tensor([0.0, 1.0])
    escaper.remember(torch.full((9,), 0.5))
    assert escaper.weights(p, conversion).tolist() == [1, 1]
    escaper.remember(torch.full((1,), 0.5))
    assert (escaper.weights(p, conversion) > 1).all()


@pytest.mark.parametrize("extreme", [0.0, 1.0])
def test_saturated_predictions_give_finite_weights(extreme: float) -> None:
    escaper = _escaper(10)
    escaper.remember(torch.full((10,), extreme))
    weights = escaper.weights(torch.tensor([0.0, 1.0, 0.0, 1.0]), torch.tensor([0.0, 0.0, 1.0, 1.0]))
    assert torch.isfinite(weights).all()
    assert (weights >= 1).all()
    assert (weights <= 4).all()


@given(st.integers(2, 7), st.lists(st.integers(1, 20), max_size=8))
def test_the_ring_buffer_holds_the_last_predictions(size: int, batches: list[int]) -> None:
    escaper, reference, value = _escaper(size), deque([0.0] * size, maxlen=size), 0
    for rows in batches:
        predictions = [float(value + i + 1) for i in range(rows)]
        value += rows
        escaper.remember(torch.tensor(predictions))
        reference.extend(predictions)
    assert sorted(escaper.recent.tolist()) == sorted(reference)
    assert escaper.seen.item() == sum(batches)


def test_weights_carry_no_gradient() -> None:
    escaper = _escaper(2)
    escaper.remember(torch.tensor([0.5, 0.5]))
    p = torch.tensor([0.9, 0.1], requires_grad=True)
    assert not escaper.weights(p, torch.tensor([0.0, 1.0])).requires_grad


def test_the_buffer_is_part_of_the_state() -> None:
    escaper, restored = _escaper(4), _escaper(4)
    escaper.remember(torch.tensor([0.1, 0.2, 0.3, 0.4, 0.5]))
    restored.load_state_dict(escaper.state_dict())
    p, conversion = torch.tensor([0.9, 0.01]), torch.tensor([0.0, 1.0])
    assert torch.equal(restored.weights(p, conversion), escaper.weights(p, conversion))
    assert restored.seen.item() == 5


def test_a_target_above_one_is_weighted_as_the_conversion_it_is() -> None:
    escaper = _escaper(4)
    escaper.remember(torch.tensor([0.2, 0.4, 0.6, 0.8]))
    p = torch.tensor([0.01, 0.99])
    answers = [escaper.weights(p, torch.full((2,), target)).tolist() for target in (1.0, 2.5)]
    assert answers[0] == answers[1] == [4.0, 1.0]
