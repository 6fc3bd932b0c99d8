"""The optimizer of a recipe."""

from __future__ import annotations

import torch
from torch import nn

from suite.cell import Recipe


def decayed(name: str, parameter: nn.Parameter) -> bool:
    """Whether weight decay applies: not to vectors, biases or a quantizer's parameters.

    Positional embedding and class token are decayed (P1 code: the exclusion list is asked of
    the wrapper, which has none).
    """
    return parameter.ndim > 1 and not name.endswith(".bias") and ".quantizer." not in name


def adamw(model: nn.Module, recipe: Recipe) -> torch.optim.AdamW:
    """AdamW with two groups; scales share the learning rate of the weights (P1 code)."""
    groups: dict[bool, list[nn.Parameter]] = {True: [], False: []}
    for name, parameter in model.named_parameters():
        if parameter.requires_grad:
            groups[decayed(name, parameter)].append(parameter)
    return torch.optim.AdamW(
        [
            {"params": groups[True], "weight_decay": recipe.weight_decay},
            {"params": groups[False], "weight_decay": 0.0},
        ],
        lr=recipe.lr,
        betas=recipe.betas,
        fused=True,
    )


def set_rate(optimizer: torch.optim.Optimizer, rate: float) -> None:
    for group in optimizer.param_groups:
        group["lr"] = rate
