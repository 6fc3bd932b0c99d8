"""Per-embedding-group PTQ (PEG) of P2: groups of embedding dimensions share a range."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Literal

import torch
from torch import nn

from suite.method import Draw
from suite.models.encoder import TextModel
from suite.models.slot import Slot
from suite.models.text_layers import TextSlot
from suite.ptq import VARIANTS, RangeMethod, RangeSettings
from suite.quant.affine import AffineQuantizer
from suite.quant.groups import Collect, Groups, collecting, share

SOURCE = "h"
"""The place whose collected ranges order the dimensions of its layer: the FFN's output."""


class PegSettings(RangeSettings):
    """groups: number K, which must divide the width (0: each dimension by itself).

    permute: dimensions go to groups by their `own` collected range, by the FFN output's
        (`shared` within a layer), or by position (`none`).
    at: places with groups.
    collect_batches: batches that ranges are collected from; collect_by: what they leave, see
        suite.quant.groups; collect_quantized: whether all other activations are quantized
        meanwhile, as the released code leaves them.
    """

    groups: int = 6
    permute: Literal["none", "own", "shared"] = "shared"
    at: str = "x,h,y"
    collect_batches: int = 10
    collect_by: Collect = "last"
    collect_quantized: bool = True


FP32_PASS = {"collect_quantized": False}


class Peg(RangeMethod):
    """W8A8 with one range a group of embedding dimensions at x, h and y (P2, sec. 4.2)."""

    name = "peg"
    summary = "PTQ with a range for each group of embedding dimensions"
    source = "Efficient Transformer Quantization, arXiv 2109.12948, sec. 4"
    variants = {
        "released": VARIANTS["released"],
        "corrected": {**VARIANTS["corrected"], **FP32_PASS, "collect_by": "union"},
        "paper": {**VARIANTS["paper"], **FP32_PASS, "collect_by": "average"},
    }
    Settings = PegSettings

    def place(self, model: nn.Module) -> None:
        assert isinstance(model, TextModel)
        words = [word.strip() for word in self.settings.at.split(",") if word.strip()]
        slots = [slot for word in words for slot in model.addressed(word)]
        self._grouped = {slot for slot in slots if slot.kind == "activation"}
        for slot in self._grouped:
            self._check(slot)
        super().place(model)

    def _check(self, slot: TextSlot) -> None:
        if slot.place.axis is None or slot.place.width is None:
            raise self.refuse(
                f"the place {slot.place.name} has no embedding axis to group; choose among those "
                "of hidden width, like x,h,y"
            )
        Groups(self.settings.groups or None).check(slot.place.width)

    def activation(self, slot: Slot, bits: int) -> AffineQuantizer:
        if slot not in self._grouped:
            return super().activation(slot, bits)
        assert isinstance(slot, TextSlot)
        s = self.settings
        permutes = s.permute != "none" and s.groups > 0
        groups = Groups(s.groups or None, permute=permutes, collect_by=s.collect_by)
        return AffineQuantizer(
            bits,
            symmetric=False,
            axis=slot.place.axis,
            estimator=self.range_of(slot),
            groups=groups,
        )

    @torch.no_grad()
    def prepare(self, model: TextModel, draw: Draw) -> None:
        """Collect ranges for the permutation, weights in FP32 (P2 code: main.py:513-558)."""
        groups = [s.quantizer.groups for s in self._grouped if s.quantizer is not None]
        if not any(g.permute for g in groups):
            return
        batches = draw.batches(self.cell.recipe.calibration_images, self.settings.collect_batches)
        with self._only_collecting(model), collecting(groups):
            for inputs in batches:
                model(inputs)
        if self.settings.permute == "shared":
            self._share(model)

    @contextmanager
    def _only_collecting(self, model: TextModel) -> Iterator[None]:
        """Without quantized weights, and without other quantized activations unless released."""
        released = self.settings.collect_quantized
        out = [
            slot
            for slot in model.places.values()
            if slot.kind == "weight" or not (released or slot in self._grouped)
        ]
        held = [(slot, slot.quantizer) for slot in out]
        for slot in out:
            slot.quantizer = None
        try:
            yield
        finally:
            for slot, quantizer in held:
                slot.quantizer = quantizer

    def _share(self, model: TextModel) -> None:
        """Order every grouped place of a layer by the ranges of its FFN output."""
        for layer in {slot.place.layer for slot in self._grouped}:
            mine = [s for s in self._grouped if s.place.layer == layer]
            source = next((s for s in mine if SOURCE in s.place.words), None)
            if source is None or layer is None:
                raise self.refuse(
                    "a shared permutation takes its order from the FFN output h; add h to `at`, "
                    "or permute each place by its own ranges"
                )
            share([s.quantizer.groups for s in mine], source.quantizer.groups)

    def protocol(self) -> dict[str, Any]:
        s = self.settings
        return {
            **super().protocol(),
            "groups": s.groups or "one a dimension",
            "permutation": s.permute,
            "grouped_places": s.at,
            "collected": f"{s.collect_by} of {s.collect_batches} batches",
        }


METHOD = Peg
