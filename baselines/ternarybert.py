"""TernaryBERT: ternary weights, 8-bit activations, joint distillation (arXiv 2009.12812)."""

from __future__ import annotations

from typing import Any, ClassVar

from pydantic import Field
from torch import nn

from suite.distilled_text import CORRECTED, DistilledSettings, DistilledText
from suite.quant.ternary import LAQWeight, TernaryWeight


class TernarySettings(DistilledSettings):
    """width: share of the heads and FFN units (BinaryBERT splits a model of width 0.5).
    weights: `twn`, or `laq`, whose levels are fitted (BinaryBERT's other choice).
    weight_limit: clip the weights to it, without gradients beyond; 0: no clip.
    """

    width: float = Field(default=1.0, gt=0, le=1)
    weights: str = Field(default="twn", pattern="^(twn|laq)$")
    weight_limit: float = Field(default=0.0, ge=0)


OWN: dict[str, Any] = {
    "stages": "joint",
    "clip": "fixed",
    "skewed": "symmetric",
    "teacher_dropout": False,
    "rating_loss": "mse",
    "weight_limit": 2.5,
}
"""TernaryBERT's own code, where BinaryBERT's ternary step differs."""


class TernaryBERT(DistilledText):
    """TWN weights, a level a matrix and a row of the word embeddings.

    `released` is TernaryBERT's code, which has the symmetric quantizer everywhere; `corrected` has
    the asymmetric one where the paper motivates it, and nothing that depends on the evaluation's
    batches. `binarybert` is the ternary step of BinaryBERT's code, `binarybert-corrected` the same
    mended; at width 0.5 they are what BinaryBERT splits.
    """

    name = "ternarybert"
    summary = "ternary weights, 4- or 8-bit activations, distilled BERT"
    source = "TernaryBERT, arXiv 2009.12812; code huawei-noah/Pretrained-Language-Model"
    bits = (2, 4, 8, 32)
    weight_bits = 2
    activation_bits = (2, 4, 8, 32)
    variants: ClassVar[dict[str, dict[str, Any]]] = {
        "released": OWN,
        "corrected": {**OWN, **CORRECTED, "skewed": "asymmetric"},
        "binarybert": {},
        "binarybert-corrected": CORRECTED,
    }
    Settings = TernarySettings

    @property
    def width(self) -> float:
        return float(self.settings.width)

    def weight(self, rows: bool) -> nn.Module:
        if self.settings.weights == "laq":
            return LAQWeight(self.cell.w_bits, rows)
        return TernaryWeight(rows, self.settings.weight_limit)

    def protocol(self) -> dict[str, Any]:
        limit = f", clipped to {self.settings.weight_limit}" if self.settings.weight_limit else ""
        return {
            **super().protocol(),
            "weights": f"{self.settings.weights}, a matrix, words a row{limit}",
        }


METHOD = TernaryBERT
