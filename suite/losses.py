"""Task losses: class labels, soft labels and ratings; and what a teacher adds to them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import torch
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


def token_distillation(
    of_class: Tensor,
    of_teacher: Tensor,
    targets: Tensor,
    teacher: Tensor,
    kind: Literal["hard", "soft"] = "hard",
) -> Tensor:
    """Half the class token's task loss, half what the distillation token learns of a teacher
    (DeiT, arXiv 2012.12877; Q-ViT code: losses.py:40-70).

    All logits [rows, classes]. hard: cross-entropy against the teacher's class; soft: divergence
    from its distribution, a mean over rows and classes as in the code.
    """
    if kind == "hard":
        learned = F.cross_entropy(of_teacher, teacher.argmax(dim=1))
    else:
        wanted = F.log_softmax(teacher, dim=1)
        divergence = F.kl_div(
            F.log_softmax(of_teacher, dim=1), wanted, reduction="sum", log_target=True
        )
        learned = divergence / of_teacher.numel()
    return 0.5 * task_loss(of_class, targets) + 0.5 * learned


def guidance(student: Sequence[Tensor], teacher: Sequence[Tensor]) -> Tensor:
    """Distance between the patch similarities of a student's and a teacher's queries and keys,
    summed over layers and heads (Q-ViT, DGD; a mean over the samples of the batch).

    Each a list of q or k [rows, heads, tokens, dim/heads]. A patch similarity is x x^T of one
    sample and head over its Frobenius norm; the distance is the norm of the difference.
    """
    total = torch.zeros((), device=student[0].device)
    for own, other in zip(student, teacher, strict=True):
        apart = _similarity(own) - _similarity(other)
        total = total + torch.linalg.vector_norm(apart, dim=(2, 3)).sum(dim=1).mean()
    return total


def _similarity(x: Tensor) -> Tensor:
    products = x @ x.transpose(-2, -1)
    return products / torch.linalg.vector_norm(products, dim=(-2, -1), keepdim=True)
