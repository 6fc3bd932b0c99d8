"""Which passes over the data a recipe makes, and the learning rate at any moment of them."""

from __future__ import annotations

import math
from dataclasses import dataclass

from suite.cell import Recipe


@dataclass(frozen=True)
class Pass:
    """One pass over the training images.

    epoch: nominal index (advances by `crops`); crops: crops of every image in this pass;
    time: nominal epoch at which the learning rate is read at the start of the pass.
    """

    epoch: int
    crops: int
    time: int


def passes(recipe: Recipe) -> list[Pass]:
    """The passes of a recipe.

    With several crops: warm-up passes with one crop, then multi-crop passes, and the last
    (at most `crops`) nominal epochs one crop each, whose learning rate is read one epoch late,
    so that the last one trains at the minimum rate (P1 code: train_VVTQ.py, 150 epochs =
    37 four-crop passes labelled 0, 4, ..., 144 and single-crop passes 148 and 149).
    """
    total, crops = recipe.epochs, recipe.crops
    if crops == 1:
        return [Pass(e, 1, e) for e in range(total)]
    found = [Pass(e, 1, e) for e in range(min(recipe.warmup_epochs, total))]
    epoch = len(found)
    while epoch < total - crops:
        found.append(Pass(epoch, crops, epoch))
        epoch += crops
    found += [Pass(e, 1, e + 1) for e in range(epoch, total)]
    return found


WARMUP_START = 1e-6
"""Learning rate at the very beginning of a warm-up (P1 code's default)."""


def learning_rate(recipe: Recipe, time: float) -> float:
    """Linear warm-up, then a cosine or a line from `lr` to `min_lr` over all nominal epochs."""
    if recipe.decay == "linear":
        return _line(recipe, min(time / max(recipe.epochs, 1), 1.0))
    if time < recipe.warmup_epochs:
        return WARMUP_START + time * (recipe.lr - WARMUP_START) / recipe.warmup_epochs
    share = min(time / max(recipe.epochs, 1), 1.0)
    return recipe.min_lr + 0.5 * (recipe.lr - recipe.min_lr) * (1 + math.cos(math.pi * share))


def _line(recipe: Recipe, share: float) -> float:
    """Up from zero during the warm-up share, then down (transformers' linear schedule)."""
    if share < recipe.warmup_share:
        return recipe.lr * share / recipe.warmup_share
    left = (1 - share) / (1 - recipe.warmup_share)
    return recipe.min_lr + (recipe.lr - recipe.min_lr) * left


def step_rate(recipe: Recipe, current: Pass, step: int, steps: int) -> float:
    """Learning rate of one step; constant within a pass when the recipe says `lr_per = epoch`."""
    if recipe.lr_per == "epoch":
        return learning_rate(recipe, max(0, current.time - recipe.lr_lag))
    return learning_rate(recipe, current.epoch + current.crops * step / steps)
