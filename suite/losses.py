"""Task losses: class labels, soft labels and ratings."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor


def soft_cross_entropy(logits: Tensor, soft: Tensor) -> Tensor:
    """Mean over rows of -sum_c t_c log softmax(z)_c, without temperature (P1, FKD loss).

    logits, soft: [rows, classes]; soft rows sum to one.
    """
    return -(soft * F.log_softmax(logits, dim=1)).sum(dim=1).mean()


def task_loss(logits: Tensor, targets: Tensor) -> Tensor:
    """Cross-entropy against class indices [rows] or soft labels [rows, classes]; mean squared
    error against ratings, floats [rows]."""
    if not targets.is_floating_point():
        return F.cross_entropy(logits, targets)
    if targets.ndim == 1:
        return F.mse_loss(logits.reshape(-1), targets)
    return soft_cross_entropy(logits, targets)
