"""P1's 1-bit quantizers: two values a size, gradient inside [-1, 1]."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from suite.quant.binary import BinaryActivation, BinaryWeight


@pytest.mark.parametrize("shape", [(3, 5, 8), (3, 2, 5, 4)], ids=["tokens", "heads"])
def test_an_activation_has_one_size_an_example_or_channel(shape: tuple[int, ...]) -> None:
    x = torch.randn(shape)
    out = BinaryActivation()(x)
    for example, found in zip(x, out, strict=True):
        # [tokens, dim]: one size; [heads, tokens, dim]: one a channel.
        groups = (
            [(example, found)]
            if x.ndim == 3
            else zip(example.unbind(-1), found.unbind(-1), strict=True)
        )
        for values, quantized in groups:
            expected = values.sign() * values.abs().mean()
            torch.testing.assert_close(quantized, expected, rtol=1e-5, atol=1e-6)


def test_a_weight_has_one_size_a_matrix() -> None:
    weight = torch.randn(6, 7) * 0.02
    torch.testing.assert_close(BinaryWeight()(weight), weight.sign() * weight.abs().mean())


@pytest.mark.parametrize("quantizer", [BinaryActivation(), BinaryWeight()])
def test_gradient_passes_inside_one_and_at_it_and_not_beyond(quantizer: torch.nn.Module) -> None:
    x = torch.tensor([[[-1.01, -1.0, -0.3, 0.0, 0.3, 1.0, 1.01, 5.0]]], requires_grad=True)
    upstream = torch.arange(1.0, 9.0).reshape(1, 1, 8)
    quantizer(x).backward(upstream)
    assert x.grad.flatten().tolist() == [0, 2, 3, 4, 5, 6, 0, 0]


def test_an_exact_zero_stays_zero() -> None:
    x = torch.tensor([[0.0, 1.0], [-2.0, 0.0]])
    for out in (BinaryWeight()(x), BinaryActivation()(x.unsqueeze(0))[0]):
        assert (out == 0).tolist() == (x == 0).tolist()


def distinct(row: Tensor) -> int:
    """Values that differ by more than rounding: each is a sum of two terms."""
    return row.div(row.abs().max()).mul(1e4).round().unique().numel()


@pytest.mark.parametrize("shape", [(3, 5, 8), (3, 2, 5, 4)], ids=["tokens", "heads"])
def test_the_rows_of_per_group_hold_two_values(shape: tuple[int, ...]) -> None:
    quantizer = BinaryActivation()
    rows = quantizer.per_group(quantizer(torch.randn(shape)))
    assert len(rows) == (3 if len(shape) == 3 else 12)
    assert {distinct(row) for row in rows} == {2}


def test_a_weights_only_row_holds_two_values() -> None:
    quantizer = BinaryWeight()
    rows = quantizer.per_group(quantizer(torch.randn(6, 7)))
    assert rows.shape == (1, 42)
    assert distinct(rows[0]) == 2


def test_nothing_is_learned() -> None:
    for quantizer in (BinaryActivation(), BinaryWeight()):
        quantizer.initialise(torch.randn(2, 3, 4))
        assert quantizer.state_dict() == {}
        assert quantizer.bits == 1
