"""Golden values of Q-ViT's quantizers, layers, attention, block and loss, replayed against the
method's own parts."""

from __future__ import annotations

import re
from functools import partial
from typing import Any, Literal

import torch
from timm.models.vision_transformer import Block
from torch import Tensor, nn

from baselines.qvit import QViT
from suite.cell import make_cell
from suite.certify.case import Case, LacksInput, Replay
from suite.losses import token_distillation
from suite.method import Method
from suite.models.deit import Attention, Mlp, PatchEmbed
from suite.models.slot import QuantLinear, Slot

VALUES = 2e-6
"""The code's way of scaling gradients leaves the last bits of a step to chance."""

LAYERS = 1e-5
"""Outputs of several layers in a row."""

GRADIENTS, NOISE = 1e-4, 1e-3
"""Their gradients agree to GRADIENTS of a tensor's largest, or of NOISE times the largest of all:
what cancels, as a key's bias does in the softmax, is rounding noise on both sides."""

HEADS = 3


def method_of(case: Case, bits: int | None = None) -> QViT:
    """The released method at the bit-width that the case's name says."""
    found = re.search(r"_b(\d+)", case.prefix)
    bits = bits or (int(found.group(1)) if found else 8)
    cell = make_cell(
        method="qvit",
        model="deit_pico_distilled",
        task="fashion",
        w_bits=bits,
        a_bits=bits,
        variant="released",
    )
    return QViT(cell)


def _grad(leaf: Tensor) -> Tensor:
    return torch.zeros_like(leaf) if leaf.grad is None else leaf.grad


@torch.no_grad()
def _set(parameter: Tensor, value: Tensor) -> None:
    parameter.copy_(value.reshape(parameter.shape))


def _graded(case: Case, state: str, quantizer: Any, x: Tensor, upstream: Tensor, out: str) -> None:
    """Forward and backward with the steps of one state: as they start, or perturbed."""
    _set(quantizer.step, case.tensor(f"{state}_alpha"))
    names = {"alpha": quantizer.step}
    if out == "out":
        _set(quantizer.zero_point, case.tensor(f"{state}_zp"))
        names["zp"] = quantizer.zero_point
    leaf = x.clone().requires_grad_()
    quantizer.zero_grad()
    y = quantizer(leaf)
    y.backward(upstream)
    case.compare(f"{state}_{out}", y, VALUES)
    case.compare(f"{state}_grad{'x' if out == 'out' else 'w'}", _grad(leaf), VALUES)
    for name, parameter in names.items():
        case.compare(f"{state}_grad{name}", _grad(parameter), LAYERS)


def weight(case: Case) -> None:
    x = case.tensor("weight")
    slot = Slot("fc1_weight", "weight", channel_shape=(len(x), 1))
    quantizer: Any = method_of(case).quantizer(slot)
    quantizer.initialise(x)
    case.compare("alpha_init", quantizer.step, VALUES)
    case.compare("g", quantizer._factor(x, "weight", quantizer.high, quantizer.groups), VALUES)
    for state in ("init", "pert"):
        _graded(case, state, quantizer, x, case.tensor("G"), "wq")


ACTIVATIONS = {
    "d2": ("x2", "G2", Slot("fc1_input", "activation", channel_shape=(8,))),
    "d3": ("x3", "G3", Slot("fc1_input", "activation", channel_shape=(8,))),
    "d4": ("x4", "G4", Slot("query", "activation", heads=3, head_axis=1)),
    "soft": ("xs", "Gs", Slot("attn_probs", "activation", heads=3, head_axis=1)),
}
"""Input, upstream gradient and slot of the activations, by the case's name."""


def activation(case: Case) -> None:
    shared = case.other("qvit_a")
    name, upstream, slot = ACTIVATIONS[case.prefix.split("_")[2]]
    x = shared.tensor(name)
    quantizer: Any = method_of(case).quantizer(slot)
    quantizer.initialise(x)
    case.compare("signed", float(bool(quantizer.signed)))
    case.compare("alpha_init", quantizer.step, VALUES)
    case.compare("zp_init", quantizer.zero_point, VALUES)
    for state in ("init", "pert"):
        _graded(case, state, quantizer, x, shared.tensor(upstream), "out")


def linear(case: Case) -> None:
    """A layer at its own initial steps."""
    method, x = method_of(case), case.tensor("x").requires_grad_()
    out, inp = case.tensor("weight").shape
    layer = QuantLinear(inp, out, Slot("fc1_weight", "weight", channel_shape=(out, 1)))
    before = Slot("mlp_input", "activation", channel_shape=(inp,))
    model = nn.Sequential(before, layer)
    _set(layer.weight, case.tensor("weight"))
    _set(layer.bias, case.tensor("bias"))
    Method.place(method, model)
    method.calibrate(model, x)
    y = model(x)
    case.compare("out", y, VALUES)
    y.backward(case.tensor("G"))
    for name, leaf in (("x", x), ("weight", layer.weight), ("bias", layer.bias)):
        case.compare(f"grad{name}", _grad(leaf), LAYERS)
    for name, leaf in (
        ("w_alpha", layer.weight_slot.quantizer.step),
        ("a_alpha", before.quantizer.step),
        ("a_zp", before.quantizer.zero_point),
    ):
        case.compare(name, leaf, VALUES)
        case.compare(f"grad_{name}", _grad(leaf), LAYERS)


def patch(case: Case) -> None:
    """The patch embedding of a 2-bit model, which has 8 bits for weights and activations."""
    x, kernel = case.tensor("x"), case.tensor("weight")
    dim, channels, size, _ = kernel.shape
    method, model = method_of(case, bits=2), PatchEmbed(x.shape[-1], channels, size, dim)
    _set(model.proj.weight, kernel)
    assert model.proj.bias is not None
    _set(model.proj.bias, case.tensor("bias"))
    Method.place(method, model)
    method.calibrate(model, x)
    weights, inputs = model.proj.weight_slot.quantizer, model.quant.quantizer
    case.compare("nbits_w", float(weights.bits))
    case.compare("nbits_a", float(inputs.bits))
    case.compare("alpha", weights.step, VALUES)
    case.compare("a_alpha", inputs.step, VALUES)
    case.compare("a_zp", inputs.zero_point, VALUES)
    y = model(x)
    case.compare("out", y if case.array("out").ndim == 3 else y.mT.unflatten(2, (-1, 2)), LAYERS)


def attention(case: Case) -> None:
    _module(case, Attention(case.tensor("x").shape[-1], HEADS))


def block(case: Case) -> None:
    dim = case.tensor("x").shape[-1]
    hidden = len(case.tensor("p_mlp.fc1.bias"))
    norm: Any = partial(nn.LayerNorm, eps=EPSILON)
    made = Block(dim, HEADS, norm_layer=norm)
    made.attn, made.mlp = Attention(dim, HEADS), Mlp(dim, clamp=False, ratio=hidden // dim)
    _module(case, made)


EPSILON = 1e-5
"""Of the golden block's norms; the models have 1e-6."""


def _module(case: Case, model: nn.Module) -> None:
    """Load the golden state, compare what calibration sets, then forward and gradients."""
    method, x = method_of(case), case.tensor("x").requires_grad_()
    method.prepare(model)
    Method.place(method, model)
    golden = {name: _paths(name, value) for name, value in case.below("p").items()}
    _complete(case, model, golden)
    scales = {name for name, parts in golden.items() if "quantizer" in parts[0][0]}
    for name in golden.keys() - scales:
        _load(model, golden[name])
    method.calibrate(model, x)
    for name in sorted(scales):
        case.compare(f"p_{name}", _joined(model, golden[name]), LAYERS)
        _load(model, golden[name])
    _signs(case, model)
    y = model(x)
    case.compare("out", y, LAYERS)
    with torch.no_grad():
        case.compare("out_eval", model.eval()(x), LAYERS)
    y.backward(case.tensor("G"))
    case.compare("gradx", _grad(x), LAYERS)
    golden_gradients = case.below("g")
    largest = max((float(value.abs().max()) for value in golden_gradients.values()), default=0.0)
    for name, value in golden_gradients.items():
        found = _joined(model, _paths(name, value), of=_grad)
        case.compare(f"g_{name}", found, GRADIENTS, floor=NOISE * largest)


Parts = list[tuple[str, Tensor]]
"""The suite's parameters for one of the code's, with their shares of its value."""


def _complete(case: Case, model: nn.Module, golden: dict[str, Parts]) -> None:
    covered = {path for parts in golden.values() for path, _ in parts}
    lacking = {name for name, _ in model.named_parameters()} - covered
    if lacking:
        raise LacksInput(f"{case.prefix}_p_* for {min(lacking)}")


def _load(model: nn.Module, parts: Parts) -> None:
    for path, part in parts:
        _set(model.get_parameter(path), part)


def _joined(model: nn.Module, parts: Parts, of: Any = Tensor.detach) -> Tensor:
    """The suite's parameters, or their gradients, in the shape of the code's one."""
    found = torch.cat([of(model.get_parameter(path)).flatten() for path, _ in parts])
    rows = sum(len(part) for _, part in parts)
    return found.reshape(rows, *parts[0][1].shape[1:])


def _signs(case: Case, model: nn.Module) -> None:
    """Whether codes are signed; the code's other buffer says that a scale was set."""
    for name, value in case.below("buf").items():
        owner, _, entry = name.rpartition(".")
        if entry == "signed":
            ((path, _),) = _paths(f"{owner}.zero_point", value)
            quantizer = model.get_submodule(path.removesuffix(".zero_point"))
            case.compare(f"buf_{name}", float(bool(quantizer.signed)))


SLOTS = {
    "qkv.act": "quant_input",
    "proj.act": "quant_output",
    "q_act": "quant_q",
    "k_act": "quant_k",
    "v_act": "quant_v",
    "attn_act": "quant_attn",
    "fc1.act": "quant1",
    "fc2.act": "quant2",
}
"""The suite's slot for each of the code's activation quantizers."""

ENTRIES = {"alpha": "step", "zero_point": "zero_point"}


def _paths(name: str, value: Tensor) -> Parts:
    owner, _, entry = name.rpartition(".")
    for theirs, ours in SLOTS.items():
        if re.search(rf"(^|\.){re.escape(theirs)}$", owner):
            place = owner.removesuffix(theirs) + ours
            return [(f"{place}.quantizer.{ENTRIES[entry]}", value)]
    if entry == "alpha":
        entry = "weight_slot.quantizer.step"
    owner = owner.replace("norm_q", "q_norm").replace("norm_k", "k_norm")
    if not owner.endswith("qkv"):
        return [(f"{owner}.{entry}", value)]
    before, parts = owner.removesuffix("qkv"), value.chunk(3)
    return [(f"{before}proj_{c}.{entry}", part) for c, part in zip("qkv", parts, strict=True)]


def distillation(case: Case) -> None:
    given = [case.tensor(name) for name in ("cls", "dist", "y", "teacher")]
    kinds: tuple[Literal["hard", "soft"], ...] = ("hard", "soft")
    for kind in kinds:
        case.compare(kind, token_distillation(given[0], given[1], given[2], given[3], kind), VALUES)


REPLAYS = (
    Replay("qvit", "qvit_w weight quantizer", r"qvit_w_b\d+", weight, joint="_"),
    Replay(
        "qvit", "qvit_a activation quantizer", r"qvit_a_(?:d\d|soft)_b\d+", activation, joint="_"
    ),
    Replay("qvit", "qvit_lin linear layer", r"qvit_lin_b\d+", linear, joint="_"),
    Replay("qvit", "qvit_patch patch embedding", r"qvit_patch", patch, joint="_"),
    Replay("qvit", "qvit_attn attention with IRM", r"qvit_attn_b\d+", attention, joint="_"),
    Replay("qvit", "qvit_block transformer block", r"qvit_block_b\d+", block, joint="_"),
    Replay("qvit", "qvit_kd token distillation", r"qvit_kd", distillation, joint="_"),
)
