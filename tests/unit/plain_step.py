"""The learned step by plain autograd, for tests to compare with: no code of the suite in it."""

from __future__ import annotations

import torch
from torch import Tensor


def plain_step(
    x: Tensor, step: Tensor, offset: Tensor | None, low: int, high: int, factor: float = 1.0
) -> Tensor:
    """Fake quantization of x from the formula; step and offset broadcast against x.

    min and max against tensors split a tie in halves; the rounding passes its gradient through.
    """
    step = (step - step * factor).detach() + step * factor
    shifted = x if offset is None else x - offset
    top, bottom = (torch.tensor(float(limit), dtype=x.dtype) for limit in (high, low))
    clamped = torch.max(torch.min(shifted / step, top), bottom)
    quantized = ((clamped.round() - clamped).detach() + clamped) * step
    return quantized if offset is None else quantized + offset


def full_size_saved(forward: object, size: int) -> list[Tensor]:
    """The tensors of at least `size` elements that `forward()` keeps for its backward pass."""
    kept: list[Tensor] = []

    def pack(tensor: Tensor) -> Tensor:
        if tensor.numel() >= size:
            kept.append(tensor)
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        assert callable(forward)
        forward()
    return kept


def nodes(out: Tensor) -> list[str]:
    """The autograd nodes behind `out`, but for the leaves' accumulators."""
    found, waiting = [], [out.grad_fn]
    while waiting:
        node = waiting.pop()
        if node is not None and node.name() != "torch::autograd::AccumulateGrad":
            found.append(node.name())
            waiting += [parent for parent, _ in node.next_functions]
    return found
