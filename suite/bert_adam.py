"""BertAdam: the Adam of BERT's first release, which TernaryBERT and BinaryBERT train with.

No library has it with all of its differences from AdamW: no bias correction, weight decay within
the update, and every parameter's gradient clipped to its own norm of 1 (BinaryBERT code:
optimization.py:183-302). The learning rate's schedule is the recipe's.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.optim import Optimizer

CLIPPED = 1e-6
"""Added to a gradient's norm before it divides, as in torch.nn.utils.clip_grad_norm_."""


class BertAdam(Optimizer):
    """lr: learning rate; betas: decay of both averages; eps: added to the root of the second;
    norm: largest norm of one parameter's gradient."""

    def __init__(
        self,
        params: Any,
        lr: float,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-6,
        weight_decay: float = 0.01,
        norm: float = 1.0,
    ) -> None:
        own = {"lr": lr, "betas": betas, "eps": eps, "weight_decay": weight_decay, "norm": norm}
        super().__init__(params, own)

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> None:  # type: ignore[override]
        """Move every parameter that has a gradient; those without keep their averages."""
        for group in self.param_groups:
            moved = [p for p in group["params"] if p.grad is not None]
            if moved:
                self._move(group, moved)

    def _move(self, group: dict[str, Any], moved: list[Tensor]) -> None:
        grads = [p.grad for p in moved if p.grad is not None]
        norms = torch._foreach_norm(grads)
        torch._foreach_add_(norms, CLIPPED)
        shares = [(group["norm"] / n).clamp(max=1.0) for n in norms]
        grads = list(torch._foreach_mul(grads, shares))
        first, second = (self._averages(moved, name) for name in ("first", "second"))
        one, two = group["betas"]
        torch._foreach_mul_(first, one)
        torch._foreach_add_(first, grads, alpha=1 - one)
        torch._foreach_mul_(second, two)
        torch._foreach_addcmul_(second, grads, grads, value=1 - two)
        below = torch._foreach_sqrt(second)
        torch._foreach_add_(below, group["eps"])
        update = torch._foreach_div(first, below)
        if group["weight_decay"]:
            torch._foreach_add_(update, moved, alpha=group["weight_decay"])
        torch._foreach_add_(moved, update, alpha=-group["lr"])

    def _averages(self, moved: list[Tensor], name: str) -> list[Tensor]:
        for parameter in moved:
            if name not in self.state[parameter]:
                self.state[parameter][name] = torch.zeros_like(parameter)
        return [self.state[parameter][name] for parameter in moved]
