"""How far two models agree on the same texts: cosine similarity and common nearest neighbours."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from statistics import median

import numpy as np
import torch
from torch import Tensor

from suite.errors import LowbitError, UsageError

NEIGHBOURS = 10
BLOCK = 512
"""Texts compared with all others at a time: bounds the similarities held to 512 x texts."""


def _first(hidden: Tensor, weight: Tensor) -> Tensor:
    return hidden[:, 0]


def _mean(hidden: Tensor, weight: Tensor) -> Tensor:
    return (hidden * weight).sum(1) / weight.sum(1).clamp(min=1)


def _largest(hidden: Tensor, weight: Tensor) -> Tensor:
    return hidden.masked_fill(weight == 0, -torch.inf).amax(1)


def _mean_sqrt_len(hidden: Tensor, weight: Tensor) -> Tensor:
    return (hidden * weight).sum(1) / weight.sum(1).clamp(min=1).sqrt()


def _weighted_mean(hidden: Tensor, weight: Tensor) -> Tensor:
    """Token n of a text counts n times."""
    place = torch.arange(1, hidden.shape[1] + 1, dtype=hidden.dtype, device=hidden.device)
    return _mean(hidden, weight * place[:, None])


def _last(hidden: Tensor, weight: Tensor) -> Tensor:
    last = weight[..., 0].long().cumsum(1).argmax(1)
    return hidden[torch.arange(len(hidden), device=hidden.device), last]


POOLERS: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "cls": _first,
    "mean": _mean,
    "max": _largest,
    "mean_sqrt_len": _mean_sqrt_len,
    "weighted_mean": _weighted_mean,
    "last_token": _last,
}
"""sentence-transformers' poolings (suite.models.sentence): hidden [batch, tokens, dim] and weight
[batch, tokens, 1], 0 for padding, to [batch, dim]."""


def pooled(hidden: Tensor, mask: Tensor, how: Sequence[str] = ("mean",)) -> Tensor:
    """One vector a text, at unit length; several poolings stand side by side.

    hidden: [batch, tokens, dim]; mask: attention mask [batch, tokens]; how: names of POOLERS.
    Returns [batch, dim times poolings].
    """
    weight = mask.unsqueeze(-1).to(hidden.dtype)
    found = torch.cat([POOLERS[name](hidden, weight) for name in how], dim=-1)
    return torch.nn.functional.normalize(found, dim=-1)


def cosine(reference: np.ndarray, other: np.ndarray) -> np.ndarray:
    """Cosine similarity of each text's two embeddings; both [texts, dim], returns [texts]."""
    one, two = _unit(reference), _unit(other)
    if one.shape != two.shape:
        raise UsageError(
            f"Embeddings of shape {one.shape} and {two.shape} cannot be compared; give the same "
            "texts to both models."
        )
    return np.einsum("td,td->t", one, two)


def neighbours(embeddings: np.ndarray, count: int = NEIGHBOURS) -> np.ndarray:
    """Indices of each text's `count` nearest others by cosine, sorted by index: [texts, count].

    embeddings: [texts, dim]. With no more than `count` others all of them are taken.
    """
    unit = _unit(embeddings)
    count = min(count, len(unit) - 1)
    if count < 1:
        raise UsageError(f"{len(unit)} text has no neighbours; agreement needs 2 texts or more.")
    found = np.empty((len(unit), count), dtype=np.int64)
    for start in range(0, len(unit), BLOCK):
        block = unit[start : start + BLOCK] @ unit.T
        own = np.arange(len(block))
        block[own, start + own] = -np.inf
        found[start : start + BLOCK] = np.argpartition(-block, count - 1, axis=1)[:, :count]
    return np.sort(found, axis=1)


def overlap(reference: np.ndarray, other: np.ndarray) -> np.ndarray:
    """Share of common neighbours, [texts]; both are results of `neighbours`, [texts, count]."""
    same = reference[:, :, None] == other[:, None, :]
    return same.any(axis=2).mean(axis=1)


@dataclass(frozen=True)
class Reference:
    """FP32 embeddings [texts, dim] with their neighbours, computed once for many comparisons."""

    embeddings: np.ndarray
    neighbours: np.ndarray

    @classmethod
    def of(cls, embeddings: np.ndarray) -> Reference:
        return cls(embeddings, neighbours(embeddings))


def agreement(reference: Reference, other: np.ndarray) -> dict[str, float]:
    """Mean cosine similarity and mean neighbour overlap, both from 0 to 1 for the same model.

    other: embeddings of the quantized model, [texts, dim]. Raises LowbitError when one of them
    is not finite.
    """
    similar = cosine(reference.embeddings, other)
    common = overlap(reference.neighbours, neighbours(other))
    return {
        "cosine": round(float(similar.mean()), 6),
        "neighbours": round(float(common.mean()), 6),
        "texts": len(other),
    }


def over_draws(draws: Sequence[dict[str, float]]) -> dict[str, float]:
    """Median and range of every metric over calibration draws: name, name_low, name_high."""
    found: dict[str, float] = {}
    for name in draws[0]:
        values = [draw[name] for draw in draws]
        found[name] = median(values)
        if name != "texts":
            found |= {f"{name}_low": min(values), f"{name}_high": max(values)}
    return {**found, "draws": len(draws)}


def _unit(embeddings: np.ndarray) -> np.ndarray:
    if not np.isfinite(embeddings).all():
        raise LowbitError("An embedding is not finite; look for NaN in weights or scales.")
    norm = np.linalg.norm(embeddings, axis=1, keepdims=True)
    return embeddings / np.maximum(norm, np.finfo(np.float32).tiny)
