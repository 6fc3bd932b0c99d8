"""Naive post-training quantization: one range a tensor from calibration data (P2, Tables 1, 2)."""

from __future__ import annotations

from typing import Any

from suite.models.encoder import TextModel
from suite.models.slot import Slot
from suite.ptq import RangeMethod
from suite.ptq_settings import FULL, RangeSettings


class MinMaxSettings(RangeSettings):
    """leave_out: places kept in FP32, comma-separated: the leave-one-out study of P2's Table 2."""

    leave_out: str = ""


class MinMaxPTQ(RangeMethod):
    """W8A8, W32A8 or W8A32 with one range a tensor, and any place left out on request."""

    name = "minmax_ptq"
    summary = "naive PTQ, one range a tensor; leave-one-out by place"
    source = "Efficient Transformer Quantization, arXiv 2109.12948, sec. 3"
    Settings = MinMaxSettings

    def _overrides(self, model: TextModel) -> dict[Slot, int]:
        found = super()._overrides(model)
        for word in filter(None, map(str.strip, self.settings.leave_out.split(","))):
            found.update(dict.fromkeys(model.addressed(word), FULL))
        return found

    def protocol(self) -> dict[str, Any]:
        return {**super().protocol(), "left_out": self.settings.leave_out or "nothing"}


METHOD = MinMaxPTQ
