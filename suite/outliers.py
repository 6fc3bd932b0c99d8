"""Where a text model's activations have outliers, and which places suffer from one range a tensor.

This is what explains why per-tensor W8A8 fails and what groups or 16 bits repair (P2, sec. 3).
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from suite.models.encoder import TextModel
from suite.models.slot import quantized_once, without
from suite.models.text_layers import TextSlot

SIGMAS = 6
"""P2 calls a value an outlier when it lies more than six standard deviations from the mean."""

NAMED = 5
"""Dimensions and tokens that are named for each place, those with most outliers first."""


@dataclass
class Diagnosis:
    """places: figures of every place with an embedding axis; damage: relative error of the last
    hidden states, with nothing left out (``), and with one letter's places left in FP32; ranges:
    smallest and largest value of every dimension, [2, width], by place."""

    places: dict[str, dict[str, Any]] = field(default_factory=dict)
    damage: dict[str, float] = field(default_factory=dict)
    ranges: dict[str, Tensor] = field(default_factory=dict)

    def to_dict(self) -> dict[str, Any]:
        """Plain values for the record, without the dimensions' ranges."""
        return {"places": self.places, "damage": self.damage}


def diagnose(
    model: TextModel, inputs: dict[str, Tensor], before: tuple[Diagnosis, Tensor] | None = None
) -> Diagnosis:
    """Look at one batch of texts in FP32, then leave each letter's places out in turn.

    before: what `look` gave while the model still had its FP32 weights, where it has new ones.
    """
    return _damaged(model, inputs, *(before or look(model, inputs)))


@torch.no_grad()
def look(model: TextModel, inputs: dict[str, Tensor]) -> tuple[Diagnosis, Tensor]:
    """Figures of one batch with nothing quantized, and its last hidden states."""
    found = Diagnosis()
    with without(list(model.places.values())):
        return found, _watched(model, inputs, _activations(model), found)


@torch.no_grad()
def _damaged(
    model: TextModel, inputs: dict[str, Tensor], found: Diagnosis, fp32: Tensor
) -> Diagnosis:
    """Add the error of the quantized model, and with each letter's places left in FP32."""
    activations, mask = _activations(model), _real(inputs)
    with quantized_once(model):
        found.damage[""] = _error(model.encode(inputs)[mask], fp32[mask])
        for letter in _letters(activations):
            with without([s for s in activations if letter in s.place.words]):
                found.damage[letter] = _error(model.encode(inputs)[mask], fp32[mask])
    return found


def _watched(
    model: TextModel, inputs: dict[str, Tensor], slots: list[TextSlot], found: Diagnosis
) -> Tensor:
    """The last hidden states, while every place with an embedding axis is looked at."""
    mask = _real(inputs)

    def look(slot: TextSlot) -> Any:
        def hook(_: Any, __: Any, out: Tensor) -> None:
            name = slot.place.name
            found.places[name], found.ranges[name] = figures(out, mask, inputs["input_ids"])

        return hook

    wide = [slot for slot in slots if slot.place.width is not None and slot.place.axis == 2]
    handles = [slot.register_forward_hook(look(slot)) for slot in wide]
    try:
        return model.encode(inputs)
    finally:
        for handle in handles:
            handle.remove()


def figures(x: Tensor, mask: Tensor, ids: Tensor) -> tuple[dict[str, Any], Tensor]:
    """Figures of one place, and the ranges of its dimensions [2, width].

    x: [rows, tokens, width]; mask: true for real tokens; ids: token ids. Padding is left out.
    """
    values, tokens = x[mask], ids[mask]
    low, high = values.amin(dim=0), values.amax(dim=0)
    spread = high - low
    far = (values - values.mean()).abs() > SIGMAS * values.std()
    place = {
        "range": [round(float(low.min()), 4), round(float(high.max()), 4)],
        "largest_to_median": round(float(spread.max() / spread.median().clamp(min=1e-12)), 2),
        "largest_dimension": int(spread.argmax()),
        "outliers": round(float(far.double().mean()), 8),
        "by_dimension": _most(far.double().mean(dim=0), torch.arange(far.shape[1])),
        "by_token": _most(*_by_token(far, tokens)),
    }
    return place, torch.stack([low, high])


def _by_token(far: Tensor, tokens: Tensor) -> tuple[Tensor, Tensor]:
    """Share of outliers in the vectors of every token id, and those ids."""
    known, place = tokens.unique(return_inverse=True)
    sums = torch.zeros(len(known), dtype=torch.double, device=far.device)
    sums.index_add_(0, place, far.double().mean(dim=1))
    return sums / torch.bincount(place, minlength=len(known)), known


def _most(shares: Tensor, names: Tensor) -> dict[str, float]:
    """The largest shares by name, without those of zero."""
    order = shares.argsort(descending=True)[:NAMED].tolist()
    return {str(int(names[i])): round(float(shares[i]), 6) for i in order if shares[i] > 0}


def _activations(model: TextModel) -> list[TextSlot]:
    return [slot for slot in model.places.values() if slot.kind == "activation"]


def _real(inputs: dict[str, Tensor]) -> Tensor:
    """True for tokens that are not padding [rows, tokens]."""
    return inputs.get("attention_mask", torch.ones_like(inputs["input_ids"])).bool()


def _letters(slots: list[TextSlot]) -> list[str]:
    """The letters that name activations before the head, in the order of the model."""
    letters = (slot.place.name.rstrip("0123456789.") for slot in slots)
    return list(dict.fromkeys(letter for letter in letters if letter not in ("P", "C")))


def _error(hidden: Tensor, fp32: Tensor) -> float:
    return round(float((hidden - fp32).norm() / fp32.norm()), 6)
