"""Full class distributions from the compressed soft labels of FKD archives."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from suite.errors import UsageError

KINDS = ("k5", "k10", "renorm", "smoothing", "hard", "ori")


def recover(label: Tensor, classes: int, kind: str = "k5") -> Tensor:
    """Soft labels [rows, classes] (P1 code: utils_FKD.py).

    k5, k10: label [rows, 2, k]; row 0 class ids, row 1 probabilities; what is left to one is
        shared evenly among the other classes (marginal smoothing).
    renorm: the same label; other classes get nothing and each row is scaled to sum to one.
    smoothing: label [rows, 2]: class id and its probability; the rest is shared evenly.
    hard: label [rows] of class ids. ori: the stored vector itself.
    """
    if kind in ("k5", "k10"):
        return smooth(label[:, 0].long(), label[:, 1], classes)
    if kind == "renorm":
        top = torch.zeros(len(label), classes, dtype=label.dtype)
        return F.normalize(top.scatter_(1, label[:, 0].long(), label[:, 1]), p=1, dim=1)
    if kind == "smoothing":
        return smooth(label[:, :1].long(), label[:, 1:], classes)
    if kind == "hard":
        return F.one_hot(label.long(), classes).float()
    if kind == "ori":
        return label
    raise UsageError(f"Unknown soft-label kind {kind!r}; valid: {', '.join(KINDS)}.")


def smooth(ids: Tensor, probabilities: Tensor, classes: int) -> Tensor:
    """Marginal smoothing: ids, probabilities [rows, k] to distributions [rows, classes]."""
    k = ids.shape[1]
    rest = (1 - probabilities.sum(dim=1, keepdim=True)) / (classes - k)
    return rest.repeat(1, classes).scatter_(1, ids, probabilities)
