"""The optimizer of a recipe."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import nn

from suite.cell import Recipe


def decayed(name: str, parameter: nn.Parameter) -> bool:
    """Whether weight decay applies: not to vectors, biases or a quantizer's parameters.

    Positional embedding and class token are decayed (P1 code: the exclusion list is asked of
    the wrapper, which has none).
    """
    return parameter.ndim > 1 and not name.endswith(".bias") and ".quantizer." not in name


def groups(model: nn.Module, recipe: Recipe) -> list[dict[str, Any]]:
    """Two groups, with and without decay; scales share the weights' learning rate (P1 code) unless
    the recipe has a `quantizer_lr`, which makes a third group of them."""
    found: dict[str, list[nn.Parameter]] = {"decayed": [], "plain": [], "scales": []}
    for name, parameter in model.named_parameters():
        if parameter.requires_grad:
            own = recipe.quantizer_lr is not None and ".quantizer." in name
            group = "decayed" if decayed(name, parameter) else "plain"
            found["scales" if own else group].append(parameter)
    weights = [
        {"params": found["decayed"], "weight_decay": recipe.weight_decay},
        {"params": found["plain"], "weight_decay": 0.0},
    ]
    if recipe.quantizer_lr is None:
        return weights
    scale = recipe.quantizer_lr / recipe.lr
    return [*weights, {"params": found["scales"], "weight_decay": 0.0, "lr_scale": scale}]


EPS = {"adamw": 1e-8, "lamb": 1e-6, "bertadam": 1e-6}
"""What each adds to the root of the squared gradient's mean where the recipe has no `eps`."""


def _own(recipe: Recipe) -> dict[str, Any]:
    """What every optimizer takes from the recipe besides weight decay."""
    eps = EPS[recipe.optimizer] if recipe.eps is None else recipe.eps
    return {"lr": recipe.lr, "betas": recipe.betas, "eps": eps}


def adamw(model: nn.Module, recipe: Recipe) -> torch.optim.AdamW:
    """AdamW as P1's code sets it up."""
    return torch.optim.AdamW(groups(model, recipe), **_own(recipe), fused=True)


def lamb(model: nn.Module, recipe: Recipe) -> torch.optim.Optimizer:
    """LAMB (arXiv 1904.00962) by timm, which follows apex's FusedLAMB, Q-ViT's optimizer.

    As there, the gradient's norm over all parameters is held at 1 or less, and a parameter without
    weight decay is not scaled by its norm: without any decay this is Adam with a clipped gradient.
    Clipping makes gradients small, so that epsilon counts: Q-ViT's command line gives it 1e-8.
    """
    from timm.optim import Lamb

    return Lamb(groups(model, recipe), **_own(recipe))


def bertadam(model: nn.Module, recipe: Recipe) -> torch.optim.Optimizer:
    """BERT's own Adam, as TernaryBERT and BinaryBERT train."""
    from suite.bert_adam import BertAdam

    return BertAdam(groups(model, recipe), **_own(recipe))


OPTIMIZERS: dict[str, Callable[[nn.Module, Recipe], torch.optim.Optimizer]] = {
    "adamw": adamw,
    "lamb": lamb,
    "bertadam": bertadam,
}


def optimizer_of(model: nn.Module, recipe: Recipe) -> torch.optim.Optimizer:
    """The recipe's optimizer over the model's parameters."""
    return OPTIMIZERS[recipe.optimizer](model, recipe)


def set_rate(optimizer: torch.optim.Optimizer, rate: float) -> None:
    """Set the learning rate; a group may have it multiplied by an `lr_scale` of its own."""
    for group in optimizer.param_groups:
        group["lr"] = rate * group.get("lr_scale", 1.0)
