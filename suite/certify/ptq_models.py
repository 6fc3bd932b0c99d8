"""Golden values of P2's tiny BERT, replayed: calibration, forward, gradients of learned ranges.

Ranges are found by our own calibration and compared; the forward is then computed with the file's
ranges, where it has them. Float32 sums differ in their last bits from machine to machine, and a
value on the border between two levels then falls to the other one, which moves all that follows by
a step. A case that disagrees is therefore replayed with last bits disturbed: it must agree with
the file, closely and in all its arrays, under one of these.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from suite.certify.case import Case, LacksInput, Replay
from suite.certify.ptq_bert import (
    FULL,
    Remembering,
    Variant,
    disturb,
    filled,
    inputs_of,
    place_quantizers,
    released_path,
    tiny_bert,
    variant_of,
    weights_of,
)
from suite.models.encoder import TextModel
from suite.models.text_layers import TextSlot
from suite.quant.affine import AffineQuantizer
from suite.quant.groups import collecting, share

EXACT = 0.0


@dataclass(frozen=True)
class Slack:
    """Tolerances of activation ranges, hidden states, logits with their loss, and gradients."""

    ranges: float
    hidden: float
    logits: float
    gradients: float


GIVEN = Slack(1e-3, 1e-5, 1e-3, 1e-4)
OWN = Slack(5e-2, 5e-2, 5e-2, 5e-2)
"""Where the file lacks searched weight ranges: ours differ from them by up to `SEARCHED`."""

SEARCHED = 2e-3
"""A weight range by golden section: last bits of the loss move it by up to 8e-4 here."""

ATTEMPTS = 12
NOISE = {"delta": 5e-8, "zero_float": 1e-6}
"""Float32 noise of a gradient, a share of the largest one of its kind: some are sums that cancel,
as a key's zero point, whose shift the softmax does not see."""

SAME_WEIGHTS = ("W{}A8", "W{}A8_bs1")
"""Variants with the same weight ranges as others of so many bits, which files hold."""


def _key(variant: str, slot: TextSlot, field: str) -> str:
    where = f"{released_path(slot.place)}.{slot.kind}_quantizer"
    if variant == "qat":
        return f"qat/param/{where}.quantizer._{field}"
    return f"{variant}/q/{where}/{field}"


def _calibrate(case: Case, head: Case, model: TextModel, variant: Variant) -> Slack:
    """Find all ranges and compare them; those that the file has are then taken from it.

    Returns how closely what follows must agree.
    """
    name = case.prefix.split("/")[2]
    same = () if variant.note == "nearest" or variant.e_bits else SAME_WEIGHTS
    weights = weights_of(model)
    names = (name, *(other.format(variant.w_bits) for other in same))
    slack = GIVEN
    for slot, quantizer in filled(model, "weight"):
        quantizer.initialise(weights[slot.place.name])
        given = _settle(head, slot, quantizer, names, SEARCHED)
        slack = slack if given or variant.note == "nearest" else OWN
    batch = inputs_of(case, "cal" if variant.note == "bs1" else "cal16")
    with torch.no_grad():
        _collect(model, variant, batch)
        if variant.a_bits < 32:
            model(batch)
    for slot, quantizer in filled(model, "activation"):
        _settle(head, slot, quantizer, (name,), slack.ranges)
    return slack


def _collect(model: TextModel, variant: Variant, batch: dict[str, Tensor]) -> None:
    """Ranges for a permutation, in a pass that quantizes activations but no weights."""
    groups = {s.place.name: q.groups for s, q in filled(model, "activation") if q.groups}
    held = filled(model, "weight")
    if "permute" not in variant.note:
        return
    for slot, _ in held:
        slot.quantizer = None
    with collecting(groups.values()):
        model(batch)
    for slot, quantizer in held:
        slot.quantizer = quantizer
    if "sharedh" in variant.note:
        for layer in range(len(model.body.layers)):
            share([groups[f"{letter}{layer}"] for letter in "xy"], groups[f"h{layer}"])


def _settle(
    head: Case, slot: TextSlot, quantizer: AffineQuantizer, names: tuple[str, ...], slack: float
) -> bool:
    """Compare a range with that of the first name; fix the file's of the first that has one.

    Returns whether there was one; otherwise ours is fixed.
    """
    _compare_range(head, slot, quantizer, names[0], slack)
    source = next((n for n in names if head.has(_key(n, slot, "delta"))), None)
    if source is not None:
        state = quantizer.state_dict()
        for field in ("delta", "zero_float"):
            if head.has(_key(source, slot, field)):
                value = head.tensor(_key(source, slot, field)).flatten()
                state[field] = value.reshape(()) if value.numel() == 1 else value
        quantizer.load_state_dict(state)
    quantizer.fix()
    if quantizer.zero_float is not None:
        given = head.has(_key(names[0], slot, "zero_float"))
        point = quantizer.zero_point
        head.compare(_key(names[0], slot, "zero_point"), point, EXACT if given else slack)
    return source is not None


def _compare_range(
    head: Case, slot: TextSlot, quantizer: AffineQuantizer, name: str, slack: float
) -> None:
    assert isinstance(quantizer.estimator, Remembering)
    assert quantizer.estimator.last is not None
    assert quantizer.delta is not None
    head.compare(_key(name, slot, "delta"), quantizer.delta, slack)
    head.compare(_key(name, slot, "xminmax"), torch.stack(quantizer.estimator.last), slack)
    if quantizer.zero_float is None:
        head.compare(_key(name, slot, "signed"), float(quantizer.signed), EXACT)
    else:
        head.compare(_key(name, slot, "zero_float"), quantizer.zero_float, slack)
    if quantizer.groups is not None and quantizer.groups.ranges is not None:
        head.compare(_key(name, slot, "perm_ranges"), quantizer.groups.ranges, slack)


# What is replayed


def _steady(run: Callable[[Case, int], None]) -> Callable[[Case], None]:
    """Replay a case as it is; if it disagrees, with last bits disturbed in one way after another.

    The attempt with the fewest disagreements counts.
    """

    def replay(case: Case) -> None:
        attempts = []
        for seed in range(ATTEMPTS):
            attempt = case.other(case.prefix)
            attempt.compared = []
            try:
                run(attempt, seed)
            except LacksInput:
                case.compared += attempt.compared
                raise
            attempts.append(attempt.compared)
            if all(c.ok for c in attempt.compared):
                break
        case.compared += min(attempts, key=lambda compared: sum(not c.ok for c in compared))

    return replay


def _prepared(case: Case, disturbed: int) -> tuple[TextModel, Slack, Case]:
    head = case.other("/".join(case.prefix.split("/")[:2]))
    variant = variant_of(case)
    model = tiny_bert(head)
    if disturbed:
        disturb(model, disturbed)
    place_quantizers(model, variant)
    slack = GIVEN if variant == FULL else _calibrate(case, head, model, variant)
    return model, slack, head


@torch.no_grad()
def _evaluated(case: Case, disturbed: int) -> None:
    model, slack, _ = _prepared(case, disturbed)
    inputs = inputs_of(case, "eval")
    for i, hidden in enumerate(model.hidden_states(inputs)):
        case.compare(f"hidden{i}", hidden, slack.hidden)
    case.compare("logits", model(inputs), slack.logits)


def _trained(case: Case, disturbed: int) -> None:
    """Loss and gradients of one batch in training mode, with learned ranges."""
    model, slack, head = _prepared(case, disturbed)
    labels = case.tensor("labels")
    quantizers = filled(model, "weight") + filled(model, "activation")
    for _, quantizer in quantizers:
        quantizer.learn()
    model.train()
    logits = model(inputs_of(case, "eval"))
    if logits.shape[1] == 1:
        loss = F.mse_loss(logits.flatten(), labels.flatten().to(logits.dtype))
    else:
        loss = F.cross_entropy(logits, labels)
    loss.backward()
    case.compare("logits", logits, slack.logits)
    case.compare("loss", loss, slack.logits)
    for name, weight in weights_of(model).items():
        assert weight.grad is not None
        path = released_path(model.places[name].place)
        case.compare(f"grad/{path}.weight", weight.grad, slack.gradients)
    for field in ("delta", "zero_float"):
        _compare_gradients(head, quantizers, field, slack.gradients)


def _compare_gradients(
    head: Case, quantizers: list[tuple[TextSlot, Any]], field: str, least: float
) -> None:
    """Relative to each gradient, but not closer than the noise beside the largest one."""
    ours = {
        _key("qat", slot, field).replace("/param/", "/grad/"): getattr(quantizer, field).grad
        for slot, quantizer in quantizers
        if getattr(quantizer, field) is not None
    }
    golden = {key: float(head.tensor(key).abs().max()) for key in ours if head.has(key)}
    noise = NOISE[field] * max(golden.values(), default=0.0)
    for key, size in golden.items():
        head.compare(key, ours[key], max(least, noise / size if size else noise))


HEAD = r"E/n\d+/"
PLAIN = r"W\d+A\d+(?:_(?:bs1|nearest|FPlogits|MSElogits|running\d*))?"
PEG = r"W\d+A\d+_(?:perembd|peg\d+(?:_permute(?:_sharedh)?)?)"

REPLAYS = (
    Replay("minmax_ptq", "ptq E tiny BERT", rf"{HEAD}(?:fp32|{PLAIN})", _steady(_evaluated)),
    Replay(
        "mixed_precision", "ptq E tiny BERT, mixed", rf"{HEAD}W\d+A\d+_mp\d+", _steady(_evaluated)
    ),
    Replay("peg", "ptq E tiny BERT, groups", rf"{HEAD}{PEG}", _steady(_evaluated)),
    Replay("range_qat", "ptq E tiny BERT, learned ranges", rf"{HEAD}qat", _steady(_trained)),
)
