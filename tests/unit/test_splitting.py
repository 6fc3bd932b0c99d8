"""The ternary split: its identities, and the groups in which the released one breaks."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from suite.errors import LowbitError
from suite.quant.splitting import Halves, split
from suite.quant.ternary import binary, ternary


def weight(seed: int, shape: tuple[int, int] = (7, 33), mean: float = 0.02) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed)) * 0.05 + mean


def check(w: Tensor, halves: Halves, rows: bool) -> None:
    one, two = halves.first, halves.second
    torch.testing.assert_close(one + two, w, atol=1e-7, rtol=1e-6)
    total = binary(one, rows) + binary(two, rows)
    torch.testing.assert_close(total, ternary(w, rows), atol=1e-7, rtol=1e-5)
    sizes = [half.abs().mean(1) if rows else half.abs().mean() for half in (one, two)]
    torch.testing.assert_close(sizes[0], sizes[1], atol=1e-7, rtol=1e-5)


@settings(max_examples=50, deadline=None, derandomize=True)
@given(st.integers(0, 1000), st.booleans(), st.floats(-0.1, 0.1), st.sampled_from(["max", "mean"]))
def test_the_halves_add_up_in_latent_and_in_binary_weights(
    seed: int, rows: bool, mean: float, level: str
) -> None:
    w = weight(seed, mean=mean)
    halves = split(w, rows=rows, level=level)  # type: ignore[arg-type]
    if level == "mean" or not halves.broken:
        check(w, halves, rows)


def edges() -> Tensor:
    """No large positive entry; no zero entry; an ordinary row; zeros."""
    rows = weight(3, (4, 16))
    rows[0] = torch.where(rows[0] > 0, 0.001, -rows[0].abs() - 0.01)
    rows[1] = torch.where(rows[1] > 0, 0.2, -0.2)
    rows[3] = 0.0
    return rows


def test_the_mean_level_holds_in_every_group() -> None:
    halves = split(edges(), rows=True, level="mean")
    assert halves.broken == 0
    check(edges(), halves, rows=True)


def test_the_largest_value_is_no_level_without_positive_entries() -> None:
    w = edges()
    halves = split(w, rows=True, level="max")
    assert halves.broken == 1
    apart = binary(halves.first, True) + binary(halves.second, True) - ternary(w, True)
    assert apart[0].abs().max() > 0.01
    assert torch.allclose(apart[1:], torch.zeros(3, 16), atol=1e-6)


def test_a_weight_that_is_not_finite_is_refused_in_one_sentence() -> None:
    w = weight(0)
    w[2, 2] = torch.nan
    with pytest.raises(LowbitError, match="does not add up") as caught:
        split(w)
    assert "\n" not in str(caught.value)


def test_halves_keep_the_type_of_the_weight() -> None:
    assert split(weight(0)).first.dtype == torch.float32
    assert split(weight(0).double()).second.dtype == torch.float64
