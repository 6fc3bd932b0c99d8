"""Cost of a training step against full precision, variants alternating in one process.

Ratios are printed and kept in the benchmark's extra_info; none is asserted as seconds. Run alone,
on an idle machine: pytest tests/perf --benchmark-only -s
"""

from __future__ import annotations

import logging
from collections.abc import Callable

import pytest
import torch
from torch import nn

from suite.cell import make_cell
from suite.losses import soft_cross_entropy
from suite.method import Progress
from suite.models.catalog import DEIT_TINY
from suite.models.deit import build
from suite.optimize import adamw
from suite.recipes import recipe
from suite.registry import METHODS
from tests.perf.alternate import alternate, ratios

BATCH = 8
EARLY, LATE = Progress(0, 150), Progress(149, 150)


def _step(bits: int | None, progress: Progress, compiled: bool) -> Callable[[], None]:
    """One optimizer step of DeiT-T at 224 pixels: forward, loss, penalty, backward, AdamW."""
    torch.manual_seed(0)
    model: nn.Module = build(DEIT_TINY, drop_path=0.1)
    images = torch.randn(BATCH, 3, 224, 224)
    soft = torch.softmax(torch.randn(BATCH, 1000), dim=1)
    cell = make_cell(
        method="fp32" if bits is None else "variation",
        model="deit_tiny",
        task="imagenet",
        w_bits=bits or 32,
        a_bits=bits or 32,
        variant="" if bits is None else "released",
    )
    method = METHODS.get(cell.method)(cell)
    method.place(model)
    model.eval()
    method.calibrate(model, images)
    model.train()
    optimizer = adamw(model, recipe("imagenet-p1"))
    net = torch.compile(model) if compiled else model

    def step() -> None:
        optimizer.zero_grad(set_to_none=True)
        loss = soft_cross_entropy(net(images), soft)
        penalty = method.penalty(model, progress)
        (loss if penalty is None else loss + penalty).backward()
        optimizer.step()

    return step


def _report(benchmark: pytest.FixtureRequest, steps: dict[str, Callable[[], None]]) -> dict:
    seconds = benchmark.pedantic(alternate, args=(steps, 10), rounds=1, iterations=1)
    found = ratios(seconds, "fp32")
    benchmark.extra_info.update(ratios=found, threads=torch.get_num_threads())
    print(f"\nratios to FP32 eager ({torch.get_num_threads()} threads): {found}")
    return found


@pytest.mark.perf
def test_eager_step(benchmark) -> None:
    """The quantized step must stay nearer to FP32 than the authors' (2.82; 4.23 with OBR)."""
    found = _report(
        benchmark,
        {
            "fp32": _step(None, EARLY, compiled=False),
            "w4a4": _step(4, EARLY, compiled=False),
            "w4a4+obr": _step(4, LATE, compiled=False),
        },
    )
    assert found["w4a4"] < 1.9
    assert found["w4a4+obr"] < found["w4a4"] + 0.25


@pytest.fixture(autouse=True)
def quiet() -> None:
    """torch.compile tells a captured log every guard; nobody reads it."""
    logging.getLogger("torch.__trace").setLevel(logging.WARNING)


@pytest.mark.perf
def test_compiled_step(benchmark) -> None:
    """Compiled, quantization must cost less than in eager mode."""
    found = _report(
        benchmark,
        {
            "fp32": _step(None, EARLY, compiled=False),
            "fp32 compiled": _step(None, EARLY, compiled=True),
            "w4a4 compiled": _step(4, EARLY, compiled=True),
            "w4a4+obr compiled": _step(4, LATE, compiled=True),
        },
    )
    assert found["w4a4 compiled"] < 1.35


@pytest.mark.perf
def test_weight_initialisation(benchmark) -> None:
    """Initial steps of all 74 weight tensors of DeiT-T by least squares, at 4 bits."""
    from suite.models.slot import quantized_weights

    cell = make_cell(
        method="variation",
        model="deit_tiny",
        task="imagenet",
        w_bits=4,
        a_bits=4,
        variant="released",
    )
    model = build(DEIT_TINY)
    METHODS.get("variation")(cell).place(model)
    weights = list(quantized_weights(model))
    assert len(weights) == 74

    def initialise() -> None:
        for _, weight, quantizer in weights:
            quantizer.initialise(weight.detach())

    benchmark.pedantic(initialise, rounds=3, iterations=1)
