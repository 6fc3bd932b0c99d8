"""The full-precision model: what every quantized number is compared with."""

from __future__ import annotations

from suite.method import Method


class FP32(Method):
    """Leaves every tensor in 32-bit floating point; trains or loads as its recipe says."""

    name = "fp32"
    summary = "full precision, the reference of every other cell"
    source = "the model's own paper"
    tasks = ("image", "text")
    bits = (32,)

    @property
    def quantizes(self) -> bool:
        return False


METHOD = FP32
