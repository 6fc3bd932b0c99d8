"""Gradient factors and initial steps, each from its formula."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from suite.errors import LowbitError
from suite.quant.factors import FACTORS, l1_factor
from suite.quant.init import INITS, OFFSET_INITS
from suite.quant.mse import mse_step

X = torch.randn(4, 3, 5, 6, generator=torch.Generator().manual_seed(0))
SIZE = float(X.abs().sum())


@pytest.mark.parametrize("groups", [1, 3])
@pytest.mark.parametrize(
    ("name", "kind", "expected"),
    [
        ("lsq", "weight", lambda g: 1 / math.sqrt(360 / g * 7)),
        ("lsq", "activation", lambda g: 1 / math.sqrt(90 / g * 7)),
        ("l1", "weight", lambda g: 1 / math.sqrt(SIZE / g * 7)),
        ("l1", "activation", lambda g: 1 / math.sqrt(SIZE / g * 7)),
        ("p1_activation", "activation", lambda g: 1 / math.sqrt(360 / g) / 7),
        ("tensor", "weight", lambda g: 1 / math.sqrt(360 * 7)),
        ("tensor", "activation", lambda g: 1 / math.sqrt(360 * 7)),
        ("qkv", "weight", lambda g: 1 / math.sqrt(3 * 360 * 7)),
        ("none", "weight", lambda g: 1.0),
    ],
)
def test_factors_are_their_formulas(name, kind, expected, groups: int) -> None:
    assert float(FACTORS[name](X, kind, 7, groups)) == pytest.approx(expected(groups), rel=1e-6)


def test_every_factor_and_start_is_tested_here() -> None:
    assert set(FACTORS) == {"lsq", "l1", "p1_activation", "tensor", "qkv", "none"}
    assert set(INITS) == {"lsq", "p1_activation", "mse", "tensor", "three_sigma"}
    assert set(OFFSET_INITS) == {"minmax", "least_squares"}  # tests/unit/test_regression.py


def test_the_l1_factor_takes_its_root_in_double_and_has_no_gradient() -> None:
    x = X.clone().requires_grad_()
    found = l1_factor(x, 7)
    assert not found.requires_grad
    total = (X.abs().sum() * 7).item()
    assert found.item() == np.float32(1 / math.sqrt(total))


@pytest.mark.parametrize("bits", [2, 4, 8])
@pytest.mark.parametrize("signed", [True, False])
def test_starts_for_one_step_are_their_formulas(bits: int, signed: bool) -> None:
    signed_high = 2 ** (bits - 1) - 1
    high = signed_high if signed else 2**bits - 1
    mean = 2 * float(X.abs().mean())
    assert INITS["lsq"](X, bits, signed, ()).item() == pytest.approx(mean / math.sqrt(high))
    p1 = INITS["p1_activation"](X, bits, signed, ())
    assert p1.item() == pytest.approx(mean / math.sqrt(signed_high))
    assert INITS["mse"](X, bits, signed, ()) == mse_step(X, bits, signed)[0]
    ends = [float(X.mean()) + side * 3 * float(X.std()) for side in (-1, 1)]
    sigma = INITS["three_sigma"](X, bits, signed, ())
    assert sigma.item() == pytest.approx(max(map(abs, ends)) / 2 ** (bits - 1))
    whole = INITS["tensor"](X, bits, signed, (1, 3, 1, 1))
    assert whole.flatten().tolist() == pytest.approx([mean / math.sqrt(high)] * 3)


@pytest.mark.parametrize("name", ["lsq", "p1_activation"])
@pytest.mark.parametrize(
    ("shape", "axes"), [((1, 3, 1, 1), (0, 2, 3)), ((3, 1, 1), (0, 2, 3)), ((6,), (0, 1, 2))]
)
def test_starts_by_group_average_over_the_other_axes(name: str, shape, axes) -> None:
    found = INITS[name](X, 4, True, shape)
    assert found.shape == shape
    expected = 2 * X.abs().mean(axes) / math.sqrt(7)
    torch.testing.assert_close(found.flatten(), expected)


def test_least_squares_by_group_is_refused() -> None:
    with pytest.raises(LowbitError, match="use init 'lsq'"):
        INITS["mse"](X, 4, True, (1, 3, 1, 1))
