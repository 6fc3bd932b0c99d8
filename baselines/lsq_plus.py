"""LSQ+: learned step and offset (arXiv 2004.09576), on transformers."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field
from torch import Tensor, nn

from suite.method import Method, Settings
from suite.models.slot import Slot
from suite.quant.calibration import calibrate
from suite.quant.uniform import UniformQuantizer


class LSQPlusSettings(Settings):
    """distill: train on a teacher's soft labels instead of the class labels.

    start: how step and offset of an activation begin: by `least_squares`, as the paper has it, or
        from `minmax`, its closed form.
    edge_bits: bit-width of the first and the last layer.
    """

    distill: bool = False
    start: Literal["least_squares", "minmax"] = "least_squares"
    edge_bits: int = Field(default=8, ge=2, le=8)


class LSQPlus(Method):
    """One learned step a weight tensor, one learned step and offset a layer input.

    Weights are symmetric and start at max|mu +- 3 sigma|/2^(b-1); activations have unsigned codes,
    so that the offset decides where the range lies. Both gradients are scaled as LSQ's step.
    """

    name = "lsq_plus"
    summary = "learned step sizes and offsets, one a tensor"
    source = "LSQ+, arXiv 2004.09576"
    Settings = LSQPlusSettings

    @property
    def soft_labels(self) -> bool:
        return bool(self.settings.distill)

    def quantizer(self, slot: Slot) -> nn.Module:
        bits = self.cell.w_bits if slot.kind == "weight" else self.cell.a_bits
        bits = self.settings.edge_bits if slot.edge else bits
        if slot.kind == "weight":
            return UniformQuantizer(bits, kind=slot.kind, init="three_sigma")
        return UniformQuantizer(
            bits,
            kind=slot.kind,
            signed=False,
            offset=True,
            scale_offset=True,
            init=self.settings.start,
        )

    def calibrate(self, model: nn.Module, images: Tensor, rank: int = 0) -> None:
        calibrate(model, images)

    def protocol(self) -> dict[str, Any]:
        return {
            "edge_bits": self.settings.edge_bits,
            "granularity": "tensor",
            "activations": "unsigned codes with a learned float offset",
            "weights": "signed, without offset",
            "scale_init": f"3 sigma (weights), {self.settings.start} (activations)",
            "distillation": "soft labels" if self.settings.distill else "none",
        }


METHOD = LSQPlus
