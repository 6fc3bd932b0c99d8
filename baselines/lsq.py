"""LSQ: learned step size quantization (arXiv 1902.08153), on transformers."""

from __future__ import annotations

from typing import Any

from pydantic import Field
from torch import Tensor, nn

from suite.method import Method, Settings
from suite.models.modules import roles_of
from suite.models.slot import Slot
from suite.quant.calibration import calibrate
from suite.quant.uniform import UniformQuantizer


class LSQSettings(Settings):
    """distill: train on a teacher's soft labels instead of the class labels (LSQ + KD).

    edge_bits: bit-width of the first and the last layer.
    leave_out: modules (`attention`, `mlp`) or roles kept in FP32, comma-separated.
    """

    distill: bool = False
    edge_bits: int = Field(default=8, ge=2, le=8)
    leave_out: str = ""


class LSQ(Method):
    """One learned step size for every weight tensor and every layer input.

    Gradient of the step size by LSQ eq. 3, scaled by 1/sqrt(N*Qp) with N the weights of a layer
    or the features of one example; initial step 2*mean|v|/sqrt(Qp); weights and activations
    signed except where the tensor cannot be negative (attention probabilities).
    """

    name = "lsq"
    summary = "learned step sizes, one a tensor"
    source = "Learned Step Size Quantization, arXiv 1902.08153"
    Settings = LSQSettings

    @property
    def soft_labels(self) -> bool:
        return bool(self.settings.distill)

    def _check_bits(self) -> None:
        super()._check_bits()
        self._left_out = roles_of(self.settings.leave_out)

    def quantizer(self, slot: Slot) -> nn.Module | None:
        if slot.role in self._left_out:
            return None
        bits = self.cell.w_bits if slot.kind == "weight" else self.cell.a_bits
        return UniformQuantizer(
            self.settings.edge_bits if slot.edge else bits,
            kind=slot.kind,
            signed=slot.role != "attn_probs",
            grad_factor="lsq",
            init="lsq",
        )

    def calibrate(self, model: nn.Module, images: Tensor, rank: int = 0) -> None:
        calibrate(model, images)

    def protocol(self) -> dict[str, Any]:
        return {
            "edge_bits": self.settings.edge_bits,
            "granularity": "tensor",
            "gelu_output": "signed",
            "attn_probs": "unsigned",
            "scale_init": "2*mean|v|/sqrt(Qp)",
            "distillation": "soft labels" if self.settings.distill else "none",
            **({"left_out": self.settings.leave_out} if self.settings.leave_out else {}),
        }


METHOD = LSQ
