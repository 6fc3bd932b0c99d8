"""Cost of AdaRound's loop against the plain one, alternating in one process.

The plain loop is written as the paper's code works: floor, scale and relaxation anew in every
iteration through autograd, weight and bias collecting gradients that nobody reads, Adam without
options, losses of the first batch before and after. Layers have MiniLM's shapes, batches 8
samples. Samples have 27 tokens, the mean of the embedded sentences; with more tokens the matrix
products, the same in both loops, weigh more, and extra_info holds the ratio at 128 as well. Where
padding is left out of the reconstruction (variant `corrected`), samples padded to 48 tokens cost
no more than what they hold. Run alone, on an idle machine: pytest tests/perf --benchmark-only -s
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from suite.quant.adaround import Settings, reconstruct
from suite.quant.affine import AffineQuantizer
from suite.quant.ranges import estimator

SHAPES = ((384, 384, False), (384, 1536, True), (1536, 384, False))
"""Inputs, outputs, and whether GELU follows: query/key/value/output, intermediate, output."""

SHARE = (4, 1, 1)
"""How often MiniLM has each in a block."""

ITERATIONS = 40
SAMPLES = 64
MEAN, PADDED = 27, 48
"""Tokens of an embedded sentence, and those it is padded to."""


@dataclass
class Layer:
    """A linear layer, its calibrated 4-bit quantizer and its cached data."""

    linear: nn.Linear
    gelu: bool
    quantizer: AffineQuantizer
    inputs: Tensor
    targets: Tensor

    def run(self, weight: Tensor, x: Tensor, bias: Tensor) -> Tensor:
        out = F.linear(x, weight, bias)
        return F.gelu(out) if self.gelu else out


def _layer(inp: int, out: int, gelu: bool, tokens: int) -> Layer:
    torch.manual_seed(0)
    linear = nn.Linear(inp, out)
    quantizer = AffineQuantizer(4, symmetric=True, estimator=estimator("mse"))
    quantizer.initialise(linear.weight.detach())
    quantizer.fix()
    inputs = torch.randn(SAMPLES, tokens, inp)
    with torch.no_grad():
        targets = linear(inputs + 0.05 * torch.randn_like(inputs))
    return Layer(linear, gelu, quantizer, inputs, F.gelu(targets) if gelu else targets)


def _plain(layer: Layer, settings: Settings) -> Callable[[], None]:
    def run() -> None:
        weight, scale = layer.linear.weight, layer.quantizer.scale
        low, high = layer.quantizer.limits
        with torch.no_grad():
            rest = weight / scale - torch.floor(weight / scale)
            start = -torch.log((1.1 - rest) / (rest + 0.1))
        alpha = nn.Parameter(start)
        optimizer = torch.optim.Adam([alpha], lr=settings.lr)

        def h() -> Tensor:
            return torch.clamp(torch.sigmoid(alpha) * 1.2 - 0.1, 0.0, 1.0)

        def quantized(up: Tensor) -> Tensor:
            return scale * (torch.clamp(torch.floor(weight / scale) + up, low, high) - 0.0)

        def local_losses() -> list[float]:
            x, y = layer.inputs[: settings.batch], layer.targets[: settings.batch]
            ups = (h(), (alpha >= 0).float())
            return [
                float(F.mse_loss(layer.run(quantized(up), x, layer.linear.bias), y)) for up in ups
            ]

        local_losses()
        for step in range(1, settings.iterations + 1):
            chosen = torch.randperm(SAMPLES)[: settings.batch]
            x, y = layer.inputs[chosen], layer.targets[chosen]
            optimizer.zero_grad()
            out = layer.run(quantized(h()), x, layer.linear.bias)
            loss = F.mse_loss(out, y, reduction="none").sum(1).mean()
            if step >= settings.warmup * settings.iterations:
                powers = ((h().view(-1) - 0.5).abs() * 2).pow(settings.temperature(step))
                loss = loss + settings.weight * (1 - powers).sum()
            loss.backward()
            optimizer.step()
        local_losses()

    return run


def _ours(layer: Layer, settings: Settings, mask: Tensor | None = None) -> Callable[[], None]:
    bias = layer.linear.bias.detach()

    def run() -> None:
        reconstruct(
            lambda weight, x: layer.run(weight, x, bias),
            layer.linear.weight.detach(),
            layer.quantizer,
            layer.inputs,
            layer.targets,
            settings,
            mask=mask,
        )

    return run


def _seconds(tokens: int, rounds: int, mask: Tensor | None = None) -> dict[str, list[float]]:
    """Seconds an iteration of an average MiniLM layer, a round of each loop in turn."""
    settings = Settings(iterations=ITERATIONS)
    layers = [_layer(*shape, tokens) for shape in SHAPES]
    runs = {
        "plain": [_plain(layer, settings) for layer in layers],
        "ours": [_ours(layer, settings, mask) for layer in layers],
    }
    seconds: dict[str, list[float]] = {name: [] for name in runs}
    for number in range(rounds + 1):
        for name, own in runs.items():
            total = 0.0
            for run, share in zip(own, SHARE, strict=True):
                start = time.perf_counter()
                run()
                total += share * (time.perf_counter() - start)
            if number:
                seconds[name].append(total / sum(SHARE) / ITERATIONS)
    return seconds


def _ratio(seconds: dict[str, list[float]]) -> float:
    """Median over rounds of the ratio within a round, so that a slow round cancels."""
    pairs = zip(seconds["ours"], seconds["plain"], strict=True)
    return round(statistics.median(ours / plain for ours, plain in pairs), 3)


def _report(benchmark, measure: Callable[[], dict[str, dict[str, list[float]]]]) -> dict:
    seconds = benchmark.pedantic(measure, rounds=1, iterations=1)
    ratios = {name: _ratio(found) for name, found in seconds.items()}
    benchmark.extra_info.update(ratios=ratios, seconds=seconds, threads=torch.get_num_threads())
    print(f"\nratios to the plain loop ({torch.get_num_threads()} threads): {ratios}")
    return ratios


@pytest.mark.perf
def test_reconstruction_takes_at_most_half_of_the_plain_loop(benchmark) -> None:
    ratios = _report(
        benchmark, lambda: {"27 tokens": _seconds(MEAN, 4), "128 tokens": _seconds(128, 1)}
    )
    assert ratios["27 tokens"] <= 0.5


@pytest.mark.perf
def test_reconstruction_without_padding_takes_at_most_half_of_the_plain_loop(benchmark) -> None:
    lengths = torch.randint(2 * MEAN - PADDED, PADDED + 1, (SAMPLES, 1))
    mask = torch.arange(PADDED) < lengths
    ratios = _report(benchmark, lambda: {"48 tokens, padded": _seconds(PADDED, 3, mask)})
    assert ratios["48 tokens, padded"] <= 0.5
