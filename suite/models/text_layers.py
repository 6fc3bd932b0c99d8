"""Named places of text models, and twins of layers whose weights pass through slots."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from suite.errors import UsageError
from suite.models.slot import Kind, QuantLinear, Slot

Activation = Callable[[Tensor], Tensor]


@dataclass(frozen=True)
class Place:
    """Where a slot is in a text model.

    name: unique in its model: the letter of P2's code and the layer's number (`x3`); where P2's
        code has no letter, one of ours. The weight whose output sits at `x3` is `wx3`.
    words: everything that addresses it: name, letter, role and, for activations of a layer,
        `L` and `L3`.
    layer: index of the encoder layer, None outside the layers.
    axis, width: the embedding axis and its length; None where the tensor has none.
    act: for a weight, the function between its layer and the layer's activation place.
    """

    name: str
    words: frozenset[str]
    layer: int | None = None
    axis: int | None = None
    width: int | None = None
    act: Activation | None = None


class TextSlot(Slot):
    """A slot that knows its place."""

    def __init__(
        self,
        role: str,
        kind: Kind,
        place: Place,
        *,
        signed: bool = True,
        heads: int | None = None,
        head_axis: int | None = None,
        edge: bool = False,
    ) -> None:
        super().__init__(role, kind, signed=signed, heads=heads, head_axis=head_axis, edge=edge)
        self.place = place

    def extra_repr(self) -> str:
        return f"{self.place.name}, {super().extra_repr()}"


@dataclass(frozen=True)
class Places:
    """Makes the slots of one layer, or of what lies outside the layers (layer None).

    part: index of a block that occurs several times within a layer (`h3.1`).
    """

    layer: int | None = None
    part: int | None = None

    def activation(
        self,
        letter: str,
        role: str,
        *,
        width: int | None = None,
        axis: int = 2,
        signed: bool = True,
        heads: int | None = None,
        edge: bool = False,
        also: tuple[str, ...] = (),
    ) -> TextSlot:
        """Slot of an activation; `width` is the length of its embedding axis, if it has one.

        heads: the tensor is [batch, heads, tokens, tokens]; also: more words that address it.
        """
        place = Place(
            name=self._name(letter),
            words=self._words(letter, role) | self._whole_layer() | frozenset(also),
            layer=self.layer,
            axis=None if width is None else axis,
            width=width,
        )
        head_axis = None if heads is None else 1
        return TextSlot(
            role, "activation", place, signed=signed, heads=heads, head_axis=head_axis, edge=edge
        )

    def weight(
        self,
        letter: str,
        role: str,
        *,
        act: Activation | None = None,
        heads: int | None = None,
        edge: bool = False,
    ) -> TextSlot:
        """Slot of a weight; `heads`: its rows are contiguous slices, one a head."""
        role = f"{role}_weight"
        place = Place(self._name(letter), self._words(letter, role), self.layer, act=act)
        head_axis = None if heads is None else 0
        return TextSlot(role, "weight", place, heads=heads, head_axis=head_axis, edge=edge)

    def _name(self, letter: str) -> str:
        end = "" if self.part is None else f".{self.part}"
        return letter + ("" if self.layer is None else str(self.layer)) + end

    def _words(self, letter: str, role: str) -> frozenset[str]:
        ofs = "" if self.layer is None else str(self.layer)
        return frozenset({letter, f"{letter}{ofs}", self._name(letter), role})

    def _whole_layer(self) -> frozenset[str]:
        return frozenset() if self.layer is None else frozenset({"L", f"L{self.layer}"})


class QuantLayerNorm(nn.LayerNorm):
    """Layer normalisation whose gamma passes through a slot. x: [..., width]."""

    def __init__(self, width: tuple[int, ...], eps: float, slot: Slot, bias: bool = True) -> None:
        super().__init__(width, eps=eps, bias=bias)
        self.weight_slot = slot

    def forward(self, input: Tensor) -> Tensor:
        weight = self.weight_slot(self.weight)
        return F.layer_norm(input, self.normalized_shape, weight, self.bias, self.eps)


class QuantEmbedding(nn.Embedding):
    """An embedding table that passes through a slot. ids: [...], returns [..., width]."""

    def __init__(self, rows: int, width: int, padding: int | None, slot: Slot) -> None:
        super().__init__(rows, width, padding_idx=padding)
        self.weight_slot = slot

    def forward(self, input: Tensor) -> Tensor:
        return F.embedding(input, self.weight_slot(self.weight), self.padding_idx)


def linear(source: Any, slot: Slot) -> QuantLinear:
    """The twin of an nn.Linear; it takes over the parameters, not copies of them."""
    with torch.device("meta"):
        twin = QuantLinear(source.in_features, source.out_features, slot, source.bias is not None)
    return _with_parameters_of(source, twin)


def layer_norm(source: Any, slot: Slot) -> QuantLayerNorm:
    """The twin of an nn.LayerNorm, with its parameters."""
    with torch.device("meta"):
        twin = QuantLayerNorm(source.normalized_shape, source.eps, slot, source.bias is not None)
    return _with_parameters_of(source, twin)


def embedding(source: Any, slot: Slot) -> QuantEmbedding:
    """The twin of an nn.Embedding, with its parameters."""
    with torch.device("meta"):
        twin = QuantEmbedding(source.num_embeddings, source.embedding_dim, source.padding_idx, slot)
    return _with_parameters_of(source, twin)


def _with_parameters_of(source: nn.Module, twin: Any) -> Any:
    own = dict(source.named_parameters(recurse=False))
    if own.keys() != dict(twin.named_parameters(recurse=False)).keys():
        raise UsageError(
            f"The model holds a {type(source).__module__}.{type(source).__name__} where a layer of "
            "torch.nn with its own weight is expected; merge adapters into the weights first."
        )
    for name, parameter in own.items():
        setattr(twin, name, parameter)
    return twin
