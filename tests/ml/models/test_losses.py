"""The losses against plain float64 loops, and at logits where naive formulas give NaN."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from ml.models.losses import (
    click_loss,
    clicked_conversion_loss,
    expectation_constraint,
    log1mexp,
    log_probability_losses,
    product_conversion_loss,
)

LOGITS = st.floats(-100, 100, width=32)


def _sigmoid(x: float) -> float:
    return 1 / (1 + math.exp(-x))


@pytest.mark.parametrize("x", [-1e-30, -1e-10, -1e-3, -0.5, -math.log(2), -0.7, -5.0, -50.0, -90.0])
def test_log1mexp_agrees_with_float64(x: float) -> None:
    reference = math.log(-math.expm1(x)) if x > -0.7 else math.log1p(-math.exp(x))
    assert log1mexp(torch.tensor(x)).item() == pytest.approx(reference, rel=1e-5, abs=1e-38)


def test_log1mexp_has_the_gradient_of_its_formula() -> None:
    x = torch.tensor([-1e-6, -0.3, -0.69, -0.7, -2.0, -30.0], dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(log1mexp, x[1:], eps=1e-7)
    (gradient,) = torch.autograd.grad(log1mexp(x).sum(), x)
    torch.testing.assert_close(gradient, -1 / torch.expm1(-x.detach()))


@given(LOGITS, LOGITS, st.sampled_from([(0.0, 0.0), (1.0, 0.0), (1.0, 1.0)]))
def test_losses_and_gradients_are_finite_for_any_logits(a: float, b: float, labels: tuple[float, float]) -> None:
    ctr = torch.tensor([a], requires_grad=True)
    cvr = torch.tensor([b], requires_grad=True)
    click, conversion = torch.tensor([labels[0]]), torch.tensor([labels[1]])
    log_ctcvr = torch.nn.functional.logsigmoid(ctr) + torch.nn.functional.logsigmoid(cvr)
    total = (
        click_loss(ctr, click)
        + product_conversion_loss(log_ctcvr, conversion)
        + clicked_conversion_loss(cvr, click, conversion)
        + expectation_constraint(log_ctcvr, ctr)
    )
    gradients = torch.autograd.grad(total, [ctr, cvr])
    assert torch.isfinite(total)
    assert all(torch.isfinite(gradient).all() for gradient in gradients)


@given(st.lists(st.tuples(st.floats(-8, 8), st.floats(-8, 8), st.integers(0, 2)), min_size=1, max_size=20))
def test_losses_agree_with_a_loop(rows: list[tuple[float, float, int]]) -> None:
    ctr = torch.tensor([row[0] for row in rows], dtype=torch.float64)
    cvr = torch.tensor([row[1] for row in rows], dtype=torch.float64)
    click = torch.tensor([float(row[2] >= 1) for row in rows], dtype=torch.float64)
    conversion = torch.tensor([float(row[2] == 2) for row in rows], dtype=torch.float64)
    click_sum = product_sum = clicked_sum = constraint_sum = 0.0
    for a, b, kind in rows:
        p_ctr, p_cvr = _sigmoid(a), _sigmoid(b)
        product = p_ctr * p_cvr
        click_sum -= math.log(p_ctr) if kind >= 1 else math.log(1 - p_ctr)
        product_sum -= math.log(product) if kind == 2 else math.log(1 - product)
        if kind >= 1:
            clicked_sum -= math.log(p_cvr) if kind == 2 else math.log(1 - p_cvr)
        constraint_sum += max(p_cvr - p_ctr, 0.0)
    log_ctcvr = torch.nn.functional.logsigmoid(ctr) + torch.nn.functional.logsigmoid(cvr)
    clicked = max(1, sum(kind >= 1 for _, _, kind in rows))
    assert click_loss(ctr, click).item() == pytest.approx(click_sum / len(rows))
    assert product_conversion_loss(log_ctcvr, conversion).item() == pytest.approx(product_sum / len(rows))
    assert clicked_conversion_loss(cvr, click, conversion).item() == pytest.approx(clicked_sum / clicked)
    log_cvr = torch.nn.functional.logsigmoid(cvr)
    assert expectation_constraint(log_cvr, ctr).item() == pytest.approx(constraint_sum / len(rows))


def test_without_clicks_the_clicked_loss_is_zero_with_zero_gradient() -> None:
    logit = torch.tensor([1.0, -2.0], requires_grad=True)
    loss = clicked_conversion_loss(logit, torch.zeros(2), torch.zeros(2))
    (gradient,) = torch.autograd.grad(loss, logit)
    assert loss.item() == 0
    assert gradient.tolist() == [0, 0]


def test_log_space_keeps_what_a_product_of_probabilities_loses() -> None:
    # p_ctcvr = sigmoid(20)² rounds to 1 in float32; the loss of a negative is still that of 1 − p ≈ 4.1e-9.
    logit = torch.tensor([20.0])
    log_ctcvr = 2 * torch.nn.functional.logsigmoid(logit)
    expected = -math.log(-math.expm1(-2 * math.log1p(math.exp(-20.0))))
    assert log_probability_losses(log_ctcvr, torch.zeros(1)).item() == pytest.approx(expected, rel=1e-5)
    assert expected > 19


@settings(deadline=None)
@given(st.lists(st.tuples(st.floats(-8, 8), st.floats(0, 20)), min_size=1, max_size=10))
def test_targets_above_one_follow_the_formula(rows: list[tuple[float, float]]) -> None:
    logit = torch.tensor([row[0] for row in rows], dtype=torch.float64)
    target = torch.tensor([row[1] for row in rows], dtype=torch.float64)
    expected = [-t * math.log(_sigmoid(x)) - (1 - t) * math.log(1 - _sigmoid(x)) for x, t in rows]
    answer = log_probability_losses(torch.nn.functional.logsigmoid(logit), target)
    assert answer.tolist() == pytest.approx(expected, rel=1e-6, abs=1e-9)
    clicked = clicked_conversion_loss(logit, torch.ones_like(logit), target)
    assert clicked.item() == pytest.approx(sum(expected) / len(rows), rel=1e-6, abs=1e-9)


@settings(deadline=None)
@given(LOGITS, LOGITS, st.sampled_from([1.5, 10.0, 1000.0]))
def test_losses_of_targets_above_one_are_finite_for_any_logits(a: float, b: float, target: float) -> None:
    ctr, cvr = torch.tensor([a], requires_grad=True), torch.tensor([b], requires_grad=True)
    log_ctcvr = torch.nn.functional.logsigmoid(ctr) + torch.nn.functional.logsigmoid(cvr)
    total = product_conversion_loss(log_ctcvr, torch.tensor([target]))
    total = total + clicked_conversion_loss(cvr, torch.ones(1), torch.tensor([target]))
    gradients = torch.autograd.grad(total, [ctr, cvr])
    assert torch.isfinite(total)
    assert all(torch.isfinite(gradient).all() for gradient in gradients)


def test_labels_of_zero_and_one_give_the_bits_of_a_choice() -> None:
    log_p = -torch.rand(10_000, generator=torch.Generator().manual_seed(0)).double().exp().float() * 3
    log_p.requires_grad_()
    label = (torch.arange(10_000) % 3 == 0).float()
    chosen = -torch.where(label > 0, log_p, log1mexp(log_p))
    answer = log_probability_losses(log_p, label)
    assert torch.equal(answer, chosen)
    gradients = [torch.autograd.grad(each.mean(), log_p, retain_graph=True)[0] for each in (answer, chosen)]
    assert torch.equal(*gradients)
