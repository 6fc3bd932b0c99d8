"""Cost of a Q-ViT training step of DeiT-T against full precision, compiled, alternating.

The step holds the teacher's forward. Two ratios are printed: to a full-precision student that
learns from labels alone, and to one that learns from the same teacher, which leaves what
quantization costs. Run alone, on an idle machine: pytest tests/perf -s
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import nn

from suite.cell import make_cell
from suite.method import Progress
from suite.models.catalog import DEIT_TINY_DISTILLED
from suite.optimize import optimizer_of
from suite.recipes import recipe
from suite.registry import METHODS
from tests.perf.alternate import alternate, ratios
from tests.unit.embedded_models import receive

BATCH = 8
START = Progress(0, 300)


def _step(method: Any, quantized: bool, compiled: bool = True) -> Callable[[], None]:
    """One optimizer step at 224 pixels: forward, the method's objective, backward, LAMB."""
    torch.manual_seed(0)
    model: nn.Module = DEIT_TINY_DISTILLED.build(drop_path=0.1)
    images, targets = torch.randn(BATCH, 3, 224, 224), torch.arange(BATCH)
    if quantized:
        method.place(model)
        method.calibrate(model.eval(), images)
    receive(method)
    model.train()
    optimizer = optimizer_of(model, method.cell.recipe)
    net = method.around(model)
    net = torch.compile(net) if compiled else net

    def step() -> None:
        optimizer.zero_grad(set_to_none=True)
        method.objective(net, images, targets, START).backward()
        optimizer.step()

    return step


def _method(bits: int, variant: str = "released", **settings: Any) -> Any:
    cell = make_cell(
        method="fp32" if bits == 32 else "qvit",
        model="deit_tiny_distilled",
        task="imagenet",
        w_bits=bits,
        a_bits=bits,
        variant="" if bits == 32 else variant,
        settings=settings,
        recipe=recipe("imagenet-qvit"),
    )
    return METHODS.get(cell.method)(cell)


@pytest.fixture(autouse=True)
def quiet() -> None:
    """torch.compile tells a captured log every guard; nobody reads it."""
    logging.getLogger("torch.__trace").setLevel(logging.WARNING)


@pytest.mark.perf
def test_compiled_step(benchmark: Any) -> None:
    """Q-ViT's step costs at most 1.4 of a full-precision step with the same teacher."""
    steps = {
        "fp32": _step(_method(32), quantized=False),
        "fp32 taught": _step(_method(3), quantized=False),
        "qvit": _step(_method(3), quantized=True),
        "qvit, a step a tensor": _step(_method(3, activation_scales="tensor"), quantized=True),
        "qvit with DGD": _step(_method(3, variant="paper"), quantized=True),
    }
    seconds = benchmark.pedantic(alternate, args=(steps, 10), rounds=1, iterations=1)
    for base in ("fp32", "fp32 taught"):
        found = ratios(seconds, base)
        benchmark.extra_info[base] = found
        print(f"\nratios to {base}, compiled ({torch.get_num_threads()} threads): {found}")
    assert ratios(seconds, "fp32 taught")["qvit"] <= 1.4


@pytest.mark.perf
def test_eager_step(benchmark: Any) -> None:
    """The same without compiling: what a small model on a CPU pays."""
    steps = {
        "fp32": _step(_method(32), quantized=False, compiled=False),
        "fp32 taught": _step(_method(3), quantized=False, compiled=False),
        "qvit": _step(_method(3), quantized=True, compiled=False),
    }
    seconds = benchmark.pedantic(alternate, args=(steps, 10), rounds=1, iterations=1)
    for base in ("fp32", "fp32 taught"):
        found = ratios(seconds, base)
        benchmark.extra_info[base] = found
        print(f"\nratios to {base}, eager ({torch.get_num_threads()} threads): {found}")
    assert ratios(seconds, "fp32 taught")["qvit"] <= 1.9
