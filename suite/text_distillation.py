"""Distillation of text models: losses between logits, attention scores and hidden states, and the
module in which student and teacher run together (TernaryBERT, BinaryBERT, BiT)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from suite.losses import soft_cross_entropy
from suite.models.text_inputs import bert_layers
from suite.models.watched import Watched

Part = Literal["logits", "attention", "hidden"]

MASKED = -100.0
"""Attention scores at or below it count as zero: what the mask lowers, in both models (BinaryBERT
code: kd_learner_glue.py:220-226)."""


@dataclass(frozen=True)
class LogitRule:
    """How logits are compared.

    mean: over `classes` and batch, as the released codes do, 1/C of cross-entropy's usual mean over
    the `batch`. rating: with one output, `cross_entropy`, 0 without gradient as released, or `mse`.
    """

    mean: Literal["classes", "batch"] = "classes"
    rating: Literal["cross_entropy", "mse"] = "cross_entropy"

    def __call__(self, student: Tensor, teacher: Tensor) -> Tensor:
        """Loss of student logits [rows, outputs] against the teacher's."""
        outputs = student.shape[1]
        if outputs == 1 and self.rating == "mse":
            return F.mse_loss(student, teacher)
        loss = soft_cross_entropy(student, teacher.softmax(dim=1))
        return loss / outputs if self.mean == "classes" else loss


def attention_loss(
    student: Sequence[Tensor], teacher: Sequence[Tensor], mask: Tensor | None
) -> Tensor:
    """Sum over layers of the mean squared difference of scores [rows, heads, tokens, tokens].

    The scores are the scaled ones before softmax; keys that are padding count as zeros. mask:
    [rows, tokens] or None.
    """
    return _squares([_shown(s, mask) for s in student], [_shown(t, mask) for t in teacher])


def hidden_loss(student: Sequence[Tensor], teacher: Sequence[Tensor]) -> Tensor:
    """Sum over the embeddings' output and every layer's of the mean squared difference, padding
    included; [rows, tokens, width] each."""
    return _squares(student, teacher)


def _shown(scores: Tensor, mask: Tensor | None) -> Tensor:
    low = scores <= MASKED
    hidden = low if mask is None else low | (mask[:, None, None, :] == 0)
    return scores.masked_fill(hidden, 0.0)


def _squares(student: Sequence[Tensor], teacher: Sequence[Tensor]) -> Tensor:
    pairs = zip(student, teacher, strict=True)
    return torch.stack([F.mse_loss(s, t) for s, t in pairs]).sum()


class Open(nn.Module):
    """A text model that gives logits, scaled attention scores and hidden states.

    heads: for every layer the heads whose scores are given, None: all. The hooks stay on the model,
    so it is opened once.
    """

    def __init__(self, model: Any, heads: Sequence[Tensor] | None = None) -> None:
        super().__init__()
        layers = bert_layers(model)
        at = [f"{model.prefix}.encoder.layer.{i}" for i in range(len(layers))]
        places = [*(f"{path}.attention.self.scores" for path in at), f"{model.prefix}.embeddings"]
        self.watched = Watched(model, [*places, *at])
        self.scales = [layer.attention.self.scale for layer in layers]
        for index, chosen in enumerate(heads or ()):
            self.register_buffer(f"heads{index}", chosen, persistent=False)
        self.chosen = heads is not None

    def forward(self, inputs: dict[str, Tensor]) -> tuple[Tensor, list[Tensor], list[Tensor]]:
        logits, seen = self.watched(inputs)
        count = len(self.scales)
        scores = [s / scale for s, scale in zip(seen[:count], self.scales, strict=True)]
        if self.chosen:
            scores = [s.index_select(1, self.get_buffer(f"heads{i}")) for i, s in enumerate(scores)]
        return logits, scores, seen[count:]


class Distilled(nn.Module):
    """Student and teacher in one module, whose forward is the loss: the sum of `parts`.

    The teacher gets no gradients; its mode, with or without dropout, is the caller's.
    """

    def __init__(
        self, student: Open, teacher: Open, parts: Sequence[Part], logits: LogitRule
    ) -> None:
        super().__init__()
        self.student = student
        self.teacher = teacher
        self.parts = tuple(parts)
        self.logits = logits

    def forward(self, inputs: dict[str, Tensor]) -> Tensor:
        with torch.no_grad():
            theirs = self.teacher(inputs)
        ours = self.student(inputs)
        losses = {
            "logits": lambda: self.logits(ours[0], theirs[0]),
            "attention": lambda: attention_loss(ours[1], theirs[1], inputs.get("attention_mask")),
            "hidden": lambda: hidden_loss(ours[2], theirs[2]),
        }
        return torch.stack([losses[part]() for part in self.parts]).sum()
