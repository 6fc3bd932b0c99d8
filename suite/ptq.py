"""What the range-based methods of P2 share: placement by name, calibration, fixing of ranges."""

from __future__ import annotations

from typing import Any, ClassVar

import torch
from torch import nn

from suite.cell import Cell
from suite.errors import UsageError
from suite.method import Draw, Method
from suite.models.encoder import RATING, TextModel
from suite.models.mobilebert import QuantNoNorm
from suite.models.slot import Slot, quantized_once, quantized_weights
from suite.models.text_layers import TextSlot
from suite.outliers import Diagnosis, diagnose, look
from suite.ptq_settings import FULL, VARIANTS, RangeSettings, parse_places
from suite.quant.affine import MAX_BITS, AffineQuantizer
from suite.quant.ranges import Estimator, estimator

DIAGNOSED = 16
"""Texts that the diagnosis of outliers looks at."""


class RangeMethod(Method):
    """Symmetric weights and asymmetric activations with ranges from calibration data (P2, sec. 2).

    Weights first, then activations, each from inputs that the places before it have already
    quantized. A cell's seed draws the calibration data.
    """

    tasks = ("text",)
    bits = (*range(2, MAX_BITS + 1), FULL)
    variants: ClassVar[Any] = VARIANTS
    Settings = RangeSettings
    learned = False
    _diagnosis: Diagnosis | None = None

    def __init__(self, cell: Cell) -> None:
        super().__init__(cell)
        s = self.settings
        parse_places(s.places)
        self._estimator(s.weights, activation=False)
        self._estimator(s.activations, activation=True)
        if s.percentile and s.activations != "current_minmax":
            raise self.refuse(
                f"a percentile is cut off by current_minmax alone, not by {s.activations}"
            )
        if cell.recipe.start == "quantized" and not self.learned:
            raise self.refuse(
                "it calibrates its ranges and reads none from a checkpoint; start from fp32 or "
                "pretrained weights"
            )

    def place(self, model: nn.Module) -> None:
        """Fill the slots; raises UsageError for a place that the model does not have."""
        if not isinstance(model, TextModel):
            raise self.refuse("it quantizes text models alone")
        self.look_up(model)
        super().place(model)
        if self.learned:
            self._learn(model)

    def look_up(self, model: TextModel) -> None:
        """Find the slots that the settings name."""
        self._bits_at = self._overrides(model)

    def _learn(self, model: TextModel) -> None:
        """Make parameters of all ranges, so that an optimizer and a checkpoint find them."""
        for _, weight, quantizer in quantized_weights(model):
            if quantizer.axis is not None:
                size = weight.shape[quantizer.axis]
                quantizer.set_range(-weight.new_ones(size), weight.new_ones(size))
        for quantizer in quantizers(model):
            quantizer.learn()

    def _overrides(self, model: TextModel) -> dict[Slot, int]:
        found: dict[Slot, int] = {}
        if self.cell.e_bits is not None:
            found.update(dict.fromkeys(model.addressed("Et"), self.cell.e_bits))
        if self.settings.logits == "fp32":
            found.update(dict.fromkeys(model.addressed("C"), FULL))
        for word, bits in parse_places(self.settings.places).items():
            found.update(dict.fromkeys(model.addressed(word), bits))
        return found

    def quantizer(self, slot: Slot) -> nn.Module | None:
        bits = self.bits_of(slot)
        if bits == FULL:
            return None
        return self._weight(bits) if slot.kind == "weight" else self.activation(slot, bits)

    def bits_of(self, slot: Slot) -> int:
        """Bits at a slot: the place's own, or the cell's; 32 leaves it alone."""
        default = self.cell.w_bits if slot.kind == "weight" else self.cell.a_bits
        return self._bits_at.get(slot, default)

    def _weight(self, bits: int) -> AffineQuantizer:
        axis = 0 if self.settings.per_channel else None
        return AffineQuantizer(
            bits,
            symmetric=True,
            axis=axis,
            estimator=self._estimator(self.settings.weights, activation=False),
        )

    def activation(self, slot: Slot, bits: int) -> AffineQuantizer:
        """The quantizer of an activation; subclasses give some places ranges of another kind."""
        return AffineQuantizer(bits, symmetric=False, estimator=self.range_of(slot))

    def range_of(self, slot: Slot) -> Estimator:
        """The range estimator of an activation: the logits may have one of their own."""
        logits = isinstance(slot, TextSlot) and "C" in slot.place.words
        if logits and self.settings.logits == "mse":
            return self._search("mse", "golden_section", activation=True)
        if logits and self.settings.logits == "cross_entropy":
            return self._search("cross_entropy", "grid", activation=True)
        return self._estimator(self.settings.activations, activation=True)

    def _estimator(self, name: str, activation: bool) -> Estimator:
        if name.startswith("mse"):
            how = "grid" if name == "mse_grid" else "golden_section"
            return self._search("mse", how, activation)
        s = self.settings
        if activation and name == "current_minmax" and s.percentile:
            return estimator(name, percentile=s.percentile, two_sided=s.two_sided)
        return estimator(name)

    def _search(self, name: str, how: str, activation: bool) -> Estimator:
        s, built_for = self.settings, self.cell.a_bits
        return estimator(
            name,
            method=how,
            ignore_axis=activation and not s.search_axis,
            candidates=s.candidates,
            relative_margin=s.relative_margin,
            row_bounds=s.relative_margin,
            shift_bits=built_for if s.stale_shift and built_for != FULL else None,
        )

    def initialise(self, model: nn.Module, draw: Draw, rank: int = 0) -> None:
        """Find all ranges and hold them, or let them be learned from here."""
        assert isinstance(model, TextModel)
        self.adopt(model, draw)
        (looked_at,) = drawn(draw, DIAGNOSED, 1)
        before = None if self.learned else look(model, looked_at)
        self.find_weights(model, draw)
        self.find_activations(model, draw)
        if before is not None:
            self._diagnosis = diagnose(model, looked_at, before)

    def calibrate(self, model: nn.Module, inputs: Any, rank: int = 0) -> None:
        """Find all ranges from one batch of model inputs."""
        self._set_weights(model)
        self._estimate(model, [inputs])

    def adopt(self, model: nn.Module, draw: Draw) -> None:
        assert isinstance(model, TextModel)
        model.clamp_logits = self.clamps(draw)

    def clamps(self, draw: Draw) -> bool:
        """Whether the quantized model's ratings are clamped to 0..5."""
        return bool(self.settings.clamp_ratings) and draw.limits == RATING

    def find_weights(self, model: TextModel, draw: Draw) -> None:
        """Set the ranges of all weights; AdaRound learns their rounding as well."""
        self._set_weights(model)

    def find_activations(self, model: TextModel, draw: Draw) -> None:
        """Set the ranges of all activations, from the weights as they are quantized now."""
        recipe = self.cell.recipe
        self.prepare(model, draw)
        self._estimate(model, drawn(draw, recipe.calibration_images, recipe.calibration_batches))

    def prepare(self, model: TextModel, draw: Draw) -> None:
        """What must be known before activations are calibrated; nothing for one range a tensor."""

    @torch.no_grad()
    def _set_weights(self, model: nn.Module) -> None:
        for name, weight, quantizer in quantized_weights(model):
            bias = _bias_of_the_same_range(model.get_submodule(name))
            if bias is not None and self.settings.joint_norms:
                quantizer.initialise(torch.stack([weight, bias], dim=1))
            else:
                quantizer.initialise(weight)
                if bias is not None:  # its range is left (P2 code: quantized_mobilebert.py:58-72)
                    quantizer.initialise(bias)
            self._settle(quantizer)

    @torch.no_grad()
    def _estimate(self, model: nn.Module, batches: list[Any]) -> None:
        found = quantizers(model, "activation")
        if not found:
            return
        for quantizer in found:
            quantizer.estimate()
        with quantized_once(model):
            for inputs in batches:
                model(inputs)
        for quantizer in found:
            self._settle(quantizer)

    def _settle(self, quantizer: AffineQuantizer) -> None:
        if self.learned:
            quantizer.learn()
        else:
            quantizer.fix()

    @property
    def diagnosis(self) -> dict[str, Any]:
        return self._diagnosis.to_dict() if self._diagnosis else {}

    @property
    def tensors(self) -> dict[str, torch.Tensor]:
        return self._diagnosis.ranges if self._diagnosis else {}

    @property
    def keeps_weights(self) -> bool:
        return self.learned or self.cell.recipe.epochs > 0

    def protocol(self) -> dict[str, Any]:
        s, recipe = self.settings, self.cell.recipe
        return {
            "weights": f"symmetric, {s.weights}, a {'row' if s.per_channel else 'tensor'}",
            "activations": f"asymmetric, {s.activations}",
            "logits": s.logits,
            "places": s.places or "all alike",
            "calibration": f"{recipe.calibration_batches} x {recipe.calibration_images} texts",
            "ratings": "clamped to 0..5 when quantized" if s.clamp_ratings else "not clamped",
            "biases": "fp32",
        }


def _bias_of_the_same_range(layer: nn.Module) -> torch.Tensor | None:
    """The bias of a NoNorm that passes through its weight's quantizer."""
    return layer.bias if isinstance(layer, QuantNoNorm) and layer.bias_slot is None else None


def quantizers(model: nn.Module, kind: str = "") -> list[AffineQuantizer]:
    """The quantizers in the model's slots (of one kind), in order of registration."""
    return [
        slot.quantizer
        for slot in model.modules()
        if isinstance(slot, Slot) and slot.quantizer is not None and kind in ("", slot.kind)
    ]


def drawn(draw: Draw, size: int, count: int) -> list[Any]:
    """The batches of a draw; raises UsageError when there are none."""
    batches = draw.batches(size, count)
    if not batches:
        raise UsageError("Calibration needs at least one text; there are none to draw from.")
    return batches
