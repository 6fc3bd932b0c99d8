"""AdaRound: learned rounding of one layer's weight against the layer's FP32 output (P2, W4A32).

The integer weight is clamp(floor(W / s) + h(alpha) + z, low, high) with h from 0 to 1 while
alpha is learned, and h = [alpha >= 0] afterwards (P2 code: quantization/adaround/).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from suite.errors import UsageError, unknown
from suite.quant.affine import AffineQuantizer
from suite.quant.relaxation import RELAXATIONS
from suite.quant.soft_weight import SoftWeight
from suite.quant.temperature import SCHEDULES, Temperature

Layer = Callable[[Tensor, Tensor], Tensor]
"""(weight, inputs [samples, ...]) -> outputs [samples, ..., features], activation included."""


@dataclass(frozen=True)
class Settings:
    """How one layer is reconstructed; the defaults are the released code's.

    weight: of the regulariser; warmup: share of the iterations without it; start, end, schedule,
    shape: the exponent beta over the iterations (suite/quant/temperature.py).
    relaxation: `hard_sigmoid`, `sigmoid`, or `sigmoid_temperature`, which has no regulariser.
    sum_over: axis of the squared errors that is summed, over all others the mean is taken:
        `tokens` axis 1 of the output, as released (features where the output is [samples,
        features]); `features` the last axis.
    """

    iterations: int = 1000
    batch: int = 8
    lr: float = 1e-3
    weight: float = 0.01
    warmup: float = 0.2
    start: float = 20.0
    end: float = 2.0
    schedule: str = "cosine"
    shape: float = 1.0
    relaxation: str = "hard_sigmoid"
    sum_over: str = "tokens"

    def __post_init__(self) -> None:
        if self.relaxation not in RELAXATIONS:
            raise unknown("relaxation", self.relaxation, RELAXATIONS)
        if self.schedule not in SCHEDULES:
            raise unknown("temperature schedule", self.schedule, SCHEDULES)
        if self.sum_over not in ("tokens", "features"):
            raise unknown("axis of the reconstruction error", self.sum_over, ("tokens", "features"))
        if self.iterations < 1 or self.batch < 1 or self.lr <= 0 or self.weight < 0:
            raise UsageError(
                "AdaRound needs 1 iteration and 1 sample or more, a learning rate above 0 and a "
                f"weight of 0 or more, not {self.iterations}, {self.batch}, {self.lr} and "
                f"{self.weight}."
            )
        if not 0 <= self.warmup < 1 or self.shape <= 0:
            raise UsageError(
                f"AdaRound's warm-up must be 0 to less than 1 and its shape above 0, not "
                f"{self.warmup} and {self.shape}."
            )

    @property
    def temperature(self) -> Temperature:
        return Temperature(
            self.iterations, self.warmup, self.start, self.end, self.schedule, self.shape
        )


@dataclass(frozen=True)
class Rounding:
    """What was learned for one weight.

    weight: rounded and dequantized; codes: its integers; alpha: as learned.
    losses: total loss of each iteration, [iterations], where it was asked for.
    before, after: mean squared error [soft, hard] over the first batch of samples.
    """

    weight: Tensor
    codes: Tensor
    alpha: Tensor
    losses: Tensor | None
    before: Tensor
    after: Tensor


@torch.no_grad()
def reconstruct(
    layer: Layer,
    weight: Tensor,
    quantizer: AffineQuantizer,
    inputs: Tensor,
    targets: Tensor,
    settings: Settings,
    *,
    mask: Tensor | None = None,
    order: Tensor | None = None,
    generator: torch.Generator | None = None,
    record: bool = False,
) -> Rounding:
    """Learn the rounding of `weight` so that layer(weight, inputs) comes near to `targets`.

    inputs, targets: one sample a row, on the weight's device. quantizer: has its range already.
    mask: [samples, tokens], true for tokens that count; the layer is then called with these
        alone, [tokens, ...], and so must treat every token by itself.
    order: samples of each iteration, [iterations, batch]; else the first of a fresh permutation
        each, from `generator`.
    Nothing waits for the device during the iterations. Raises UsageError for no samples, or
    masks that leave a sample no token.
    """
    samples = Samples(inputs, targets, mask)
    soft = SoftWeight(weight, quantizer, settings)
    if order is None:
        order = draw_order(len(inputs), settings, generator)
    losses = weight.new_zeros(settings.iterations) if record else None
    first = samples.batches(torch.arange(min(settings.batch, len(inputs)))[None])
    x, y = next(first)
    before = _local_losses(layer, soft, x, y, 1)
    optimizer = torch.optim.Adam([soft.alpha], lr=settings.lr, fused=True)
    for number, (batch_x, batch_y) in enumerate(samples.batches(order), start=1):
        divisor = samples.divisor(batch_y, order.shape[1], settings.sum_over)
        loss = _step(layer, soft, batch_x, batch_y, number, divisor, record)
        optimizer.step()
        if losses is not None and loss is not None:
            losses[number - 1] = loss
    after = _local_losses(layer, soft, x, y, settings.iterations)
    return Rounding(soft.hard(), soft.codes(), soft.alpha.detach(), losses, before, after)


def draw_order(
    samples: int, settings: Settings, generator: torch.Generator | None = None
) -> Tensor:
    """Samples of each iteration, [iterations, batch]: the first of a fresh permutation each."""
    rows = [
        torch.randperm(samples, generator=generator)[: settings.batch]
        for _ in range(settings.iterations)
    ]
    return torch.stack(rows)


def _step(
    layer: Layer,
    soft: SoftWeight,
    x: Tensor,
    y: Tensor,
    number: int,
    divisor: int,
    record: bool,
) -> Tensor | None:
    """Put the gradient of iteration `number` into alpha; its loss, where it is asked for."""
    weight = soft.relaxed(number).requires_grad_()
    with torch.enable_grad():
        out = layer(weight, x)
    error = out.detach() - y
    loss = error.square().sum().div_(divisor) if record else None
    (gradient,) = torch.autograd.grad(out, weight, error)
    penalty = soft.backward(gradient, 2.0 / divisor, number, record)
    return None if loss is None else loss + penalty


def _local_losses(layer: Layer, soft: SoftWeight, x: Tensor, y: Tensor, number: int) -> Tensor:
    weights = (soft.relaxed(number), soft.hard())
    return torch.stack([F.mse_loss(layer(weight, x), y) for weight in weights])


class Samples:
    """Cached inputs and outputs of a layer, and minibatches of them.

    With a mask the tokens that count lie in a row; a minibatch is its samples' tokens.
    """

    def __init__(self, inputs: Tensor, targets: Tensor, mask: Tensor | None = None) -> None:
        if not len(inputs) or len(inputs) != len(targets):
            raise UsageError(
                f"AdaRound needs as many inputs as targets, and some: not {len(inputs)} and "
                f"{len(targets)}; give it calibration samples."
            )
        self.inputs, self.targets = inputs, targets
        self.tokens: tuple[Tensor, ...] | None = None
        if mask is not None:
            lengths = mask.sum(1).tolist()
            if not all(lengths):
                raise UsageError(
                    f"Sample {lengths.index(0)} has no token that counts; leave samples out "
                    "that are all padding."
                )
            self.inputs, self.targets = inputs[mask], targets[mask]
            self.tokens = torch.arange(sum(lengths), device=inputs.device).split(lengths)

    def divisor(self, targets: Tensor, batch: int, sum_over: str) -> int:
        """Elements of a minibatch's targets over which the mean of the summed errors is taken."""
        features = targets.shape[-1]
        if sum_over == "features":
            return targets.numel() // features
        return targets.numel() // targets.shape[1] if self.tokens is None else batch * features

    def batches(self, order: Tensor) -> Iterator[tuple[Tensor, Tensor]]:
        """Inputs and targets of each row of `order` [iterations, batch]."""
        if self.tokens is None:
            rows: Iterable[Tensor] = order.to(self.inputs.device).unbind(0)
        else:
            tokens = self.tokens
            rows = (torch.cat([tokens[i] for i in row]) for row in order.tolist())
        for row in rows:
            yield self.inputs.index_select(0, row), self.targets.index_select(0, row)
