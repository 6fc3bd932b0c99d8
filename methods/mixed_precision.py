"""Mixed-precision PTQ of P2: 16 bits where structured outliers are, 8 elsewhere."""

from __future__ import annotations

from suite.ptq import RangeMethod
from suite.ptq_settings import RangeSettings


class MixedSettings(RangeSettings):
    """The FFN's input x, output h and residual sum y at 16 bits; P2 adds `P=16,C=16` and logits
    by `mse` for STS-B."""

    places: str = "x=16,h=16,y=16"


class MixedPrecision(RangeMethod):
    """W8A{8,16}: bit-widths by place (P2, sec. 4.1)."""

    name = "mixed_precision"
    summary = "PTQ with 16 bits at the FFN's input, output and residual sum"
    source = "Efficient Transformer Quantization, arXiv 2109.12948, sec. 4"
    Settings = MixedSettings


METHOD = MixedPrecision
