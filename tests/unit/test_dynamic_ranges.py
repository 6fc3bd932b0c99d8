"""Activation quantizers of TernaryBERT and BinaryBERT: grids, gradients, guards, evaluation."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import torch
from torch import Tensor

from suite.quant import extremes as module
from suite.quant.batch_lsq import BatchLSQ
from suite.quant.clipped import ClippedUniform
from suite.quant.extremes import Extremes, extremes

X = torch.randn(3, 5, 8, generator=torch.Generator().manual_seed(0)) * 2
G = torch.randn(3, 5, 8, generator=torch.Generator().manual_seed(1))


class Round(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        return x.round()

    @staticmethod
    def backward(ctx: Any, *grads: Any) -> Any:
        return grads[0]


def plain(x: Tensor, clip: Tensor, codes: int, symmetric: bool) -> Tensor:
    """The formula by autograd: the grid's ends carry no gradient."""
    inner = torch.where(x >= clip[1], clip[1], torch.where(x <= clip[0], clip[0], x))
    low, high = inner.detach().min(), inner.detach().max()
    if symmetric:
        scale = codes / torch.maximum(low.abs(), high.abs())
        return Round.apply(inner * scale) / scale
    width = high - low + 1e-8
    return Round.apply((inner - low) / width * codes) / codes * width + low


@pytest.mark.parametrize("symmetric", [True, False])
@pytest.mark.parametrize("bits", [2, 4, 8])
def test_a_clipped_quantizer_is_its_formula_and_pacts_gradient(bits: int, symmetric: bool) -> None:
    quantizer = ClippedUniform(bits, symmetric=symmetric)
    with torch.no_grad():
        quantizer.clip.copy_(torch.tensor([-1.0, 1.5]))
    xs = [X.clone().requires_grad_() for _ in range(2)]
    clip = quantizer.clip.detach().clone().requires_grad_()
    out, expected = quantizer(xs[0]), plain(xs[1], clip, quantizer.codes, symmetric)
    torch.testing.assert_close(out, expected)
    assert len(out.unique()) <= 2**bits - symmetric
    out.backward(G)
    expected.backward(G)
    torch.testing.assert_close(xs[0].grad, xs[1].grad)
    torch.testing.assert_close(quantizer.clip.grad, clip.grad)


def test_nothing_passes_at_the_clip_itself() -> None:
    quantizer = ClippedUniform(8, symmetric=True)
    x = torch.tensor([-2.5, 0.3, 2.5], requires_grad=True)
    quantizer(x).sum().backward()
    assert x.grad is not None
    assert quantizer.clip.grad is not None
    assert x.grad.tolist() == [0.0, 1.0, 0.0]
    assert quantizer.clip.grad.tolist() == [1.0, 1.0]


def test_a_fixed_clip_is_no_parameter() -> None:
    quantizer = ClippedUniform(8, symmetric=True, learned=False)
    assert list(quantizer.parameters()) == []
    x = (X * 3).requires_grad_()
    quantizer(x).backward(G)
    assert torch.equal(x.grad == 0, (X * 3).abs() >= 2.5)  # type: ignore[operator]


@pytest.mark.parametrize("symmetric", [True, False])
def test_zeros_give_zeros(symmetric: bool) -> None:
    zeros = torch.zeros(2, 3)
    assert torch.equal(ClippedUniform(8, symmetric=symmetric)(zeros), zeros)
    lsq = BatchLSQ(4, symmetric=symmetric)
    lsq.initialise(zeros)
    assert torch.isfinite(lsq(zeros)).all()


def quantizers(running: bool) -> list[Any]:
    return [
        ClippedUniform(8, symmetric=True, running=running),
        ClippedUniform(8, symmetric=False, running=running),
        BatchLSQ(4, symmetric=False, running=running),
    ]


@pytest.mark.parametrize("number", range(3))
def test_evaluation_depends_on_the_batch_as_released_and_not_with_running_ranges(
    number: int,
) -> None:
    x = X / 5  # within the clip
    other = torch.cat([x[:1], x[1:] * 1.7])
    for running in (False, True):
        quantizer = quantizers(running)[number]
        quantizer.initialise(x)
        quantizer(x)
        quantizer.eval()
        same = torch.equal(quantizer(x)[0], quantizer(other)[0])
        assert same is running


def test_a_running_range_follows_training_and_stays_in_evaluation() -> None:
    quantizer = ClippedUniform(8, symmetric=False, running=True)
    quantizer.initialise(X)
    start = quantizer.high.clone()
    quantizer(X * 0.5)
    assert quantizer.high < start
    kept = quantizer.high.clone()
    quantizer.eval()(X)
    assert torch.equal(quantizer.high, kept)


def lsq_plain(x: Tensor, step: Tensor, low: int, high: int, minimum: float) -> Tensor:
    v = (x - minimum) / step
    inside = (v >= low) & (v <= high)
    limit = torch.where(v < low, float(low), float(high))
    return torch.where(inside, Round.apply(v), limit) * step + minimum


@pytest.mark.parametrize("symmetric", [True, False])
@pytest.mark.parametrize("bits", [2, 4, 8])
def test_lsq_passes_at_its_limits_and_counts_the_batch(bits: int, symmetric: bool) -> None:
    x = X.relu()
    quantizer = BatchLSQ(bits, symmetric=symmetric)
    quantizer.initialise(x)
    with torch.no_grad():
        quantizer.step.mul_(0.4)
    ours, theirs = x.clone().requires_grad_(), x.clone().requires_grad_()
    step = quantizer.step.detach().clone().requires_grad_()
    out = quantizer(ours)
    expected = lsq_plain(theirs, step, *quantizer.limits, 0.0 if symmetric else float(x.min()))
    torch.testing.assert_close(out, expected)
    out.backward(G)
    expected.backward(G)
    torch.testing.assert_close(ours.grad, theirs.grad)
    factor = (x.numel() * quantizer.limits[1]) ** -0.5
    torch.testing.assert_close(quantizer.step.grad, step.grad * factor)  # type: ignore[operator]


def test_the_range_of_a_tensor_is_found_once(monkeypatch: pytest.MonkeyPatch) -> None:
    calls = []

    def counting(x: Tensor, rows: bool = False) -> Any:
        calls.append(1)
        return extremes(x, rows)

    monkeypatch.setattr(module, "extremes", counting)
    shared = Extremes()
    assert shared(X) is shared(X)
    assert len(calls) == 1
    shared(X.clone())
    changed = X.clone()
    before = shared(changed)
    changed.mul_(2)
    assert torch.equal(shared(changed)[1], before[1] * 2)
    assert copy.deepcopy(shared) is not shared
