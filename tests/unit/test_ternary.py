"""Ternary and binary weights: levels, groups, guards and gradients."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from suite.quant.ternary import LAQWeight, SignWeight, TernaryWeight, binary, laq, ternary

W = torch.randn(6, 10, generator=torch.Generator().manual_seed(0)) + 0.1
G = torch.randn(6, 10, generator=torch.Generator().manual_seed(1))


def by_hand(row: Tensor) -> Tensor:
    """TWN of one group, entry by entry."""
    sizes = [abs(float(v)) for v in row.flatten()]
    threshold = 0.7 * sum(sizes) / len(sizes)
    kept = [s for s in sizes if s > threshold]
    level = sum(kept) / len(kept)
    out = [
        0.0 if abs(float(v)) <= threshold else (level if v > 0 else -level) for v in row.flatten()
    ]
    return torch.tensor(out).reshape(row.shape)


def test_a_ternary_weight_has_the_mean_of_its_large_entries() -> None:
    torch.testing.assert_close(ternary(W), by_hand(W))
    torch.testing.assert_close(ternary(W, rows=True), torch.stack([by_hand(row) for row in W]))


def test_a_binary_weight_has_the_mean_size_of_its_group() -> None:
    assert torch.allclose(binary(W).abs(), W.abs().mean())
    assert torch.allclose(binary(W, rows=True).abs(), W.abs().mean(1, keepdim=True))
    assert torch.equal(binary(W).sign(), W.sign())


@pytest.mark.parametrize("bits", [2, 4])
def test_laq_is_nearer_to_the_weight_than_its_first_codes(bits: int) -> None:
    first = W.abs().mean() * W.sign()
    assert (laq(W, bits) - W).norm() < (first - W).norm()
    assert laq(W, bits).unique().numel() <= 2**bits


def test_one_bit_laq_is_bwn() -> None:
    torch.testing.assert_close(laq(W, 1, rows=True), binary(W, rows=True))


@pytest.mark.parametrize(
    "quantizer", [TernaryWeight(rows=True), SignWeight(rows=True), LAQWeight(2, rows=True)]
)
def test_a_row_of_zeros_stays_zero(quantizer: nn.Module) -> None:
    """The released code divides zero by zero there."""
    weight = torch.cat([W, torch.zeros(1, 10)])
    out = quantizer(weight)
    assert torch.isfinite(out).all()
    assert torch.equal(out[-1], torch.zeros(10))
    assert torch.equal(out[:-1], quantizer(W))


def test_an_exact_zero_is_a_third_level_as_released_and_plus_corrected() -> None:
    weight = W.clone()
    weight[0, :3] = 0
    assert len(binary(weight).unique()) == 3
    assert len(binary(weight, zero="plus").unique()) == 2
    assert (binary(weight, zero="plus")[0, :3] > 0).all()
    assert SignWeight().allowed_levels == 3
    assert SignWeight(zero="plus").allowed_levels == 2


@pytest.mark.parametrize(
    "quantizer", [TernaryWeight(), SignWeight(), LAQWeight(2), TernaryWeight(rows=True)]
)
def test_the_gradient_goes_straight_through(quantizer: nn.Module) -> None:
    weight = W.clone().requires_grad_()
    quantizer(weight).backward(G)
    assert torch.equal(weight.grad, G)  # type: ignore[arg-type]


def test_a_limit_clips_the_weight_and_stops_its_gradient_there() -> None:
    weight = W.clone()
    weight[0, :3] = torch.tensor([3.0, -2.5, 2.5])
    weight.requires_grad_()
    quantizer = TernaryWeight(limit=2.5)
    out = quantizer(weight)
    out.backward(G)
    torch.testing.assert_close(out, ternary(weight.detach().clamp(-2.5, 2.5)))
    beyond = weight.detach().abs() >= 2.5
    assert beyond.sum() == 3
    assert torch.equal(weight.grad, G.masked_fill(beyond, 0.0))  # type: ignore[arg-type]
