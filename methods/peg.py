"""Per-embedding-group PTQ (PEG) of P2: groups of embedding dimensions share a range."""

from __future__ import annotations

from contextlib import AbstractContextManager
from typing import Any, Literal

import torch

from suite.method import Draw
from suite.models.encoder import TextModel
from suite.models.slot import Slot, without
from suite.models.text_layers import TextSlot
from suite.ptq import RangeMethod, drawn
from suite.ptq_settings import FULL, VARIANTS, RangeSettings
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

    def look_up(self, model: TextModel) -> None:
        super().look_up(model)
        words = [word.strip() for word in self.settings.at.split(",") if word.strip()]
        if not words:
            raise self.refuse("`at` names no place to group; name some, like x,h,y")
        self._grouped = list(dict.fromkeys(s for word in words for s in model.addressed(word)))
        for slot in self._grouped:
            self._check(slot)
        if self._permutes and self.settings.permute == "shared":
            self._check_sources()

    @property
    def _permutes(self) -> bool:
        return self.settings.permute != "none" and self.settings.groups > 0

    def _check(self, slot: TextSlot) -> None:
        if slot.place.axis is None or slot.place.width is None:
            raise self.refuse(
                f"the place {slot.place.name} has no embedding axis to group; choose among those "
                "of hidden width, like x,h,y"
            )
        Groups(self.settings.groups or None).check(slot.place.width)

    def _check_sources(self) -> None:
        """Every layer with quantized groups must have its FFN output among them."""
        chosen = [slot for slot in self._grouped if self.bits_of(slot) != FULL]
        names = {slot.place.name for slot in chosen}
        if any(slot.place.layer is None or _source_of(slot) not in names for slot in chosen):
            raise self.refuse(
                "a shared permutation takes its order from the FFN output h of the same layer; "
                "name h and places of layers in `at`, like x,h,y, or permute each place by its "
                "own ranges"
            )

    def activation(self, slot: Slot, bits: int) -> AffineQuantizer:
        if slot not in self._grouped:
            return super().activation(slot, bits)
        assert isinstance(slot, TextSlot)
        s = self.settings
        groups = Groups(s.groups or None, permute=self._permutes, collect_by=s.collect_by)
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
        groups = self._groups()
        if not (self._permutes and groups):
            return
        size, count = self.cell.recipe.calibration_images, self.settings.collect_batches
        batches = drawn(draw, size, count)
        with self._only_collecting(model), collecting(groups.values()):
            for inputs in batches:
                model(inputs)
        if self.settings.permute == "shared":
            self._share(groups)

    def _groups(self) -> dict[str, Groups]:
        """The groups of each place whose quantizer has some."""
        held = {slot: slot.quantizer for slot in self._grouped}
        return {slot.place.name: q.groups for slot, q in held.items() if q is not None}

    def _only_collecting(self, model: TextModel) -> AbstractContextManager[None]:
        """Without quantized weights, and without other quantized activations unless released."""
        released = self.settings.collect_quantized
        out = [
            slot
            for slot in model.places.values()
            if slot.kind == "weight" or not (released or slot in self._grouped)
        ]
        return without(out)

    def _share(self, groups: dict[str, Groups]) -> None:
        """Order every grouped place of a layer by the ranges of its FFN output."""
        for slot in self._grouped:
            if slot.place.name in groups:
                share([groups[slot.place.name]], groups[_source_of(slot)])

    def protocol(self) -> dict[str, Any]:
        s = self.settings
        return {
            **super().protocol(),
            "groups": s.groups or "one a dimension",
            "permutation": s.permute,
            "grouped_places": s.at,
            "collected": f"{s.collect_by} of {s.collect_batches} batches",
        }


def _source_of(slot: TextSlot) -> str:
    """Name of the place whose ranges order the dimensions of a slot's layer."""
    return f"{SOURCE}{slot.place.layer}"


METHOD = Peg
