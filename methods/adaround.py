"""AdaRound for weights of few bits: learned rounding, layer after layer (P2, W4A32)."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from suite.cell import Cell
from suite.method import Draw
from suite.models.encoder import TextModel
from suite.models.slot import Slot
from suite.models.text_layers import QuantEmbedding, QuantLayerNorm, TextSlot
from suite.ptq import RangeMethod, drawn
from suite.ptq_settings import VARIANTS, RangeSettings, WeightRange
from suite.quant.adaround import Layer, reconstruct
from suite.quant.adaround import Settings as Reconstruction
from suite.tasks.draws import generator

ROUNDED = (nn.Linear, QuantEmbedding, QuantLayerNorm)
"""Layers whose rounding can be learned."""

Originals = list[tuple[Any, Tensor]]
"""Layers with the FP32 weights that they had."""


class AdaRoundSettings(RangeSettings):
    """samples: calibration texts whose layer inputs are kept; iterations, batch, lr, weight: of
    each layer's reconstruction; sum_over: axis of the summed error (suite.quant.adaround).

    padding: whether padded tokens count in the reconstruction, as in the released code.
    everything: round embeddings and LayerNorm gammas too, or linear layers alone. MobileBERT's
        NoNorm, whose weight and bias share a range, is always rounded to nearest.
    """

    weights: WeightRange = "mse_grid"
    samples: int = 1024
    iterations: int = 10_000
    batch: int = 8
    lr: float = 1e-3
    weight: float = 0.01
    sum_over: str = "tokens"
    padding: bool = True
    everything: bool = True


MENDED = {"sum_over": "features", "padding": False}


class AdaRound(RangeMethod):
    """Learns to round every weight up or down so that each layer's output stays (P2, sec. 4.3).

    A layer sees inputs from the layers before it as they are already rounded, and its targets
    are the FP32 network's outputs after the activation function.
    """

    name = "adaround"
    version = 2
    summary = "PTQ with learned rounding of the weights"
    source = "arXiv 2109.12948, sec. 4; Up or Down? arXiv 2004.10568"
    variants = {
        "released": VARIANTS["released"],
        "corrected": {**VARIANTS["corrected"], **MENDED},
        "paper": {**VARIANTS["paper"], **MENDED},
    }
    Settings = AdaRoundSettings

    def __init__(self, cell: Cell) -> None:
        super().__init__(cell)
        s = self.settings
        if s.samples < 1:
            raise self.refuse(f"samples cannot be {s.samples}; the rounding needs 1 text or more")
        self._reconstruction = Reconstruction(
            iterations=s.iterations, batch=s.batch, lr=s.lr, weight=s.weight, sum_over=s.sum_over
        )

    def find_weights(self, model: TextModel, draw: Draw) -> None:
        """Set the ranges by search, then learn the rounding in the order of the modules."""
        super().find_weights(model, draw)
        (batch,) = drawn(draw, self.settings.samples, 1)
        activations = [s for s in model.places.values() if s.kind == "activation"]
        held = _take(activations)
        originals: Originals = []
        try:
            layers = _layers(model, self.settings.everything)
            for number, (name, layer) in enumerate(layers):
                draw.advance(number, len(layers))
                before = layer.weight.detach().clone()
                self._round(model, layer, batch, name, originals)
                originals.append((layer, before))
        finally:
            _put_back(held)

    def _round(
        self,
        model: TextModel,
        layer: Any,
        batch: dict[str, Tensor],
        name: str,
        originals: Originals,
    ) -> None:
        """Round one layer; originals: the layers that were rounded before, with FP32 weights."""
        slot = layer.weight_slot
        quantizer, slot.quantizer = slot.quantizer, None
        held = _take([s for s in model.places.values() if s.kind == "weight"])
        with _restored(originals):
            targets = _seen(model, layer, batch)[1]
        _put_back(held)
        inputs = _seen(model, layer, batch)[0]
        function = _function(layer, slot)
        found = reconstruct(
            function,
            layer.weight.detach(),
            quantizer,
            inputs,
            function_of(slot)(targets),
            self._reconstruction,
            mask=self._mask(batch, inputs),
            generator=generator(self.cell.seed, "adaround", name),
        )
        with torch.no_grad():
            layer.weight.copy_(found.weight)
        slot.quantizer = quantizer

    @property
    def keeps_weights(self) -> bool:
        return True

    def _mask(self, batch: dict[str, Tensor], inputs: Tensor) -> Tensor | None:
        """Which tokens count, for a layer that treats tokens one by one."""
        mask = batch.get("attention_mask")
        pooled = inputs.dim() == 2 and inputs.is_floating_point()
        if self.settings.padding or mask is None or pooled or inputs.shape[:2] != mask.shape:
            return None
        return mask.bool()

    def protocol(self) -> dict[str, Any]:
        s = self.settings
        return {
            **super().protocol(),
            "rounding": f"learned, {s.iterations} iterations, {s.samples} texts",
            "padding": "counts" if s.padding else "left out",
        }


@contextmanager
def _restored(originals: Originals) -> Iterator[None]:
    """Give rounded layers their FP32 weights back, for a while."""
    rounded = [layer.weight.data for layer, _ in originals]
    for layer, weight in originals:
        layer.weight.data = weight
    try:
        yield
    finally:
        for (layer, _), weight in zip(originals, rounded, strict=True):
            layer.weight.data = weight


class _Enough(Exception):
    """The layer was reached; the rest of the forward is not needed."""


def _layers(model: TextModel, everything: bool) -> list[tuple[str, Any]]:
    """Layers with a quantized weight, in the order of the modules."""
    return [
        (name, module)
        for name, module in model.named_modules()
        if isinstance(getattr(module, "weight_slot", None), Slot)
        and module.weight_slot.quantizer is not None
        and isinstance(module, ROUNDED if everything else nn.Linear)
    ]


def _take(slots: list[TextSlot]) -> list[tuple[TextSlot, Any]]:
    """Empty the slots; what they held is returned for `_put_back`."""
    held = [(slot, slot.quantizer) for slot in slots]
    for slot in slots:
        slot.quantizer = None
    return held


def _put_back(held: list[tuple[TextSlot, Any]]) -> None:
    for slot, quantizer in held:
        slot.quantizer = quantizer


@torch.no_grad()
def _seen(model: TextModel, layer: nn.Module, batch: dict[str, Tensor]) -> tuple[Tensor, Tensor]:
    """Input and output of one layer while `model` runs on `batch`, in parts of 64 texts."""
    inputs: list[Tensor] = []
    outputs: list[Tensor] = []

    def hook(_: nn.Module, given: tuple[Tensor, ...], out: Tensor) -> None:
        inputs.append(given[0])
        outputs.append(out)
        raise _Enough

    handle = layer.register_forward_hook(hook)
    try:
        for start in range(0, len(batch["input_ids"]), 64):
            try:
                model({k: v[start : start + 64] for k, v in batch.items()})
            except _Enough:
                continue
    finally:
        handle.remove()
    return torch.cat(inputs), torch.cat(outputs)


def function_of(slot: TextSlot) -> Callable[[Tensor], Tensor]:
    """What stands between the layer and its activation place: GELU, tanh, or nothing."""
    act: Any = slot.place.act
    return act if act is not None else lambda x: x


def _function(layer: Any, slot: TextSlot) -> Layer:
    """The layer with its activation function as a function of its weight."""
    act = function_of(slot)
    if isinstance(layer, QuantEmbedding):
        return lambda weight, ids: act(F.embedding(ids, weight, layer.padding_idx))
    if isinstance(layer, QuantLayerNorm):
        shape, eps = layer.normalized_shape, layer.eps
        return lambda weight, x: act(F.layer_norm(x, shape, weight, layer.bias, eps))
    return lambda weight, x: act(F.linear(x, weight, layer.bias))


METHOD = AdaRound
