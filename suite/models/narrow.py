"""A narrower encoder from a wide one: fewer heads and FFN units, the same hidden width (DynaBERT).

The heads and units with the largest weights stay, in their order: a head counts by the norms of
its value and output weights, a unit by those of its incoming and outgoing ones. DynaBERT ranks
them by gradients on the development set instead (arXiv 2004.04037), which would let labels into the
choice.
"""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor, nn

from suite.errors import UsageError
from suite.models.bert import Layer
from suite.models.text_inputs import bert_layers
from suite.models.text_layers import TextSlot


@torch.no_grad()
def narrow(model: nn.Module, width: float) -> None:
    """Keep a share `width` of every layer's heads and FFN units; 1 keeps all.

    Raises UsageError when that is not a whole number of them.
    """
    if width == 1:
        return
    for layer in bert_layers(model):
        heads = kept_heads(layer, width)
        _keep_heads(layer, heads)
        _keep_units(layer, kept_units(layer, width))


def kept_heads(layer: Layer, width: float) -> Tensor:
    """Numbers of the heads that stay, ascending."""
    attention = layer.attention.self
    value = attention.value.weight.unflatten(0, (attention.heads, -1)).flatten(1)
    out = layer.attention.output.dense.weight.unflatten(1, (attention.heads, -1))
    size = value.norm(dim=1) * out.transpose(0, 1).flatten(1).norm(dim=1)
    return _largest(size, width, "attention heads")


def kept_units(layer: Layer, width: float) -> Tensor:
    """Numbers of the FFN units that stay, ascending."""
    size = layer.intermediate.dense.weight.norm(dim=1) * layer.output.dense.weight.norm(dim=0)
    return _largest(size, width, "FFN units")


def _largest(size: Tensor, width: float, what: str) -> Tensor:
    count = len(size) * width
    if count < 1 or not count.is_integer():
        raise UsageError(
            f"A width of {width} leaves no whole number of {len(size)} {what}; choose a share that "
            "divides heads and FFN units evenly, or another model."
        )
    return size.topk(int(count)).indices.sort().values


def _keep_heads(layer: Layer, heads: Tensor) -> None:
    attention, out = layer.attention.self, layer.attention.output.dense
    depth = attention.query.out_features // attention.heads
    rows = (heads[:, None] * depth + torch.arange(depth, device=heads.device)).flatten()
    for projection in (attention.query, attention.key, attention.value):
        _keep_rows(projection, rows)
        projection.weight_slot.heads = len(heads)
    _keep_columns(out, rows)
    attention.heads = len(heads)
    for slot in (attention.scores, attention.probs):
        slot.heads = len(heads)
    for slot in (attention.query_out, attention.key_out, attention.value_out, attention.context):
        _set_width(slot, len(rows))


def _keep_units(layer: Layer, units: Tensor) -> None:
    _keep_rows(layer.intermediate.dense, units)
    _keep_columns(layer.output.dense, units)


def _keep_rows(dense: nn.Linear, rows: Tensor) -> None:
    dense.weight = nn.Parameter(dense.weight[rows].clone())
    if dense.bias is not None:
        dense.bias = nn.Parameter(dense.bias[rows].clone())
    dense.out_features = len(rows)


def _keep_columns(dense: nn.Linear, columns: Tensor) -> None:
    dense.weight = nn.Parameter(dense.weight[:, columns].clone())
    dense.in_features = len(columns)


def _set_width(slot: TextSlot, width: int) -> None:
    if slot.place.width is not None:
        slot.place = replace(slot.place, width=width)
