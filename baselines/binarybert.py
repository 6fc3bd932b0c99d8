"""BinaryBERT: binary weights by splitting a ternary model of half the width (arXiv 2012.15701)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

import torch
from torch import nn

from suite.cell import Cell, make_cell
from suite.distilled_text import CORRECTED, DistilledSettings, DistilledText
from suite.finished import load
from suite.method import Finished
from suite.models.slot import slots
from suite.models.split import Splitting, split_model
from suite.quant.splitting import Level
from suite.quant.ternary import SignWeight, Zero
from suite.registry import METHODS

HALF = 0.5


class BinarySettings(DistilledSettings):
    """zero: sign of an exact zero, `zero`, a third level, as in the code; or `plus`.
    level: ternary level of a group that is split: its largest value, `max`, which the code takes
        and which is 0 where no positive weight is left; or the `mean` size of what is not zero.
    """

    zero: Zero = "zero"
    level: Level = "max"


class BinaryBERT(DistilledText):
    """Every weight of a ternary half-width model becomes two binary ones, which are trained on.

    The ternary model is a cell of its own (`ternarybert`, width 0.5), shared by every binary
    cell of its task, bits and seed.
    """

    name = "binarybert"
    summary = "binary weights by splitting a half-width ternary BERT, distilled"
    source = "BinaryBERT, arXiv 2012.15701; code huawei-noah/Pretrained-Language-Model"
    bits = (1, 2, 4, 8, 32)
    weight_bits = 1
    activation_bits = (2, 4, 8, 32)
    variants: ClassVar[dict[str, dict[str, Any]]] = {
        "released": {},
        "corrected": {**CORRECTED, "zero": "plus", "level": "mean"},
    }
    Settings = BinarySettings
    _ternary: Finished | None = None
    _splitting: Splitting | None = None

    @property
    def width(self) -> float:
        return HALF

    def needs(self) -> Mapping[str, Cell]:
        return {**super().needs(), "ternary": self.earlier("ternary", **self._ternary_fields())}

    def _ternary_fields(self) -> dict[str, Any]:
        mended = self.cell.variant == "corrected"
        return {
            "method": "ternarybert",
            "variant": "binarybert-corrected" if mended else "binarybert",
            "settings": {"width": self.width},
            "w_bits": 2,
            "a_bits": self.cell.a_bits,
        }

    def receive(self, found: Mapping[str, Finished], classes: int, device: torch.device) -> None:
        super().receive(found, classes, device)
        self._ternary = found["ternary"]

    def place(self, model: nn.Module) -> None:
        """Give `model` the ternary one's shape and weights, then split it."""
        fields = {"model": self.cell.model, "task": self.cell.task, "recipe": self.cell.recipe}
        plain = make_cell(**fields, **self._ternary_fields())
        METHODS.get("ternarybert")(self._ternary.cell if self._ternary else plain).place(model)
        if self._ternary is not None:
            load(model, self._ternary)
        self._splitting = split_model(model, self.settings.level)
        self.fill(model)
        self.settle(model)

    def fill(self, model: nn.Module) -> None:
        """Quantizers for the split model; those of activations go on from the ternary model's."""
        for slot in slots(model).values():
            before, slot.quantizer = slot.quantizer, self.quantizer(slot)
            if slot.kind == "activation" and before is not None:
                slot.quantizer.load_state_dict(before.state_dict(), strict=False)

    def weight(self, rows: bool) -> nn.Module:
        return SignWeight(rows, self.settings.zero)

    def calibrate(self, model: nn.Module, inputs: Any, rank: int = 0) -> None:
        """Clips, steps and ranges are the ternary model's, if there is one."""
        if self._ternary is None:
            super().calibrate(model, inputs, rank)

    @property
    def diagnosis(self) -> dict[str, Any]:
        split = self._splitting
        if split is None:
            return {}
        return {"split": {"weights": split.weights, "broken_groups": split.broken}}

    def protocol(self) -> dict[str, Any]:
        zero = "its sign 0" if self.settings.zero == "zero" else "its sign +1"
        return {
            **super().protocol(),
            "weights": f"mean size times sign, a matrix, words a row, two of each; of 0 {zero}",
            "start": f"a ternary model of width {self.width}, split ({self.settings.level} level)",
        }


METHOD = BinaryBERT
