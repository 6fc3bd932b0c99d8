"""Slots at the inputs of a BERT's linear layers and behind the dropout of its attention.

P2 quantizes what layers give out; TernaryBERT, BinaryBERT and BiT what every single layer takes in,
so that query, key and value each have a quantizer of their own for the same tensor. `open_inputs`
adds these places: `q_in3` is the input of layer 3's query, `P_in` the pooler's, and `p_in3` the
attention probabilities as they meet the values.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from suite.errors import UsageError
from suite.models.bert import Layer
from suite.models.encoder import TextModel
from suite.models.slot import QuantLinear, Slot
from suite.models.text_layers import Places, TextSlot


class InputLinear(QuantLinear):
    """A linear layer whose input and weight pass through slots. x: [..., in]."""

    def __init__(self, inp: int, out: int, input_slot: Slot, slot: Slot, bias: bool = True) -> None:
        super().__init__(inp, out, slot, bias)
        self.input_slot = input_slot

    def forward(self, input: Tensor) -> Tensor:
        return F.linear(self.input_slot(input), self.weight_slot(self.weight), self.bias)


def input_linear(source: Any, input_slot: Slot, slot: Slot) -> InputLinear:
    """An InputLinear of the shape of `source` that takes over its parameters."""
    with torch.device("meta"):
        twin = InputLinear(
            source.in_features, source.out_features, input_slot, slot, source.bias is not None
        )
    twin.weight, twin.bias = source.weight, source.bias
    return twin


def bert_layers(model: nn.Module) -> list[Layer]:
    """The encoder layers of a BERT or RoBERTa; raises UsageError for any other model."""
    found = list(model.body.layers) if isinstance(model, TextModel) else []
    if not found or not all(isinstance(layer, Layer) for layer in found):
        raise UsageError(
            "This method takes BERT's encoder layers apart, and the model has none; choose a model "
            "of the type bert or roberta."
        )
    return found


LINEARS = {
    "q": ("attention.self", "query"),
    "k": ("attention.self", "key"),
    "v": ("attention.self", "value"),
    "g": ("attention.output", "dense"),
    "i": ("intermediate", "dense"),
    "h": ("output", "dense"),
}
"""Letter of a layer's output -> where in an encoder layer it is, and its name there."""

ROLES = {"q": "query", "k": "key", "v": "value", "g": "attn_out", "i": "fc1", "h": "fc2"}


def pooler_of(model: Any) -> nn.Module:
    """The module that holds, as `dense`, the layer between encoder and classifier."""
    found: nn.Module = model.classifier if model.body.pooler is None else model.body.pooler
    return found


def linears(model: nn.Module) -> Iterator[tuple[Places, str, str, nn.Module, str]]:
    """Every linear layer but the classifier: its places, letter and role, and whose child it is,
    under which name."""
    for index, layer in enumerate(bert_layers(model)):
        for letter, (path, name) in LINEARS.items():
            yield Places(index), letter, ROLES[letter], layer.get_submodule(path), name
    yield Places(), "P", "pooler", pooler_of(model), "dense"


def open_inputs(model: nn.Module) -> None:
    """Add the slots; parameters keep their names, and empty slots change nothing."""
    for at, letter, role, owner, name in linears(model):
        layer = getattr(owner, name)
        slot = at.activation(f"{letter}_in", f"{role}_input")
        setattr(owner, name, input_linear(layer, slot, layer.weight_slot))
    for index, layer in enumerate(bert_layers(model)):
        attention = layer.attention.self
        probs = Places(index).activation(
            "p_in", "attn_probs_input", heads=attention.heads, signed=False
        )
        attention.dropout = nn.Sequential(attention.dropout, probs)


def readers(model: nn.Module) -> Iterator[list[TextSlot]]:
    """The slots at inputs, in groups that read the same tensor."""
    groups: dict[Any, list[TextSlot]] = {}
    for slot in model.modules():
        if isinstance(slot, TextSlot) and slot.role.endswith("_input"):
            shared = slot.role in ("query_input", "key_input", "value_input")
            key = (slot.place.layer, "qkv" if shared else slot.role)
            groups.setdefault(key, []).append(slot)
    yield from groups.values()
