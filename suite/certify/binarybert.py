"""Golden values of TernaryBERT's and BinaryBERT's quantizers, split, losses and optimizer, replayed
against the modules that the methods run. Keys are joined by underscores: `bb_twn_row_out`."""

from __future__ import annotations

import re
from typing import Any

import torch
from torch import Tensor, nn

from suite.bert_adam import BertAdam
from suite.cell import Recipe
from suite.certify.case import Case, Replay
from suite.models.slot import Slot
from suite.models.text_inputs import InputLinear
from suite.models.text_layers import QuantEmbedding
from suite.optimize import set_rate
from suite.quant.batch_lsq import BatchLSQ
from suite.quant.clipped import ClippedUniform
from suite.quant.splitting import split
from suite.quant.ternary import LAQWeight, SignWeight, TernaryWeight
from suite.schedule import Pass, step_rate
from suite.text_distillation import LogitRule

CLOSE = 5e-6
"""Sums over a tensor depend on their order; the file asks for 2e-6 absolute at values around 1."""

STEPS = 20
"""Steps that the optimizer's golden schedule counts on."""


def guarded(case: Case, name: str, ours: Tensor, tolerance: float = CLOSE) -> None:
    """Compare where the golden array is finite; where it is not, ours must be finite: the code's
    division of zero by zero, which the suite guards."""
    if case.has(name):
        golden = case.tensor(name)
        mine = ours.detach().reshape(golden.shape).to(golden.dtype)
        guards = torch.where(mine.isfinite(), golden, 0.0)  # a zero for NaN is an infinite error
        case.compare(name, torch.where(golden.isfinite(), mine, guards), tolerance)


def weights(case: Case) -> None:
    """`bb_twn_layer`, `bb_laq2_row`: forward and gradient; inputs with zeros."""
    _, kind, groups = case.prefix.split("_")
    quantizer = weight_quantizer(kind, groups == "row")
    given = case.other("bb")
    if case.has("out") or case.has("gradw"):
        weight = given.tensor("w").requires_grad_()
        out = quantizer(weight)
        case.compare("out", out, CLOSE)
        if case.has("gradw"):
            out.backward(given.tensor("w_G"))
            case.compare("gradw", _grad(weight), CLOSE)
    if case.has("zeros_out"):
        case.compare("zeros_out", quantizer(given.tensor("w_zeros")), CLOSE)
    if case.has("zerorow_out"):
        guarded(case, "zerorow_out", quantizer(given.tensor("w_zerorow")))


def weight_quantizer(kind: str, rows: bool) -> nn.Module:
    """The released quantizer called `twn`, `bwn` or `laq2`, for a matrix or for rows."""
    if kind == "twn":
        return TernaryWeight(rows)
    return SignWeight(rows) if kind == "bwn" else LAQWeight(int(kind.removeprefix("laq")), rows)


def clipped(case: Case) -> None:
    """`bb_asym8_X4_row`: learned clip and dynamic range."""
    _, kind, name, groups = case.prefix.split("_")
    given = case.other("bb")
    quantizer = ClippedUniform(
        int(kind[-1]), symmetric=kind.startswith("sym"), rows=groups == "row"
    )
    quantizer.load_state_dict({"clip": given.tensor("clip")})
    x = given.tensor(name).requires_grad_()
    out = quantizer(x)
    case.compare("out", out, CLOSE)
    if case.has("gradx") or case.has("gradclip"):
        out.backward(given.tensor(f"G{name[-1]}"))
        case.compare("gradx", _grad(x), CLOSE)
        case.compare("gradclip", _grad(quantizer.clip), CLOSE)


def all_zero(case: Case) -> None:
    """`bb_sym8_allzero`: a tensor of zeros."""
    bits = int(re.findall(r"\d+", case.prefix)[0])
    quantizer = ClippedUniform(bits, symmetric="_sym" in case.prefix)
    if case.has("out"):
        guarded(case, "out", quantizer(torch.zeros(case.array("out").shape)))


def lsq(case: Case) -> None:
    """`bb_symlsq4_R3_pert`: the learned step, at its start and off it."""
    _, kind, name, at = case.prefix.split("_")
    quantizer = BatchLSQ(int(kind[-1]), symmetric=kind.startswith("sym"))
    given = case.other("bb")
    x = given.tensor(name).requires_grad_()
    if at == "init":
        quantizer.initialise(x)
        case.compare("alpha", quantizer.step, CLOSE)
    quantizer.load_state_dict({"step": case.tensor("alpha").reshape(1)})
    out = quantizer(x)
    case.compare("out", out, CLOSE)
    if case.has("gradx") or case.has("gradalpha"):
        out.backward(given.tensor("G3"))
        case.compare("gradx", _grad(x), CLOSE)
        case.compare("gradalpha", _grad(quantizer.step), CLOSE)


def linear(case: Case) -> None:
    """`bb_lin_w2a8`: a whole layer."""
    found = re.search(r"w(\d)a(\d)", case.prefix)
    assert found
    weight, bias = case.tensor("p_weight"), case.tensor("p_bias")
    layer = InputLinear(
        weight.shape[1], weight.shape[0], Slot("input", "activation"), Slot("weight", "weight")
    )
    layer.weight_slot.quantizer = TernaryWeight() if found[1] == "2" else SignWeight()
    layer.input_slot.quantizer = taken = activation(int(found[2]), symmetric=True)
    own = next(taken.parameters())
    with torch.no_grad():
        layer.weight.copy_(weight)
        layer.bias.copy_(bias)
        own.copy_(case.tensor("p_input_clip_val").reshape(own.shape))
    x = case.other("bb").tensor("X3").requires_grad_()
    out = layer(x)
    case.compare("out", out, CLOSE)
    if case.has("G"):
        out.backward(case.tensor("G"))
        case.compare("gradx", _grad(x), CLOSE)
        for name, value in (("weight", layer.weight), ("bias", layer.bias)):
            case.compare(f"g_{name}", _grad(value), CLOSE)
        case.compare("g_input_clip_val", _grad(own), CLOSE)


def activation(bits: int, symmetric: bool) -> Any:
    """The released activation quantizer of a bit-width."""
    if bits < 8:
        return BatchLSQ(bits, symmetric=symmetric)
    return ClippedUniform(bits, symmetric=symmetric)


def embedding(case: Case) -> None:
    """`bb_emb_w1`: a table whose rows are quantized, and its row for padding as it starts."""
    weight = case.tensor("weight")
    table = QuantEmbedding(len(weight), weight.shape[1], 0, Slot("weight", "weight"))
    case.compare("padrow_at_init", table.weight[0], CLOSE)
    two = case.prefix.endswith("w2")
    table.weight_slot.quantizer = TernaryWeight(rows=True) if two else SignWeight(rows=True)
    with torch.no_grad():
        table.weight.copy_(weight)
    out = table(case.tensor("ids"))
    case.compare("out", out, CLOSE)
    if case.has("G"):
        out.backward(case.tensor("G"))
        case.compare("gradw", _grad(table.weight), CLOSE)


def splitting(case: Case) -> None:
    """`bb_tws`: a state dict before and after, the identity, and groups in which it breaks."""
    for name, value in case.below("in").items():
        for target, ours in _split_entry(name, value).items():
            case.compare(f"out_{target}", ours, CLOSE)
    if case.has("edge_w"):
        _compare_edges(case)
    names = [name for name in case.below("in") if "query.weight" in name]
    layer, words = names[:1], [n for n in case.below("in") if "word_embeddings" in n]
    for kind, chosen in (("layer", layer), ("row", words)):
        for name in chosen:
            _compare_sum(case, kind, case.tensor(f"in_{name}"))


def _compare_edges(case: Case) -> None:
    weight = case.tensor("edge_w")
    halves = split(weight, rows=True, level="max")
    binary = SignWeight(rows=True)
    guarded(case, "edge_w1", halves.first)
    guarded(case, "edge_w2", halves.second)
    guarded(case, "edge_tern", TernaryWeight(rows=True)(weight))
    guarded(case, "edge_sumb", binary(halves.first) + binary(halves.second))


def _compare_sum(case: Case, kind: str, weight: Tensor) -> None:
    rows = kind == "row"
    halves = split(weight, rows=rows, level="max")
    case.compare(f"{kind}_tern", TernaryWeight(rows)(weight), CLOSE)
    case.compare(f"{kind}_b1", SignWeight(rows)(halves.first), CLOSE)
    case.compare(f"{kind}_b2", SignWeight(rows)(halves.second), CLOSE)


ONCE = ("position_embeddings", "token_type_embeddings", "LayerNorm", "clip_", "classifier")
"""Entries of a state dict that the split copies."""


def _split_entry(name: str, value: Tensor) -> dict[str, Tensor]:
    """An entry of the released state dict as it is after the split."""
    parent, _, leaf = name.rpartition(".")
    if leaf != "input_clip_val" and any(word in name for word in ONCE):
        return {name: value}
    if leaf == "weight":
        halves = split(value, rows="word_embeddings" in name, level="max")
        pair = halves.first, halves.second
    else:
        pair = (value / 2, value / 2) if leaf == "bias" else (value, value)
    return {f"{parent}_{i}.{leaf}": half for i, half in enumerate(pair, 1)}


def distillation(case: Case) -> None:
    """`bb_kd`: the logit loss of three classes, and of one output, where it is nothing."""
    rule = LogitRule()
    if case.has("softce3"):
        case.compare("softce3", rule(case.tensor("s3"), case.tensor("t3")), CLOSE)
    if case.has("softce1"):
        student = case.tensor("s1").requires_grad_()
        loss = rule(student, case.tensor("t1"))
        case.compare("softce1", loss, CLOSE)
        loss.backward()
        case.compare("softce1_grad", _grad(student), CLOSE)


def optimizer(case: Case) -> None:
    """`bb_adam`: steps with clipped gradients, weight decay and a warm-up."""
    parameter = nn.Parameter(case.tensor("p0"))
    grads = case.tensor("grads")
    recipe = Recipe(
        epochs=1, lr=1e-2, lr_per="step", decay="linear", warmup_share=0.1, weight_decay=0.01
    )
    moving = BertAdam([parameter], lr=recipe.lr, betas=recipe.betas, weight_decay=0.01)
    path = []
    for step, grad in enumerate(grads):
        set_rate(moving, step_rate(recipe, Pass(0, 1, 0), step, STEPS))
        parameter.grad = grad.clone()
        moving.step()
        path.append(parameter.detach().clone())
    case.compare("traj", torch.stack(path), CLOSE)


def _grad(value: Tensor) -> Tensor:
    return torch.zeros_like(value) if value.grad is None else value.grad


def _replay(method: str, group: str, pattern: str, run: Any) -> Replay:
    return Replay(method, group, pattern, run, joint="_")


REPLAYS = (
    _replay("ternarybert", "bb weights", r"bb_(?:twn|bwn|laq\d+)_(?:layer|row)", weights),
    _replay("ternarybert", "bb clip", r"bb_a?sym\d_[XA]\d_(?:layer|row)", clipped),
    _replay("ternarybert", "bb zeros", r"bb_a?sym\d_allzero", all_zero),
    _replay("ternarybert", "bb lsq", r"bb_a?symlsq\d_[XR]3_(?:init|pert)", lsq),
    _replay("ternarybert", "bb layers", r"bb_lin_w\da\d", linear),
    _replay("ternarybert", "bb words", r"bb_emb_w\d", embedding),
    _replay("binarybert", "bb split", r"bb_tws", splitting),
    _replay("ternarybert", "bb logits", r"bb_kd", distillation),
    _replay("ternarybert", "bb optimizer", r"bb_adam", optimizer),
)
