"""QAT with learned ranges of P2: W8A8, W4A8, and W4A8 with 2-bit word embeddings."""

from __future__ import annotations

from suite.ptq import RangeMethod


class RangeQAT(RangeMethod):
    """Scales and zero points become parameters after calibration, and everything is fine-tuned
    with one learning rate (P2, sec. 4.3)."""

    name = "range_qat"
    summary = "QAT with learned scales and zero points"
    source = "Efficient Transformer Quantization, arXiv 2109.12948, sec. 4"
    learned = True


METHOD = RangeQAT
