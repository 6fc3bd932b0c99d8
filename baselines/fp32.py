"""The full-precision model: what every quantized number is compared with."""

from __future__ import annotations

from typing import Any

from pydantic import Field
from torch import nn

from suite.method import Method, Settings


class FP32Settings(Settings):
    """width: share of a text encoder's attention heads and FFN units; the largest ones stay.

    Below 1 the cell starts from the FP32 cell of full width (recipe start=fp32) or trains anew.
    """

    width: float = Field(default=1.0, gt=0, le=1)


class FP32(Method):
    """Leaves every tensor in 32-bit floating point; trains or loads as its recipe says."""

    name = "fp32"
    summary = "full precision, the reference of every other cell"
    source = "the model's own paper"
    tasks = ("image", "text")
    bits = (32,)
    Settings = FP32Settings

    @property
    def quantizes(self) -> bool:
        return False

    def place(self, model: nn.Module) -> None:
        """Narrow the model, if that is asked for; all slots stay empty."""
        if self.settings.width != 1:
            from suite.models.narrow import narrow

            narrow(model, self.settings.width)

    def protocol(self) -> dict[str, Any]:
        return {} if self.settings.width == 1 else {"width": self.settings.width}


METHOD = FP32
