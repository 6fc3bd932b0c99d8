"""Slots: the named places of a model where a quantizer can sit, and the layers that hold them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any, Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

Kind = Literal["activation", "weight"]


class Slot(nn.Module):
    """Identity until a quantizer is put into it.

    role: what the tensor is, the same word in every block (`query`, `attn_probs`, `fc1_weight`).
    signed: whether its values can be negative, as the papers quantize it.
    heads, head_axis: number of attention heads and the axis they lie on (None: no heads). For
        a 2-D weight the heads are contiguous slices of that axis.
    edge: belongs to the first or last layer, which the papers keep at 8 bits.
    channel_shape: shape of a scale with one entry a channel, broadcast against the tensor: output
        channels of a weight, input channels of an activation (empty: not known).
    """

    def __init__(
        self,
        role: str,
        kind: Kind,
        *,
        signed: bool = True,
        heads: int | None = None,
        head_axis: int | None = None,
        edge: bool = False,
        channel_shape: tuple[int, ...] = (),
    ) -> None:
        super().__init__()
        self.role = role
        self.kind: Kind = kind
        self.signed = signed
        self.heads = heads
        self.head_axis = head_axis
        self.edge = edge
        self.channel_shape = channel_shape
        self.quantizer: Any = None

    def forward(self, x: Tensor) -> Tensor:
        return x if self.quantizer is None else self.quantizer(x)

    def extra_repr(self) -> str:
        return f"{self.role}, {self.kind}"


class QuantLinear(nn.Linear):
    """A linear layer whose weight passes through a slot. x: [..., in], returns [..., out]."""

    def __init__(self, inp: int, out: int, slot: Slot, bias: bool = True) -> None:
        super().__init__(inp, out, bias)
        self.weight_slot = slot

    def forward(self, input: Tensor) -> Tensor:
        return F.linear(input, self.weight_slot(self.weight), self.bias)


class QuantConv2d(nn.Conv2d):
    """A 2-D convolution whose weight passes through a slot. x: [batch, in, height, width]."""

    def __init__(self, inp: int, out: int, kernel: int, stride: int, slot: Slot) -> None:
        super().__init__(inp, out, kernel, stride)
        self.weight_slot = slot

    def forward(self, input: Tensor) -> Tensor:
        return self._conv_forward(input, self.weight_slot(self.weight), self.bias)


def slots(model: nn.Module) -> dict[str, Slot]:
    """Every slot of `model` by its dotted name, in the order of registration."""
    return {name: m for name, m in model.named_modules() if isinstance(m, Slot)}


@contextmanager
def without(chosen: Iterable[Slot]) -> Iterator[None]:
    """Leave the slots in FP32 for a while."""
    held = [(slot, slot.quantizer) for slot in chosen]
    for slot, _ in held:
        slot.quantizer = None
    try:
        yield
    finally:
        for slot, quantizer in held:
            slot.quantizer = quantizer


@contextmanager
def quantized_once(model: nn.Module) -> Iterator[None]:
    """Hold every quantized weight as values while the model only evaluates.

    Between training steps weights do not change, so quantizing them anew for every batch would
    give the same bits again.
    """
    held = []
    for module in list(model.modules()):
        filled = [(p, s) for p, s in _in_slots(module) if s.quantizer is not None]
        for parameter, slot in filled:
            held.append((parameter, slot, slot.quantizer, parameter.data))
            with torch.no_grad():
                parameter.data = slot.quantizer(parameter)
        for _, slot in filled:
            slot.quantizer = None
    try:
        yield
    finally:
        for parameter, slot, quantizer, data in reversed(held):
            parameter.data = data
            slot.quantizer = quantizer or slot.quantizer


def _in_slots(module: Any) -> list[tuple[nn.Parameter, Slot]]:
    """Parameters of one layer that pass through slots, a NoNorm's bias among them."""
    weight = getattr(module, "weight_slot", None)
    if not isinstance(weight, Slot):
        return []
    found = [(module.weight, weight)]
    if hasattr(module, "bias_slot"):
        found.append((module.bias, module.bias_slot or weight))
    return found


def quantized_weights(model: nn.Module) -> Iterator[tuple[str, Tensor, Any]]:
    """Yield (layer name, weight, quantizer) for each layer whose weight slot is filled."""
    for name, module in model.named_modules():
        slot = getattr(module, "weight_slot", None)
        if isinstance(slot, Slot) and slot.quantizer is not None:
            yield name, module.weight, slot.quantizer
