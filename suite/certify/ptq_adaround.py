"""Golden values of P2's AdaRound: relaxations, regulariser, schedules, and one layer's training."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from suite.certify.case import Case, Replay
from suite.certify.ptq_tolerances import EXACT, FORWARD, GRADIENT, TRAINED
from suite.quant.adaround import Settings, reconstruct
from suite.quant.affine import AffineQuantizer
from suite.quant.ranges import estimator
from suite.quant.relaxation import RELAXATIONS, regulariser
from suite.quant.soft_weight import SoftWeight
from suite.quant.temperature import Temperature

LAYER_BITS = 4
LAYER_RATE = 1e-2
SIGMOID_SHAPE = 10.0
"""What the layers and the sigmoid schedule used, which the files do not hold."""


def _relaxation(case: Case) -> None:
    """One array of D: relaxations, their inverses, the regulariser or a schedule."""
    name = case.prefix.removeprefix("D/")
    data = case.other("D")
    if name.startswith("temp_"):
        kind = name.removeprefix("temp_")
        shape = SIGMOID_SHAPE if kind == "sigmoid" else 1.0
        beta = Temperature(1000, 0.2, 20.0, 2.0, kind, shape)
        ours = torch.tensor([beta(t) for t in data.array("temp_t")], dtype=torch.float64)
        data.compare(name, ours, FORWARD)
    elif name.endswith("_p"):
        kind = "hard_sigmoid" if name.startswith("hard") else "sigmoid"
        data.compare(name, RELAXATIONS[kind].inverse(data.tensor("p")), FORWARD)
    elif name == "sigmoid":
        data.compare(name, RELAXATIONS["sigmoid"](data.tensor("v")), FORWARD)
    else:
        _regulariser(data, name)


def _regulariser(data: Case, name: str) -> None:
    """h, its slope, and the regulariser's elements, sum (times 0.01) and gradient at v."""
    v = data.tensor("v").requires_grad_()
    h = RELAXATIONS["hard_sigmoid"](v)
    if name == "h":
        data.compare(name, h, FORWARD)
    elif name == "dh_dv":
        data.compare(name, torch.autograd.grad(h.sum(), v)[0], FORWARD)
    else:
        elements = regulariser(h, float(name.rpartition("_b")[2]))
        total = Settings.weight * elements.sum()
        if name.startswith("reg_elem"):
            data.compare(name, elements, FORWARD)
        elif name.startswith("reg"):
            data.compare(name, total, FORWARD)
        else:
            data.compare(name, torch.autograd.grad(total, v)[0], GRADIENT)


def _layer(case: Case) -> None:
    """A linear layer from the initial alpha to the hard weight."""
    weight, bias, data = (case.tensor(name) for name in ("W", "bias", "data"))
    order = case.tensor("idx")
    symmetric = case.prefix.endswith("_symmetric")
    quantizer = AffineQuantizer(
        LAYER_BITS, symmetric=symmetric, estimator=estimator("mse", shift_bits=LAYER_BITS)
    )
    quantizer.initialise(weight)
    quantizer.fix()
    case.compare("delta", quantizer.scale, FORWARD)
    case.compare("zero_point", quantizer.zero_point, EXACT)

    def layer(w: Tensor, x: Tensor) -> Tensor:
        return F.linear(x, w, bias)

    case.compare("y_nearest", layer(quantizer(weight), data), FORWARD)
    settings = Settings(iterations=len(order), batch=order.shape[1], lr=LAYER_RATE)
    case.compare("alpha_init", SoftWeight(weight, quantizer, settings).alpha, GRADIENT)
    found = reconstruct(
        layer, weight, quantizer, data, layer(weight, data), settings, order=order, record=True
    )
    assert found.losses is not None
    case.compare("losses", found.losses, TRAINED)
    case.compare("alpha_final", found.alpha, TRAINED)
    case.compare("x_int_hard", found.codes, EXACT)
    case.compare("W_hard", found.weight, FORWARD)
    case.compare("local_losses", torch.cat([found.before, found.after]), GRADIENT)


def _adaround(case: Case) -> None:
    (_layer if "/layer_" in case.prefix else _relaxation)(case)


REPLAYS = (
    Replay(
        "adaround",
        "ptq D AdaRound",
        r"D/(?:h|dh_dv|sigmoid|(?:hard_)?logit_p|(?:reg|reg_elem|dreg_dv)_b\d+"
        r"|temp_(?!t(?:/|$))[a-z]+|layer_[a-z]+)",
        _adaround,
    ),
)
