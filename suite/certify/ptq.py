"""Golden values of P2's numerics, replayed: quantizers, range estimators, groups, AdaRound."""

from __future__ import annotations

import re

import torch
from torch import Tensor

from suite.certify import ptq_adaround
from suite.certify.case import Case, Replay
from suite.certify.ptq_tolerances import EXACT, FORWARD, GRADIENT, GRADIENT_16, SEARCHED
from suite.quant.affine import AffineQuantizer
from suite.quant.groups import Groups, collecting
from suite.quant.ranges import Estimator, estimator

TIES_BITS = 4
"""Bits of the ties in group A, which the files do not hold."""

GIVEN = {"clip": (-2.1, 3.7), "clip_log": (-2.1, 3.7), "pos": (0.3, 3.7)}
"""Ranges of group A that the files need not hold."""


# A: quantizers


def _input_range(case: Case, kind: str, x: Tensor) -> tuple[Tensor, Tensor]:
    if kind == "per_channel":
        return 0.5 * x.amin(1), 0.5 * x.amax(1)
    if case.has("range") and case.array("range").size == 2:
        lo, hi = case.tensor("range").float()
    elif kind in GIVEN:
        lo, hi = torch.tensor(GIVEN[kind])
    else:
        lo, hi = x.min(), x.max()
    return lo, hi


def _quantizer_case(case: Case) -> None:
    _, form, bits, kind = case.prefix.split("/")
    group = case.other("A")
    x = group.tensor("x_pos" if kind == "pos" else "x").requires_grad_()
    upstream = group.tensor("g")
    quantizer = AffineQuantizer(
        int(bits[1:]),
        symmetric=form == "sym",
        axis=0 if kind == "per_channel" else None,
        log_scale=kind.endswith("_log"),
    )
    quantizer.set_range(*_input_range(case, kind, x.detach()))
    quantizer.learn()
    y = quantizer(x)
    y.backward(upstream)
    _compare_state(case, quantizer)
    case.compare("x_int", quantizer.codes(x.detach()), EXACT)
    case.compare("y", y, FORWARD)
    _compare_gradients(case, quantizer, x)


def _compare_state(case: Case, quantizer: AffineQuantizer) -> None:
    assert quantizer.delta is not None
    case.compare("delta", quantizer.delta, FORWARD)
    case.compare("scale", quantizer.scale, FORWARD)
    case.compare("zero_point", quantizer.zero_point, EXACT)
    if quantizer.zero_float is not None:
        case.compare("zero_float", quantizer.zero_float, FORWARD)
    case.compare("int_min_max", torch.tensor(quantizer.limits), EXACT)
    if case.has("range"):
        case.array("range")


def _compare_gradients(case: Case, quantizer: AffineQuantizer, x: Tensor) -> None:
    assert quantizer.delta is not None
    assert x.grad is not None
    assert quantizer.delta.grad is not None
    case.compare("dx", x.grad, FORWARD)
    slack = GRADIENT_16 if quantizer.bits == 16 else GRADIENT
    case.compare("d_delta", quantizer.delta.grad, slack)
    if quantizer.zero_float is not None:
        assert quantizer.zero_float.grad is not None
        case.compare("d_zero_float", quantizer.zero_float.grad, GRADIENT)


def _ties_case(case: Case) -> None:
    """Inputs on exact half steps: half to even, and rounding before the zero point is added."""
    symmetric = case.prefix.endswith("_sym")
    x = (case if case.has("x") else case.other("A/ties")).tensor("x")
    if symmetric:
        scale, zero = case.tensor("scale").float(), torch.zeros(())
    else:
        scale, zero = case.tensor("scale_zp").float()
    quantizer = AffineQuantizer(TIES_BITS, symmetric=symmetric)
    low, high = quantizer.limits
    quantizer.set_range(scale * ((-high if symmetric else low) - zero), scale * (high - zero))
    quantizer.fix()
    case.compare("x_int", quantizer.codes(x), EXACT)
    case.compare("y", quantizer(x), FORWARD)


def _quantizers(case: Case) -> None:
    (_ties_case if "/ties" in case.prefix else _quantizer_case)(case)


# B: range estimators


def _estimator_of(case: Case) -> tuple[Estimator, bool]:
    """The estimator of a case, and whether its quantizer is symmetric."""
    _, family, name = case.prefix.split("/")
    symmetric = family == "current_minmax" or (family.startswith("mse") and "asym" not in name)
    if family.endswith("minmax"):
        percentile = re.match(r"percentile([\d.]+)", name)
        options = {"percentile": float(percentile[1])} if percentile else {}
        known = "all_minmax" if family == "allminmax" else family
        return estimator(known, **options), symmetric
    golden = family == "mse_golden" or name.endswith("golden")
    return estimator(
        "cross_entropy" if family == "cross_entropy" else "mse",
        method="golden_section" if golden else "grid",
        candidates=40 if family == "cross_entropy" else 100,
        shift_bits=_bits_built_for(name),
    ), symmetric


def _bits_built_for(name: str) -> int:
    """`b8_then_16`: built for 8 bits, used with 16; the shift stays limited by 8."""
    return int(re.findall(r"b(\d+)", name)[0])


def _bits_used(name: str) -> int:
    then = re.search(r"_then_(\d+)", name)
    built = re.findall(r"b(\d+)", name)
    return int(then[1] if then else built[0] if built else 8)


def _batches(case: Case) -> Tensor:
    """The batches of a case, stacked: the last one is quantized."""
    _, family, name = case.prefix.split("/")
    group = case.other("B")
    if "logits" in name or family == "cross_entropy":
        return group.tensor("logits")[None]
    if "onesided" in name:
        return group.tensor("W_pos")[None]
    batches = group.tensor("W")
    if name == "tensor" or re.search(r"(tensor|channel)3$", name):
        return batches
    many = re.search(r"_(\d)batches", name)
    return batches[: int(many[1]) if many else 1]


def _ranges(case: Case) -> None:
    _, family, name = case.prefix.split("/")
    find, symmetric = _estimator_of(case)
    axis = 0 if "channel" in name else None
    quantizer = AffineQuantizer(_bits_used(name), symmetric=symmetric, axis=axis)
    batches = _batches(case)
    for batch in batches:
        lo, hi = find(batch, quantizer)
    quantizer.set_range(lo, hi)
    quantizer.fix()
    searched = family in ("mse_golden", "cross_entropy")
    slack = SEARCHED if searched else FORWARD
    case.compare("xmin", lo, slack)
    case.compare("xmax", hi, slack)
    case.compare("delta", quantizer.scale, slack)
    y = quantizer(batches[-1])
    case.compare("mse_last", (y - batches[-1]).square().mean(), SEARCHED if searched else GRADIENT)
    if case.has("one_sided"):
        case.compare("one_sided", float(bool(getattr(find, "one_sided", False))), EXACT)
    _compare_quantized(case, quantizer, batches[-1], searched)


def _compare_quantized(case: Case, quantizer: AffineQuantizer, x: Tensor, searched: bool) -> None:
    """y_last; where the range was searched, with the file's, since a slightly other range moves
    values across a rounding boundary."""
    if searched and not (case.has("xmin") and case.has("xmax")):
        return
    if searched:
        quantizer.set_range(case.tensor("xmin"), case.tensor("xmax"))
    case.compare("y_last", quantizer(x), FORWARD)


# C: ranges per embedding dimension and per group of them


def _groups_of(case: Case) -> tuple[Groups | None, int]:
    """Groups and bits of a case: `per_embd`, `K6/perm1_b16`, `running_K3`."""
    name = case.prefix.removeprefix("C/")
    bits = re.search(r"_b(\d+)$", name)
    count = re.search(r"K(\d+)", name)
    permute = "perm1" in name or "shared" in name
    groups = Groups(int(count[1]), permute=permute) if count else None
    return groups, int(bits[1]) if bits else 8


def _groups(case: Case) -> None:
    data = case.other("C")
    groups, bits = _groups_of(case)
    running = "running" in case.prefix
    quantizer = AffineQuantizer(
        bits,
        symmetric=False,
        axis=None if case.prefix.endswith("per_tensor") else 2,
        estimator=estimator("running_minmax" if running else "current_minmax"),
        groups=groups,
    )
    x = data.tensor("X")
    if data.has("dim_scale"):
        data.array("dim_scale")  # how X was drawn; nothing to compare
    earlier = data.tensor("X_est") if running or (groups and groups.permute) else ()
    if running:
        for batch in earlier:
            quantizer.initialise(batch)
    elif groups is not None and groups.permute:
        _collect(case, quantizer, groups, earlier)
    assert quantizer.estimator is not None
    lo, hi = quantizer.estimator(x, quantizer)
    quantizer.set_range(lo, hi)
    quantizer.fix()
    case.compare("xmin", lo, FORWARD)
    case.compare("xmax", hi, FORWARD)
    case.compare("scale", quantizer.scale, FORWARD)
    case.compare("zero_point", quantizer.zero_point, EXACT)
    y = quantizer(x)
    case.compare("y", y, FORWARD)
    case.compare("mse", (y - x).square().mean(), GRADIENT)


def _collect(
    case: Case, quantizer: AffineQuantizer, groups: Groups, batches: Tensor | tuple[()]
) -> None:
    if case.prefix.endswith("shared"):
        groups.ranges = case.other("C").tensor("shared_src_ranges")
    else:
        with collecting([groups]):
            for batch in batches:
                quantizer(batch)
    assert groups.ranges is not None
    case.compare("perm_ranges", groups.ranges, FORWARD)
    case.compare("argsort", groups.order(), EXACT)


REPLAYS = (
    Replay(
        "affine",
        "ptq A quantizers",
        r"A/(?:(?:asym|sym)/b\d+/[a-z_]+|ties(?:_sym)?)",
        _quantizers,
    ),
    Replay(
        "ranges",
        "ptq B range estimators",
        r"B/(?:current_minmax|allminmax|running_minmax|mse_grid|mse_golden|cross_entropy)/\w+",
        _ranges,
    ),
    Replay(
        "peg",
        "ptq C embedding groups",
        r"C/(?:per_tensor|per_embd|K\d+/(?:perm[01]|shared)(?:_b\d+)?|running_K\d+)",
        _groups,
    ),
    *ptq_adaround.REPLAYS,
)
