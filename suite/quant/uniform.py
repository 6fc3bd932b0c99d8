"""The uniform learned-step quantizer: one step a tensor, channel or head, optional offset."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from suite.quant.factors import FACTORS, Kind
from suite.quant.functional import FLOOR, Grid, LearnedStep, codes, limits
from suite.quant.init import INITS, OFFSET_INITS


class UniformQuantizer(nn.Module):
    """Fake quantization with learned steps (LSQ, arXiv 1902.08153; LSQ+ with an offset).

    bits: 2..8. kind: whether a weight or an activation is quantized. scale_shape: shape of the
    step, broadcast against the tensor: () for one a tensor, (1, heads, 1, 1) for one a head,
    (out, 1) for one an output channel. grad_factor, init: names in suite.quant.factors and
    suite.quant.init; an init with an offset sets that as well. scale_offset: grad_factor holds for
    the offset's gradient too (LSQ+).

    >>> quantizer = UniformQuantizer(2, kind="weight")
    >>> quantizer.initialise(torch.tensor([[-1.0, 0.2], [0.6, 1.0]]))
    >>> quantizer(torch.tensor([[-1.0, 0.2], [0.6, 1.0]])).unique().numel() <= 4
    True
    """

    def __init__(
        self,
        bits: int,
        *,
        kind: Kind,
        signed: bool = True,
        scale_shape: tuple[int, ...] = (),
        offset: bool = False,
        grad_factor: str = "lsq",
        init: str = "lsq",
        scale_offset: bool = False,
    ) -> None:
        super().__init__()
        self.bits = bits
        self.kind: Kind = kind
        self.signed = signed
        self.low, self.high = limits(bits, signed)
        self.groups = math.prod(scale_shape)
        self._factor = FACTORS[grad_factor]
        self._init = init
        self._scale_offset = scale_offset
        self.step = nn.Parameter(torch.zeros(scale_shape))
        self.offset = nn.Parameter(torch.zeros(scale_shape)) if offset else None

    @torch.no_grad()
    def initialise(self, x: Tensor) -> None:
        """Set the step from `x`, and the offset by a rule that has one; others leave it at zero."""
        given = x.detach(), self.bits, self.signed, tuple(self.step.shape)
        if self._init not in OFFSET_INITS:
            self.step.copy_(INITS[self._init](*given))
            return
        assert self.offset is not None
        step, offset = OFFSET_INITS[self._init](*given)
        self.step.copy_(step)
        self.offset.copy_(offset)

    def forward(self, x: Tensor) -> Tensor:
        factor = self._factor(x, self.kind, self.high, self.groups)
        return LearnedStep.apply(
            x, self.step, self.offset, self.low, self.high, factor, self._scale_offset
        )

    def grid(self, weight: Tensor) -> Grid:
        """Step in use and integer limits, for the bin regulariser."""
        return Grid(self.step.clamp(min=FLOOR), self.low, self.high)

    @torch.no_grad()
    def codes(self, x: Tensor) -> Tensor:
        """Integer codes of x as floats."""
        return codes(x, self.step.clamp(min=FLOOR), self.offset, self.low, self.high)

    def per_group(self, x: Tensor) -> Tensor:
        """x arranged as [steps, elements]: the rows that share a step, for the audit."""
        return per_step(x, tuple(self.step.shape))

    def extra_repr(self) -> str:
        sign = "signed" if self.signed else "unsigned"
        return f"{self.bits} bits, {sign}, {self.groups} step(s)"


def per_step(x: Tensor, scale_shape: tuple[int, ...]) -> Tensor:
    """x as [steps, elements], a row for every entry of a scale that broadcasts against it."""
    shape = (1,) * (x.ndim - len(scale_shape)) + scale_shape
    axes = [axis for axis, length in enumerate(shape) if length > 1]
    rest = [axis for axis in range(x.ndim) if axis not in axes]
    return x.permute(*axes, *rest).reshape(math.prod(scale_shape), -1)
