"""Golden values of P1's whole models: initial scales, logits, gradients and five training steps."""

from __future__ import annotations

import re
from dataclasses import dataclass

import torch
from torch import nn

from methods.variation import Variation
from suite.cell import Cell, Recipe, make_cell
from suite.certify.case import Case, LacksInput, Replay
from suite.losses import soft_cross_entropy
from suite.models.checkpoint import load_fp, load_quantized
from suite.models.deit import DeiT, build
from suite.models.p1_layout import p1_name, to_p1
from suite.models.slot import quantized_weights, slots
from suite.optimize import adamw
from suite.quant.bins import model_bin_penalty, rows
from suite.quant.calibration import calibrate

WEIGHT_STEP = 1e-3
"""Least-squares steps at 8 bits settle slowly: rounding of sums decides where they stop."""

STATE, LOGITS, LOSS = 1e-5, 1e-4, 1e-4
GRADIENT, NOISE = 1e-3, 1e-2
"""Gradients agree to GRADIENT of the tensor's largest, or of NOISE times the model's largest."""

MOVED, STEP = 0.1, 5e-3
"""After five steps a tensor may differ by MOVED of its size, or of STEP times ten if it is that
small: where a gradient is rounding noise, AdamW moves by its sign, a learning rate each time."""

HEADS = 3
RECIPE = Recipe(lr=5e-4, weight_decay=1e-4)


@dataclass(frozen=True)
class _Twin:
    """The dimensions of the golden DeiT."""

    dim: int
    depth: int
    classes: int
    channels: int
    patch: int
    image_size: int
    heads: int = HEADS
    init: str = ""


def deit(case: Case) -> None:
    """Calibrate, then one graded forward of each loss, then five steps, as the authors' run."""
    method = Variation(_cell(case.prefix))
    model = build(_dimensions(case))
    for name in model.state_dict():
        case.tensor(f"sd_fp/{name}")
    load_fp(model, case.below("sd_fp"), source=case.prefix)
    method.place(model)
    model.eval()
    _initialise(case, model)
    model.train()
    _cross_entropy(case, model)
    _regulariser(case, model)
    _five_steps(case, model)


def _initialise(case: Case, model: DeiT) -> None:
    """Weights first, then activations: the second from the golden weights' steps, so that a step
    that stopped a turn earlier does not count against every activation behind it."""
    # The released initialisation computes every bit-width's step; a cell only the one in use.
    for _, weight, quantizer in quantized_weights(model):
        quantizer.initialise(weight, every=True)
    weights = {name for name, _, _ in quantized_weights(model)}
    ours = to_p1(model)
    for name in weights:
        case.compare(f"sd_init/{name}.alpha", ours[f"{name}.alpha"], WEIGHT_STEP)
    for name in ours:
        case.tensor(f"sd_init/{name}")
    load_quantized(model, case.below("sd_init"), source=case.prefix)
    _forget_activations(model)
    calibrate(model, case.tensor("x_init"), weights=False)
    for name, value in to_p1(model).items():
        if name.removesuffix(".alpha") not in weights:
            case.compare(f"sd_init/{name}", value, STATE)


def _forget_activations(model: DeiT) -> None:
    """Unset the steps of the activations, so that only calibration can set them right."""
    for slot in slots(model).values():
        if slot.kind == "activation" and slot.quantizer is not None:
            torch.nn.init.zeros_(slot.quantizer.alpha)


def _cell(tag: str) -> Cell:
    words = re.fullmatch(r"deit_w(\d+)a(\d+)(_off)?(_mixpre)?", tag)
    if words is None:
        raise LacksInput(f"{tag}: the name does not say its bits")
    return make_cell(
        method="variation",
        model="deit_tiny",
        task="imagenet",
        variant="released",
        w_bits=int(words.group(1)),
        a_bits=int(words.group(2)),
        settings={"offset": bool(words.group(3)), "train_bits": bool(words.group(4))},
    )


def _dimensions(case: Case) -> _Twin:
    dim, channels, patch, _ = case.tensor("sd_fp/patch_embed.proj.weight").shape
    states = (case.below("sd_fp"), case.below("sd_init"))
    depths = {int(k.split(".")[1]) for s in states for k in s if k.startswith("blocks.")}
    classes = len(case.tensor("sd_fp/head.bias"))
    return _Twin(dim, len(depths), classes, channels, patch, case.tensor("x_init").shape[-1])


def _compare_gradients(case: Case, group: str, model: nn.Module) -> None:
    golden = case.below(group)
    largest = max((float(g.abs().max()) for g in golden.values()), default=0.0)
    for name, parameter in model.named_parameters():
        grad = torch.zeros_like(parameter) if parameter.grad is None else parameter.grad
        case.compare(f"{group}/{p1_name(name)}", grad, GRADIENT, floor=NOISE * largest)
    model.zero_grad()


def _cross_entropy(case: Case, model: DeiT) -> None:
    logits = model(case.tensor("x"))
    loss = soft_cross_entropy(logits, case.tensor("soft"))
    case.compare("logits", logits, LOGITS)
    case.compare("loss_ce", loss, LOSS)
    loss.backward()
    _compare_gradients(case, "grad_ce", model)


def _regulariser(case: Case, model: DeiT) -> None:
    weight = float(case.array("reg_lambda"))
    penalty = weight * model_bin_penalty(model, vanish=True)
    case.compare("reg", penalty, LOSS)
    penalty.backward()
    _compare_gradients(case, "grad_reg", model)
    found = []
    for _, tensor, quantizer in quantized_weights(model):
        figures = rows(tensor, quantizer.grid(tensor), vanish=True)
        found.append([float(quantizer.bits), *figures.values()])
    case.compare("reg_rows/nbits_mse_var_hit_miss_occupied", torch.tensor(found), LOSS)
    if case.has("reg_rows/names"):
        case.array("reg_rows/names")


def _five_steps(case: Case, model: DeiT) -> None:
    if not case.has("traj_losses_total_reg"):
        return
    weight = float(case.array("reg_lambda"))
    optimizer = adamw(model, RECIPE)
    x, soft = case.tensor("x"), case.tensor("soft")
    losses = []
    for _ in range(len(case.array("traj_losses_total_reg"))):
        optimizer.zero_grad()
        penalty = weight * model_bin_penalty(model, vanish=True)
        total = soft_cross_entropy(model(x), soft) + penalty
        total.backward()
        optimizer.step()
        losses.append(torch.stack([total.detach(), penalty.detach()]))
    ours = torch.stack(losses).double()
    case.compare("traj_losses_total_reg", ours, LOSS)
    for name, value in to_p1(model).items():
        case.compare(f"sd_after5/{name}", value, MOVED, floor=10 * STEP)
    model.eval()
    with torch.no_grad():
        case.compare("eval_logits_after", model(x), MOVED)


REPLAYS = (Replay("variation", "deit end to end", r"deit_w\w+", deit),)
