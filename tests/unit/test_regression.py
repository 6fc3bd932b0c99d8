"""LSQ+'s starts: the closed form covers the range, the search does not lose to it."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from suite.errors import LowbitError
from suite.quant.functional import codes, limits
from suite.quant.init import three_sigma
from suite.quant.regression import SAMPLE, least_squares, minmax
from suite.quant.uniform import UniformQuantizer


def error(x: Tensor, step: Tensor, offset: Tensor, bits: int) -> float:
    q = codes(x.flatten(), step, offset, *limits(bits, False))
    return float((q * step + offset - x.flatten()).square().mean())


TENSORS = {
    "gaussian": torch.randn(4000, generator=torch.Generator().manual_seed(1)),
    "gelu": torch.nn.functional.gelu(torch.randn(4000, generator=torch.Generator().manual_seed(2))),
    "outlier": torch.cat(
        [torch.randn(3999, generator=torch.Generator().manual_seed(3)), torch.tensor([60.0])]
    ),
    "away from zero": 5 + 0.1 * torch.randn(4000, generator=torch.Generator().manual_seed(4)),
}


@pytest.mark.parametrize("name", TENSORS)
@pytest.mark.parametrize("bits", [2, 3, 4, 8])
def test_the_search_is_no_worse_than_its_neighbours_and_better_than_the_range(
    name: str, bits: int
) -> None:
    """Up to what the steps of the codes, which move with the pair, make of so few values."""
    x = TENSORS[name]
    step, offset = least_squares(x, bits, False, ())
    best = error(x, step, offset, bits)
    assert best <= error(x, *minmax(x, bits, False, ()), bits)
    for factor in (0.97, 1.03):
        assert best <= error(x, step * factor, offset, bits) * 1.005
        assert best <= error(x, step, offset + (factor - 1) * step, bits) * 1.005


def test_an_outlier_does_not_set_the_step_of_few_bits() -> None:
    step, _ = least_squares(TENSORS["outlier"], 2, False, ())
    covering, _ = minmax(TENSORS["outlier"], 2, False, ())
    assert step < covering / 4


@pytest.mark.parametrize("bits", [2, 4, 8])
def test_minmax_covers_the_range(bits: int) -> None:
    x = TENSORS["away from zero"]
    step, offset = minmax(x, bits, False, ())
    low, high = limits(bits, False)
    torch.testing.assert_close(offset + low * step, x.min())
    torch.testing.assert_close(offset + high * step, x.max())


def test_a_signed_code_starts_below_zero() -> None:
    step, offset = minmax(torch.tensor([0.0, 15.0]), 4, True, ())
    assert (float(step), float(offset)) == (1.0, 8.0)


def test_three_sigma_is_the_larger_end_over_the_codes() -> None:
    x = TENSORS["away from zero"]
    mean, spread = float(x.mean()), float(x.std())
    expected = max(abs(mean - 3 * spread), abs(mean + 3 * spread)) / 2**2
    assert float(three_sigma(x, 3, True, ())) == pytest.approx(expected)


def test_a_constant_and_a_tensor_that_is_not_finite() -> None:
    for rule in (minmax, least_squares):
        step, offset = rule(torch.full((9,), 2.0), 2, False, ())
        assert float(step) > 0
        assert float(offset) == pytest.approx(2.0)
        with pytest.raises(LowbitError, match="NaN or infinity"):
            rule(torch.tensor([1.0, float("nan")]), 2, False, ())


def test_a_large_tensor_is_thinned_evenly() -> None:
    x = torch.randn(5 * SAMPLE + 3, generator=torch.Generator().manual_seed(5))
    few, whole = least_squares(x, 3, False, ())[0], least_squares(x[:SAMPLE], 3, False, ())[0]
    assert float(few) == pytest.approx(float(whole), rel=0.02)


@pytest.mark.parametrize("start", ["minmax", "least_squares"])
def test_the_offsets_gradient_is_scaled_as_the_steps(start: str) -> None:
    """LSQ+: d/d(offset) is 1 where x is beyond the range and 0 within, times g."""
    quantizer = UniformQuantizer(
        2, kind="activation", signed=False, offset=True, scale_offset=True, init=start
    )
    quantizer.initialise(torch.randn(64))
    torch.nn.init.constant_(quantizer.step, 1.0)
    torch.nn.init.constant_(quantizer.offset, -1.0)
    x = torch.tensor([[-3.0, 0.2, 1.1, 9.0]])  # one below, two within, one above
    quantizer(x).backward(torch.tensor([[1.0, 10.0, 100.0, 1000.0]]))
    assert quantizer.offset.grad.item() == pytest.approx(1001 / (4 * 3) ** 0.5)
