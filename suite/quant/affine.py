"""The uniform quantizers of P2, asymmetric and symmetric, with estimated or learned ranges."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

import torch
from torch import Tensor, nn

from suite.errors import UsageError
from suite.quant.fake_quantize import (
    along,
    fake_quantize,
    integer_limits,
    range_parameters,
    scale_of,
)

if TYPE_CHECKING:
    from suite.quant.groups import Groups
    from suite.quant.ranges import Estimator

MAX_BITS = 16
"""Codes of more bits are not exact in float32 arithmetic once they are divided by the scale."""

State = Literal["estimate", "estimate_train", "fixed", "learned"]


class AffineQuantizer(nn.Module):
    """Uniform quantizer whose range is estimated, fixed or learned (P2).

    bits: python int, 1..16 (symmetric: 2..16); setting it forgets the range.
    symmetric: zero point 0; the grid is unsigned when no lower end of the range is negative.
    axis: dimension of the input with a range for each index (0: per channel of a weight; the
        last: per embedding dimension). None: one range for the tensor.
    log_scale: delta holds the logarithm of the scale.
    estimator: finds the range in the states that estimate (suite/quant/ranges.py).
    groups: groups of the indices along `axis` that share a range (suite/quant/groups.py); while
        they are collecting, the input passes unquantized.

    state: `estimate` finds the range anew from every input and quantizes with it;
    `estimate_train` does so in training mode only; `fixed` keeps it; `learned` makes delta and
    zero_float parameters. delta, zero_float: [] or [size of axis]; zero_float None if symmetric.
    """

    delta: Tensor | None
    zero_float: Tensor | None
    sign: Tensor | None

    def __init__(
        self,
        bits: int,
        *,
        symmetric: bool,
        axis: int | None = None,
        log_scale: bool = False,
        estimator: Estimator | None = None,
        groups: Groups | None = None,
    ) -> None:
        super().__init__()
        self.symmetric = symmetric
        self.axis = axis
        self.log_scale = log_scale
        self.estimator = estimator
        self.groups = groups
        self.state: State = "estimate"
        self.signed = True
        self.ready = False
        self.register_buffer("delta", None)
        self.register_buffer("zero_float", None)
        self.register_buffer("sign", torch.tensor(True) if symmetric else None)
        self.bits = bits

    @property
    def bits(self) -> int:
        return self._bits

    @bits.setter
    def bits(self, bits: int) -> None:
        smallest = 2 if self.symmetric else 1
        if isinstance(bits, bool) or not isinstance(bits, int):
            raise UsageError(f"Bits must be a whole number, not {bits!r}.")
        if not smallest <= bits <= MAX_BITS:
            kind = "symmetric" if self.symmetric else "asymmetric"
            raise UsageError(
                f"A {kind} quantizer cannot have {bits} bits; it can have {smallest} to "
                f"{MAX_BITS} (leave the place unquantized for FP32)."
            )
        self._bits = bits
        self.ready = False

    @property
    def limits(self) -> tuple[int, int]:
        """Smallest and largest integer code."""
        return integer_limits(self.bits, self.symmetric, self.signed)

    @property
    def scale(self) -> Tensor:
        """The scale in use, [] or [size of axis]."""
        return scale_of(self._known()[0], self.log_scale)

    @property
    def zero_point(self) -> Tensor:
        """The integer zero point in use, of the scale's shape."""
        delta, zero_float = self._known()
        if zero_float is None:
            return torch.zeros_like(delta)
        return zero_float.round().clamp(*self.limits)

    def set_range(self, lo: Tensor | float, hi: Tensor | float) -> None:
        """Take the range [lo, hi]: numbers, or tensors [] or [size of axis].

        A symmetric quantizer asks once whether any lower end is negative (a host
        synchronisation). Raises UsageError for a vector without an axis.
        """
        low, high = self._tensor(lo), self._tensor(hi)
        if self.symmetric:
            self._set_signed(bool((low < 0).any()))
        delta, zero_float = range_parameters(low, high, self.bits, self.symmetric, self.signed)
        self._store("delta", delta.log() if self.log_scale else delta)
        if zero_float is not None:
            self._store("zero_float", zero_float)
        self.ready = True

    def initialise(self, x: Tensor) -> None:
        """Let the estimator see `x` and take the range that it gives."""
        if self.estimator is None:
            raise UsageError(
                "This quantizer has no range estimator; give it one or call set_range."
            )
        with torch.no_grad():
            self.set_range(*self.estimator(x.detach(), self))

    def estimate(self, only_in_training: bool = False) -> None:
        """Find the range anew from every input (or from those in training mode)."""
        self.state = "estimate_train" if only_in_training else "estimate"

    def fix(self) -> None:
        """Keep the range from now on; raises UsageError if there is none or it is not finite."""
        self._check_finite()
        self._as_parameters(False)
        self.state = "fixed"

    def learn(self) -> None:
        """Make delta and zero_float parameters.

        With one range for the tensor this may precede calibration, so that an optimizer or a
        checkpoint finds them. Raises UsageError where groups share a range, since parameters of
        one group would drift apart.
        """
        if self.groups is not None and self.groups.count is not None:
            raise UsageError(
                "Ranges that are shared by embedding groups cannot be learned; use one range a "
                "tensor or a dimension."
            )
        if self.ready:
            self._check_finite()
        elif self.axis is None:
            self._placeholder()
        else:
            self._known()
        self._as_parameters(True)
        self.state = "learned"

    def reset(self) -> None:
        """Forget the range and what the estimator has seen."""
        self.ready = False
        if self.estimator is not None:
            self.estimator.reset()
        self.estimate()

    def codes(self, x: Tensor) -> Tensor:
        """The integer codes of `x`, as floats of x's shape."""
        scale, zero = along(self.scale, self.axis, x), along(self.zero_point, self.axis, x)
        return ((x / scale).round() + zero).clamp(*self.limits)

    def forward(self, x: Tensor) -> Tensor:
        if self.groups is not None and self.groups.collecting:
            self.groups.collect(x, self.axis)
            return x
        if self.state == "estimate" or (self.state == "estimate_train" and self.training):
            self.initialise(x)
        delta, zero_float = self._known()
        zero_float = None if zero_float is None else along(zero_float, self.axis, x)
        return fake_quantize(
            x, along(delta, self.axis, x), zero_float, *self.limits, self.log_scale
        )

    def per_group(self, x: Tensor) -> Tensor:
        """x as [ranges, elements]: the rows that share a range, for the audit."""
        if self.axis is None:
            return x.reshape(1, -1)
        return x.movedim(self.axis, 0).reshape(x.shape[self.axis], -1)

    def extra_repr(self) -> str:
        kind = "symmetric" if self.symmetric else "asymmetric"
        return f"{self.bits} bits, {kind}, axis={self.axis}, {self.state}"

    def _known(self) -> tuple[Tensor, Tensor | None]:
        if not self.ready or self.delta is None:
            raise UsageError(
                "This quantizer has no range yet; calibrate the model, or call set_range."
            )
        return self.delta, self.zero_float

    def _tensor(self, end: Tensor | float) -> Tensor:
        like = self.delta
        if not isinstance(end, Tensor):
            end = torch.tensor(
                end, dtype=torch.float32, device=like.device if like is not None else None
            )
        end = end.detach().float()
        if end.numel() == 1:
            return end.reshape(())
        if self.axis is None or end.dim() != 1:
            raise UsageError(
                f"A range of shape {list(end.shape)} was given to a quantizer with "
                f"axis={self.axis}; it takes one number, or one a index of its axis."
            )
        return end

    def _set_signed(self, signed: bool) -> None:
        assert self.sign is not None
        self.signed = signed
        self.sign.fill_(signed)

    def _check_finite(self) -> None:
        delta, zero_float = self._known()
        values = (delta,) if zero_float is None else (delta, zero_float)
        if not all(bool(v.isfinite().all()) for v in values):
            raise UsageError(
                "The range of a quantizer is not finite: its data hold NaN or infinity; look "
                "for them in the weights or in the calibration data."
            )

    def _placeholder(self) -> None:
        self._store("delta", torch.zeros(()) if self.log_scale else torch.ones(()))
        if not self.symmetric:
            self._store("zero_float", torch.zeros(()))

    def _store(self, name: str, value: Tensor) -> None:
        """Replace the buffer, or fill the parameter in place if it has the same shape."""
        old = getattr(self, name)
        if isinstance(old, nn.Parameter) and old.shape == value.shape:
            with torch.no_grad():
                old.copy_(value)
        elif isinstance(old, nn.Parameter):
            setattr(self, name, nn.Parameter(value.detach()))
        else:
            setattr(self, name, value.detach())

    def _as_parameters(self, wanted: bool) -> None:
        for name in ("delta", "zero_float"):
            value = getattr(self, name)
            if value is None or isinstance(value, nn.Parameter) == wanted:
                continue
            delattr(self, name)
            if wanted:
                self.register_parameter(name, nn.Parameter(value.detach().clone()))
            else:
                self.register_buffer(name, value.detach())

    def _load_from_state_dict(self, state_dict: Any, prefix: str, *args: Any) -> None:
        """Take the shapes that the state has, and the signedness that belongs to them."""
        for name in ("delta", "zero_float"):
            found, mine = state_dict.get(prefix + name), getattr(self, name)
            if found is not None and (mine is None or mine.shape != found.shape):
                device = found.device if mine is None else mine.device
                self._store(name, torch.empty_like(found, device=device))
        super()._load_from_state_dict(state_dict, prefix, *args)
        if self.symmetric:
            self.signed = bool(self.sign)
        self.ready = prefix + "delta" in state_dict
