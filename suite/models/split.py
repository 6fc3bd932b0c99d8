"""A binary BERT from a ternary one: every weight becomes two parallel binary ones (BinaryBERT)."""

from __future__ import annotations

import copy
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from suite.models.slot import Slot
from suite.models.text_inputs import InputLinear, input_linear, linears
from suite.models.text_layers import Places, QuantEmbedding
from suite.quant.splitting import Level, split


class SplitLinear(nn.Module):
    """Two layers side by side: y = Q(x) W1 + b1 + Q(x) W2 + b2, each with an input quantizer of its
    own. x: [..., in]."""

    def __init__(self, first: InputLinear, second: InputLinear) -> None:
        super().__init__()
        self.first = first
        self.second = second

    def forward(self, x: Tensor) -> Tensor:
        return self.first(x) + self.second(x)


class SplitEmbedding(nn.Module):
    """Two tables whose vectors are added. ids: [...], returns [..., width]."""

    def __init__(self, first: QuantEmbedding, second: QuantEmbedding) -> None:
        super().__init__()
        self.first = first
        self.second = second

    def forward(self, ids: Tensor) -> Tensor:
        return self.first(ids) + self.second(ids)


@dataclass(frozen=True)
class Splitting:
    """weights: matrices and tables that were split; broken: groups (matrices, and rows of tables)
    whose halves do not add up to the ternary weight."""

    weights: int
    broken: int


@torch.no_grad()
def split_model(model: Any, level: Level) -> Splitting:
    """Split the words and every linear layer but the classifier, of a model with slots at its
    inputs; biases are halved, input quantizers copied, the new weight slots empty."""
    owner = model.body.embeddings
    owner.word_embeddings, broken = _embedding(owner.word_embeddings, level)
    count = 1
    for at, letter, role, parent, name in linears(model):
        layer, lost = _linear(getattr(parent, name), at, letter, role, level)
        setattr(parent, name, layer)
        broken += lost
        count += 1
    return Splitting(count, broken)


def _embedding(table: QuantEmbedding, level: Level) -> tuple[SplitEmbedding, int]:
    halves = split(table.weight, rows=True, level=level)
    parts = []
    for part, weight in enumerate((halves.first, halves.second)):
        slot = Places(part=part).weight("Et", "word_embedding", edge=True)
        with torch.device("meta"):
            half = QuantEmbedding(
                table.num_embeddings, table.embedding_dim, table.padding_idx, slot
            )
        half.weight = nn.Parameter(weight)
        parts.append(half)
    return SplitEmbedding(*parts), halves.broken


def _linear(
    layer: InputLinear, at: Places, letter: str, role: str, level: Level
) -> tuple[SplitLinear, int]:
    halves = split(layer.weight, level=level)
    parts = []
    for part, weight in enumerate((halves.first, halves.second)):
        here = Places(at.layer, part)
        taken = here.activation(f"{letter}_in", f"{role}_input")
        taken.quantizer = copy.deepcopy(layer.input_slot.quantizer)
        half = input_linear(layer, taken, _weight_slot(here, letter, role, layer.weight_slot))
        half.weight = nn.Parameter(weight)
        if layer.bias is not None:
            half.bias = nn.Parameter(layer.bias / 2)
        parts.append(half)
    return SplitLinear(*parts), halves.broken


def _weight_slot(at: Places, letter: str, role: str, before: Slot) -> Slot:
    return at.weight(f"w{letter}", role, heads=before.heads)
