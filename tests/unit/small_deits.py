"""DeiT's twin with one block, plain and quantized, for tests of checkpoints."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import nn

from suite.cell import make_cell
from suite.models.catalog import DEIT_PICO
from suite.registry import METHODS

SPEC = replace(DEIT_PICO, depth=1)
IMAGES = torch.randn(4, 1, 28, 28, generator=torch.Generator().manual_seed(0))


def full(seed: int = 0) -> nn.Module:
    return SPEC.build(seed=seed)


def quantized(bits: int = 3, seed: int = 0, ready: bool = True, **settings: Any) -> nn.Module:
    """A model with P1's step banks, calibrated if `ready`."""
    cell = make_cell(
        method="variation",
        model="deit_pico",
        task="fashion",
        variant="released",
        w_bits=bits,
        a_bits=bits,
        settings=settings,
    )
    model, method = full(seed), METHODS.get("variation")(cell)
    method.place(model)
    if ready:
        method.calibrate(model, IMAGES)
    return model.eval()


def one_sentence(caught: pytest.ExceptionInfo[BaseException]) -> bool:
    return "\n" not in str(caught.value) and str(caught.value).endswith(".")
