"""Reference values of LSQ+ from its equations in double precision, replayed against its method."""

from __future__ import annotations

import re
from typing import Any

import torch

from baselines.lsq_plus import LSQPlus
from suite.cell import make_cell
from suite.certify.case import Case, Replay
from suite.models.slot import Slot

DOUBLE = 1e-9


def reference(case: Case) -> None:
    """One bit-width: an activation with its step and offset, and a weight's initial step."""
    bits = int(re.sub(r"\D", "", case.prefix))
    cell = make_cell(method="lsq_plus", model="deit_pico", task="fashion", w_bits=bits, a_bits=bits)
    method, shared = LSQPlus(cell), case.other("ref_lsqp")
    x = shared.tensor("x").requires_grad_()
    quantizer: Any = method.quantizer(Slot("mlp_input", "activation")).double()
    with torch.no_grad():
        quantizer.step.copy_(case.tensor("s"))
        quantizer.offset.copy_(case.tensor("beta"))
    out = quantizer(x)
    case.compare("out", out, DOUBLE)
    out.backward(shared.tensor("G"))
    for name, leaf in (("x", x), ("s", quantizer.step), ("beta", quantizer.offset)):
        assert leaf.grad is not None
        case.compare(f"grad{name}", leaf.grad, DOUBLE)
    weight: Any = method.quantizer(Slot("fc1_weight", "weight")).double()
    weight.initialise(case.other("").tensor("ref_lsq_v"))
    case.compare("w_s_init", weight.step, DOUBLE)


REPLAYS = (Replay("lsq_plus", "ref_lsqp LSQ+ reference", r"ref_lsqp_b\d+", reference, joint="_"),)
