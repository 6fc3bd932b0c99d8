"""A model's score on a task's validation split, with the correctness of every sample."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from suite.distributed import Ranks
from suite.models.slot import quantized_once
from suite.tasks.base import Dataset, Rows, to_device

BATCH = 250
"""Samples an evaluation step. A model's outputs depend on it no further than by rounding, except
under a method whose activation ranges are those of the batch (`evaluation_range` of the distilled
text methods): there another number, or the batches of several ranks, give other losses and can
give other predictions, so that its protocol holds the number."""


@dataclass(frozen=True)
class Evaluation:
    """metrics: the task's own, loss and samples. In file order, one a sample: correct, where
    there are classes; values, the predicted ratings."""

    metrics: dict[str, float]
    correct: np.ndarray | None
    values: np.ndarray | None = None


@torch.no_grad()
def evaluate(
    model: nn.Module, dataset: Dataset, device: torch.device, ranks: Ranks | None = None
) -> Evaluation:
    """Evaluate in eval mode, each rank its share, and restore the mode afterwards."""
    ranks = ranks or Ranks()
    training = model.training
    model.eval()
    with quantized_once(model):
        found = [
            _rows(model(to_device(inputs, device)).float(), targets.to(device))
            for inputs, targets in dataset.validation_batches(
                batch=BATCH, rank=ranks.rank, world=ranks.world
            )
        ]
    model.train(training)
    rows = _in_order(torch.cat(found, dim=1).cpu().numpy(), ranks)
    metrics = {
        **dataset.score(rows),
        "loss": round(float(rows.loss.mean()), 6),
        "samples": float(len(rows.loss)),
    }
    if getattr(dataset, "limits", None) is not None:
        return Evaluation(metrics, None, rows.prediction)
    return Evaluation(metrics, rows.prediction == rows.target)


def _rows(logits: Tensor, targets: Tensor) -> Tensor:
    """Prediction, target, top-5 hit and loss of each sample: double [4, rows]."""
    if targets.is_floating_point():
        value = logits.reshape(-1)
        return torch.stack([value, targets, targets, (value - targets) ** 2]).double()
    ranked = logits.topk(min(5, logits.shape[1]), dim=1).indices
    hit = (ranked == targets[:, None]).any(dim=1)
    loss = F.cross_entropy(logits, targets, reduction="none")
    return torch.stack([ranked[:, 0].double(), targets.double(), hit.double(), loss.double()])


def _in_order(own: np.ndarray, ranks: Ranks) -> Rows:
    """Put the shares of all ranks back into file order (rank r holds samples r::world)."""
    shares = ranks.gather(own)
    whole = np.empty((4, sum(share.shape[1] for share in shares)))
    for rank, share in enumerate(shares):
        whole[:, rank :: ranks.world] = share
    return Rows(whole[0], whole[1], whole[2] > 0, whole[3])
