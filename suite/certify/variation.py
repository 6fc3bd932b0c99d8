"""Golden values of P1's quantizers, regulariser, schedule, labels and oscillation metric, and
the reference values of LSQ, replayed against the modules that the methods run."""

from __future__ import annotations

import re

import torch
from torch import Tensor, nn

from suite.certify.case import Case, Replay
from suite.losses import soft_cross_entropy
from suite.models.slot import QuantConv2d, Slot
from suite.quant.bank import BankKind, StepBank, effective
from suite.quant.binary import BinaryActivation, BinaryWeight
from suite.quant.bins import bin_weight
from suite.quant.functional import limits
from suite.quant.head_bank import HeadBank, Layout
from suite.quant.mse import mse_step, mse_step_with_offset, next_step, refine
from suite.quant.oscillation import Oscillation
from suite.quant.uniform import UniformQuantizer
from suite.tasks.label_recovery import recover

EXACT = 0.0
SUMS = 1e-5
"""Sums over a tensor depend on their order; the authors' own order is one of many."""

SETTLED = 2e-5
"""How far a step that has settled to 1e-5 may move in one more turn."""

NEAR = 1e-3
"""How far steps may settle from each other that stopped after different counts of turns."""

STILL = 3e-4
"""The same for an offset, which a change of the step moves by the largest code's share."""


def bank_of(case: Case, kind: BankKind, signed: bool = True) -> StepBank:
    """A step bank with the case's steps, offsets and bit-width."""
    nbits = case.tensor("nbits") if case.has("nbits") else None
    trained = case.has("grad_nbits")
    width = _width(case.prefix) if nbits is None else int(nbits.clamp(2, 8).round())
    bank = StepBank(width, kind=kind, signed=signed, offset=_has_offset(case), train_bits=trained)
    with torch.no_grad():
        bank.alpha.copy_(case.tensor("alpha"))
        if bank.beta is not None:
            bank.beta.copy_(case.tensor("beta"))
        if bank.nbits is not None and nbits is not None:
            bank.nbits.copy_(nbits)
    bank.initialised = True
    return bank


def _has_offset(case: Case) -> bool:
    return case.has("beta") or case.prefix.endswith("/off")


def _width(prefix: str) -> int:
    found = re.search(r"b(\d+)", prefix)
    return int(found.group(1)) if found else 8


def _leaf(case: Case, name: str) -> Tensor:
    return case.tensor(name).requires_grad_()


def _compare_grads(case: Case, bank: StepBank) -> None:
    case.compare("grad_alpha", _grad(bank.alpha), SUMS)
    if bank.beta is not None:
        case.compare("grad_beta", _grad(bank.beta), SUMS)
    if bank.nbits is not None:
        case.compare("grad_nbits", _grad(bank.nbits), SUMS)


def _grad(parameter: Tensor) -> Tensor:
    return torch.zeros_like(parameter) if parameter.grad is None else parameter.grad


def weight_quantizer(case: Case) -> None:
    bank = bank_of(case, "weight")
    weight = _leaf(case, "weight")
    out = bank(weight)
    case.compare("wq", out, EXACT)
    if case.has("upstream"):
        out.backward(case.tensor("upstream"))
        case.compare("grad_weight", _grad(weight), EXACT)
        _compare_grads(case, bank)
    _compare_grid(case, bank, weight.detach())
    high = limits(bank.bits, True)[1]
    case.compare("g", float(bank.factor(weight, high)), SUMS)
    case.compare("n", bank.bits, EXACT)
    case.compare("int", bank.codes(weight), EXACT)
    case.compare(
        "alpha_eff", effective(bank.alpha[bank.bits - 2], bank.factor(weight, high)), EXACT
    )


def _compare_grid(case: Case, bank: StepBank, weight: Tensor) -> None:
    """The regulariser's view of a weight: step, quantized and clipped weight."""
    grid = bank.grid(weight)
    clipped = (weight / grid.step).clamp(grid.low, grid.high)
    case.compare("get_alpha_eff", grid.step, EXACT)
    case.compare("get_wq", clipped.round() * grid.step, EXACT)
    case.compare("get_wclip", clipped * grid.step, EXACT)


def convolution(case: Case) -> None:
    bank = bank_of(case, "conv")
    weight, x = case.tensor("weight"), _leaf(case, "x")
    out_channels, in_channels, kernel, _ = weight.shape
    layer = QuantConv2d(
        in_channels, out_channels, kernel, kernel, Slot("patch_weight", "weight", edge=True)
    )
    layer.weight_slot.quantizer = bank
    layer.weight = nn.Parameter(weight.clone())
    layer.bias = nn.Parameter(case.tensor("bias"))
    y = layer(x)
    case.compare("y", y, SUMS)
    if case.has("upstream"):
        y.backward(case.tensor("upstream"))
        for name, value in (("x", x), ("weight", layer.weight), ("bias", layer.bias)):
            case.compare(f"grad_{name}", _grad(value), SUMS)
        _compare_grads(case, bank)
    _compare_grid(case, bank, weight)


def activation_quantizer(case: Case) -> None:
    signed = case.prefix.split("/")[3] == "s"
    if case.has("x_init"):
        fresh = StepBank(
            _width(case.prefix),
            kind="activation",
            signed=signed,
            offset=case.prefix.endswith("/off"),
        )
        first = case.tensor("x_init")
        fresh.initialise(first)
        case.compare("alpha_init", fresh.alpha, EXACT)
        case.compare("y_init", fresh(first), EXACT)
    bank = bank_of(case, "activation", signed)
    x = _leaf(case, "x")
    y = bank(x)
    case.compare("y", y, EXACT)
    if case.has("upstream"):
        y.backward(case.tensor("upstream"))
        case.compare("grad_x", _grad(x), EXACT)
        _compare_grads(case, bank)


def floor(case: Case) -> None:
    bank = StepBank(4, kind="activation")
    with torch.no_grad():
        bank.alpha.copy_(case.tensor("alpha_before"))
    bank.initialised = True
    x = _leaf(case, "x")
    y = bank(x)
    case.compare("alpha_after", bank.alpha, EXACT)
    case.compare("y", y, EXACT)
    y.backward(torch.ones_like(y))
    case.compare("grad_x", _grad(x), EXACT)
    case.compare("grad_alpha", _grad(bank.alpha), SUMS)


def head_bank(case: Case) -> None:
    layouts: dict[str, Layout] = {"mha": "activation", "mhl": "linear", "mhl_in": "linear_in"}
    layout = layouts[case.prefix.split("/")[0]]
    bank = HeadBank(
        case.tensor("alpha"), case.tensor("nbits"), layout, not case.prefix.endswith("/u")
    )
    inp, out = ("x", "y") if layout == "activation" else ("weight", "wq")
    x = _leaf(case, inp)
    y = bank(x)
    case.compare(out, y, EXACT)
    if case.has("upstream"):
        y.backward(case.tensor("upstream"))
        case.compare(f"grad_{inp}", _grad(x), EXACT)
        case.compare("grad_alpha", _grad(bank.alpha), SUMS)
        case.compare("grad_nbits", _grad(bank.nbits), SUMS)


def least_squares(case: Case) -> None:
    """Steps by the fixed point.

    Rounding of its sums decides after how many turns it stops. So a width whose count differs
    from the golden one is proven otherwise: one more turn of ours must not move the golden step.
    """
    x, signed = case.tensor("tensor").flatten(), bool(case.array("signed"))
    counts, steps = case.tensor("steps"), []
    for bits, count in zip(range(2, 9), counts.tolist(), strict=True):
        step, ours = mse_step(x, bits, signed)
        golden = case.tensor("alpha")[bits - 2]
        if ours != count and abs(step - golden) <= NEAR * golden:
            step = next_step(x, golden, *limits(bits, signed), torch.empty_like(x))
        steps.append(step)
    case.compare("alpha", torch.stack(steps), SETTLED)


def least_squares_with_offset(case: Case) -> None:
    """Steps and offsets of the alternation, proven as in `least_squares`. Its tensors are those
    of `mse/i` where the files do not repeat them."""
    source = case if case.has("tensor") else case.other(case.prefix.replace("mseoff", "mse"))
    signed = case if case.has("signed") else source
    x, sign = source.tensor("tensor").flatten(), bool(signed.array("signed"))
    counts, pairs = case.tensor("steps"), []
    for bits, count in zip(range(2, 9), counts.tolist(), strict=True):
        step, offset, ours = mse_step_with_offset(x, bits, sign)
        if ours != count:
            step, offset = (case.tensor(name)[bits - 2] for name in ("alpha", "beta"))
            step, offset = refine(x, x - offset, step, *limits(bits, sign))
        pairs.append((step, offset))
    case.compare("alpha", torch.stack([step for step, _ in pairs]), STILL)
    case.compare("beta", torch.stack([offset for _, offset in pairs]), STILL)


def label_recovery(case: Case) -> None:
    """The renormalised labels come from those of `fkd/k5` where the file does not repeat them."""
    kind = case.prefix.removeprefix("fkd/")
    source = case.other("fkd/k5") if kind == "renorm" and not case.has("label") else case
    label, classes = source.tensor("label"), case.array("soft").shape[1]
    case.compare("soft", recover(label, classes, kind), 1e-6)


def soft_label_loss(case: Case) -> None:
    logits = _leaf(case, "logits")
    soft = case.other("fkd/k5").tensor("soft")
    loss = soft_cross_entropy(logits, soft)
    case.compare("ce", loss, 1e-6)
    loss.backward()
    case.compare("grad_logits", _grad(logits), SUMS)


def regulariser_schedule(case: Case) -> None:
    epochs = int(case.prefix.split("/")[1])
    golden = case.other("lambda")
    count = golden.array(str(epochs)).size
    ours = torch.tensor([bin_weight(e, epochs) for e in range(count)], dtype=torch.float64)
    golden.compare(str(epochs), ours, 1e-12)


def binary_activation(case: Case) -> None:
    _binary(case, BinaryActivation(), "x", "y")


def binary_weight(case: Case) -> None:
    _binary(case, BinaryWeight(), "weight", "wq")


def _binary(case: Case, quantizer: torch.nn.Module, inp: str, out: str) -> None:
    x = _leaf(case, inp)
    y = quantizer(x)
    case.compare(out, y, 1e-6)
    if case.has("upstream"):
        y.backward(case.tensor("upstream"))
        case.compare(f"grad_{inp}", _grad(x), EXACT)


def oscillation(case: Case) -> None:
    """A sequence of weights through a 3-bit bank and the tracker, one update a step.

    The tracker is started on `osc/w0`, the weights before the first step.
    """
    words = re.fullmatch(r"osc/m(\.?\d+)_f(\.?\d+)", case.prefix)
    assert words is not None
    tracker = Oscillation(momentum=float(words.group(1)), freeze=float(words.group(2)))
    shared = case.other("osc")
    bank = StepBank(3, kind="weight")
    with torch.no_grad():
        bank.alpha.copy_(shared.tensor("alpha"))
    bank.initialised = True
    seen: dict[str, list[Tensor]] = {"x_int": [], "ema": [], "oscillated_sum": []}
    for weights in case.tensor("weights"):
        seen["x_int"].append(tracker.update(bank.codes(weights)).clone())
        seen["ema"].append(tracker.frequency.clone())
        seen["oscillated_sum"].append(tracker.oscillated.sum())
    for name, values in seen.items():
        case.compare(name, torch.stack(values), 1e-6 if name == "ema" else EXACT)
    case.compare("total", tracker.total, EXACT)
    case.compare("frozen", tracker.held, EXACT)
    case.compare("frozen_x_int", tracker.held_code, EXACT)


def oscillation_with_freezing(case: Case) -> None:
    """Codes fed to a tracker that freezes; the first row starts it, each further one is a step."""
    words = re.fullmatch(r"osc_freeze/m(\.?\d+)_f(\.?\d+)", case.prefix)
    assert words is not None
    tracker = Oscillation(momentum=float(words.group(1)), freeze=float(words.group(2)))
    start, *steps = case.tensor("codes")
    tracker.update(start)
    seen: dict[str, list[Tensor]] = {
        name: []
        for name in ("x_int", "ema", "oscillated_sum", "frozen", "frozen_x_int", "ema_x_int")
    }
    for codes in steps:
        values = (
            tracker.update(codes),
            tracker.frequency,
            tracker.oscillated.sum(),
            tracker.held,
            tracker.held_code,
            tracker.mean,
        )
        for kept, value in zip(seen.values(), values, strict=True):
            kept.append(value.clone())
    for name, values_seen in seen.items():
        case.compare(name, torch.stack(values_seen), 1e-6 if name.startswith("ema") else EXACT)
    case.compare("total", tracker.total, EXACT)


def lsq_reference(case: Case) -> None:
    """LSQ from its equations in double precision: weights signed, activations unsigned."""
    words = re.fullmatch(r"ref_lsq_([wa])_b(\d+)", case.prefix)
    assert words is not None
    weight = words.group(1) == "w"
    shared = case.other("")
    x = shared.tensor("ref_lsq_v" if weight else "ref_lsq_act").requires_grad_()
    upstream = shared.tensor("ref_lsq_G" if weight else "ref_lsq_Gact")
    quantizer = UniformQuantizer(
        int(words.group(2)), kind="weight" if weight else "activation", signed=weight
    ).double()
    quantizer.initialise(x)
    out = quantizer(x)
    out.backward(upstream)
    name = case.prefix
    for key, value in (
        ("s_init", quantizer.step),
        ("out", out),
        ("gradv", _grad(x)),
        ("grads", _grad(quantizer.step)),
    ):
        shared.compare(f"{name}_{key}", value, 1e-9)


REPLAYS = (
    Replay("variation", "wq weight quantizer", r"wq/\w+/b\d+", weight_quantizer),
    Replay("variation", "conv patch convolution", r"conv/b\d+", convolution),
    Replay("variation", "aq activation quantizer", r"aq/\w+/b\d+/[su]/\w+", activation_quantizer),
    Replay("variation", "floor of the steps", r"floor", floor),
    Replay("variation", "mha per-head activation", r"mha/\w+/[su]", head_bank),
    Replay("variation", "mhl per-head linear", r"mhl(?:_in)?/\w+", head_bank),
    Replay("variation", "mse least squares", r"mse/\d+", least_squares),
    Replay("variation", "mseoff with offset", r"mseoff/\d+", least_squares_with_offset),
    Replay(
        "variation", "fkd label recovery", r"fkd/(?:k\d+|renorm|smoothing|hard)", label_recovery
    ),
    Replay("variation", "fkd soft-label loss", r"fkd(?=/logits)", soft_label_loss),
    Replay("variation", "lambda schedule", r"lambda/\d+", regulariser_schedule),
    Replay("variation", "bin binary activation", r"bin/act/\dd", binary_activation),
    Replay("variation", "bin binary weight", r"bin/lin", binary_weight),
    Replay("variation", "osc oscillation", r"osc/m[\d.]+_f[\d.]+", oscillation),
    Replay(
        "variation",
        "osc_freeze oscillation with freezing",
        r"osc_freeze/m[\d.]+_f[\d.]+",
        oscillation_with_freezing,
    ),
    Replay(
        "lsq",
        "ref_lsq LSQ reference",
        r"ref_lsq_[wa]_b\d+(?=_(?:s_init|out|gradv|grads)$)",
        lsq_reference,
    ),
)
