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

import torch
from torch import Tensor

from suite.certify.case import Case, LacksInput, Replay
from suite.certify.ptq_bert import (
    GoldenDraw,
    Remembering,
    disturb,
    filled,
    inputs_of,
    method_for,
    place_quantizers,
    released_path,
    tiny_bert,
    weights_of,
)
from suite.losses import task_loss
from suite.models.encoder import RATING, TextModel
from suite.models.text_layers import TextSlot
from suite.ptq import RangeMethod
from suite.quant.affine import AffineQuantizer

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


def _calibrate(case: Case, head: Case, model: TextModel, method: RangeMethod) -> Slack:
    """Let the method find all ranges and compare them; those that the file has are then taken.

    Returns how closely what follows must agree.
    """
    name = case.prefix.split("/")[2]
    searched = method.settings.weights == "mse_golden"
    shared = SAME_WEIGHTS if searched and method.cell.e_bits is None else ()
    names = (name, *(other.format(method.cell.w_bits) for other in shared))
    draw = GoldenDraw(inputs_of(case, "cal" if name.endswith("bs1") else "cal16"), _limits(model))
    place_quantizers(model, method)
    model.clamp_logits = method.clamps(draw)
    method.find_weights(model, draw)
    given = [_settle(head, *held, names, SEARCHED) for held in filled(model, "weight")]
    slack = GIVEN if all(given) or not searched else OWN
    method.find_activations(model, draw)
    for slot, quantizer in filled(model, "activation"):
        _settle(head, slot, quantizer, (name,), slack.ranges)
    return slack


def _limits(model: TextModel) -> tuple[float, float] | None:
    """The scale of the ratings that a model with one output predicts."""
    return RATING if _rates(model) else None


def _rates(model: TextModel) -> bool:
    return model.get_parameter("classifier.bias").numel() == 1


def _settle(
    head: Case, slot: TextSlot, quantizer: AffineQuantizer, names: tuple[str, ...], slack: float
) -> bool:
    """Compare a range with that of the first name; take the file's of the first that has one.

    Returns whether there was one; otherwise ours stays.
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
    model = tiny_bert(head)
    if disturbed:
        disturb(model, disturbed)
    method = method_for(case.prefix.split("/")[2], ratings=_rates(model))
    slack = GIVEN if method is None else _calibrate(case, head, model, method)
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
    model.train()
    logits = model(inputs_of(case, "eval"))
    if _rates(model):
        labels = labels.flatten().to(logits.dtype)
    loss = task_loss(logits, labels)
    loss.backward()
    case.compare("logits", logits, slack.logits)
    case.compare("loss", loss, slack.logits)
    for name, weight in weights_of(model).items():
        assert weight.grad is not None
        path = released_path(model.places[name].place)
        case.compare(f"grad/{path}.weight", weight.grad, slack.gradients)
    for field in ("delta", "zero_float"):
        _compare_gradients(head, model, field, slack.gradients)


def _compare_gradients(head: Case, model: TextModel, field: str, least: float) -> None:
    """Relative to each gradient, but not closer than the noise beside the largest one."""
    ours = {
        _key("qat", slot, field).replace("/param/", "/grad/"): _gradient(getattr(quantizer, field))
        for slot, quantizer in filled(model, "weight") + filled(model, "activation")
        if getattr(quantizer, field) is not None
    }
    golden = {key: float(head.tensor(key).abs().max()) for key in ours if head.has(key)}
    noise = NOISE[field] * max(golden.values(), default=0.0)
    for key, size in golden.items():
        head.compare(key, ours[key], max(least, noise / size if size else noise))


def _gradient(value: Tensor) -> Tensor:
    """The gradient of a range; NaN, which agrees with nothing, where it is not learned."""
    return torch.full_like(value, torch.nan) if value.grad is None else value.grad


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
