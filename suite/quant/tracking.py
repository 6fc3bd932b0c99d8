"""How much the weights of a model oscillate while it trains (P1 code:
fp_pretrained/oscillation_tracking_utils.py, at the start of every iteration)."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from suite.models.slot import Slot
from suite.quant.oscillation import MOMENTUM, OSCILLATING, reversals

NOTHING = float("nan")
"""Code of a weight that was not seen yet."""


class Tracked(nn.Module):
    """Last code, direction of the last move and moving frequency of reversals of one weight, as
    buffers, so that a checkpoint continues them."""

    def __init__(self, like: Tensor) -> None:
        super().__init__()
        self.previous: Tensor
        self.direction: Tensor
        self.frequency: Tensor
        self.register_buffer("previous", torch.full_like(like, NOTHING, requires_grad=False))
        self.register_buffer("direction", torch.zeros_like(like, requires_grad=False))
        self.register_buffer("frequency", torch.zeros_like(like, requires_grad=False))

    @torch.no_grad()
    def update(self, codes: Tensor) -> None:
        """Take the codes of one more step; the first ones only set the start."""
        move = (self.previous - codes).nan_to_num_(nan=0.0).round_()
        reversals(move, self.direction, self.frequency, MOMENTUM)
        self.previous.copy_(codes)


class Oscillations(nn.Module):
    """The quantized weights of `model`, followed step by step. `model` may hold this module, but
    this one does not hold the model's layers as its own."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self._layers: list[Any] = [m for m in model.modules() if _quantized(m)]
        self.tracked = nn.ModuleList(Tracked(layer.weight.detach()) for layer in self._layers)

    def update(self) -> None:
        """Look at all weights once: at the start of a training step, before the forward pass."""
        for layer, tracked in self._pairs():
            tracked.update(layer.weight_slot.quantizer.codes(layer.weight.detach()))

    def figures(self) -> dict[str, float]:
        """share: of the weights whose frequency is above OSCILLATING, without the first and the
        last layer; with_edges: with them; mean: of the frequencies, without."""
        inner = [t.frequency for layer, t in self._pairs() if not layer.weight_slot.edge]
        whole = [t.frequency for _, t in self._pairs()]
        return {"share": _share(inner), "with_edges": _share(whole), "mean": _mean(inner)}

    def _pairs(self) -> list[tuple[Any, Any]]:
        return list(zip(self._layers, self.tracked, strict=True))


def _quantized(module: Any) -> bool:
    slot = getattr(module, "weight_slot", None)
    return isinstance(slot, Slot) and slot.quantizer is not None


def _share(frequencies: list[Tensor]) -> float:
    above = sum(int((f > OSCILLATING).sum()) for f in frequencies)
    return round(above / max(sum(f.numel() for f in frequencies), 1), 6)


def _mean(frequencies: list[Tensor]) -> float:
    total = sum(float(f.double().sum()) for f in frequencies)
    return round(total / max(sum(f.numel() for f in frequencies), 1), 8)
