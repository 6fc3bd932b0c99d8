"""Oscillation of weights in training, and modules left in FP32."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from small_deits import IMAGES, full, quantized
from torch import nn

from suite.audit import audit
from suite.cell import make_cell
from suite.errors import UsageError
from suite.method import Method, Progress
from suite.models.modules import MODULES, roles_of
from suite.models.slot import slots
from suite.quant.oscillation import MOMENTUM, Oscillation
from suite.quant.tracking import Oscillations, Tracked
from suite.registry import METHODS

FIELDS = {"model": "deit_pico", "task": "fashion", "w_bits": 2, "a_bits": 2}
VARIATION = {"method": "variation", "variant": "released"}


def method_of(**fields: Any) -> Method:
    cell = make_cell(**{**FIELDS, **fields})
    found: Method = METHODS.get(cell.method)(cell)
    return found


def trained(steps: int = 4, **settings: Any) -> tuple[nn.Module, Method]:
    """A small model after a few steps of P1's training, large enough to move codes."""
    torch.manual_seed(0)
    model, method = full(), method_of(**VARIATION, settings=settings)
    method.place(model)
    method.calibrate(model, IMAGES)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.5)
    for _ in range(steps):
        advance(model, method, optimizer)
    return model, method


def advance(model: nn.Module, method: Method, optimizer: torch.optim.Optimizer) -> None:
    optimizer.zero_grad()
    loss = method.objective(model, IMAGES, torch.tensor([0, 1, 2, 3]), Progress(11, 12))
    penalty = method.penalty(model, Progress(11, 12))
    (loss if penalty is None else loss + penalty).backward()
    optimizer.step()


def test_a_tracked_weight_is_counted_as_the_metric_counts() -> None:
    steps = torch.randint(-2, 2, (30, 50), generator=torch.Generator().manual_seed(1)).float()
    tracked, metric = Tracked(steps[0]), Oscillation(MOMENTUM)
    for codes in steps:
        tracked.update(codes)
        metric.update(codes)
    assert torch.equal(tracked.frequency, metric.frequency)
    assert torch.equal(tracked.direction, metric.direction)
    assert tracked.frequency.max() > 0


def test_following_the_weights_does_not_change_the_training() -> None:
    plain, _ = trained()
    followed, method = trained(oscillation=True)
    own = followed.state_dict()
    assert all(torch.equal(value, own[name]) for name, value in plain.state_dict().items())
    assert method.diagnosis["oscillation"]["share"] >= 0


def test_the_figures_leave_the_first_and_last_layer_apart() -> None:
    model = quantized(bits=2)
    found = Oscillations(model)
    found.update()
    first, *inner = found.tracked
    assert (first.frequency.numel(), len(inner)) == (64 * 49, 7)
    first.frequency.fill_(1.0)
    assert found.figures()["share"] == 0
    assert found.figures()["with_edges"] > 0
    inner[0].frequency.fill_(0.0051)
    total = sum(t.frequency.numel() for t in inner[:-1])
    assert found.figures()["share"] == pytest.approx(inner[0].frequency.numel() / total, abs=1e-6)


def test_a_checkpoint_continues_the_count() -> None:
    model, _ = trained(steps=3, oscillation=True)
    state = model.state_dict()
    again, method = full(), method_of(**VARIATION, settings={"oscillation": True})
    method.place(again)
    again.load_state_dict(state)
    optimizers = [torch.optim.SGD(m.parameters(), lr=0.5) for m in (model, again)]
    advance(model, method_for(model), optimizers[0])
    advance(again, method, optimizers[1])
    ours, theirs = model.state_dict(), again.state_dict()
    assert all(torch.equal(ours[name], theirs[name]) for name in ours)
    assert any(name.startswith("oscillations.") for name in ours)


def method_for(model: nn.Module) -> Method:
    """A method that goes on with the trackers that a model holds."""
    method: Any = method_of(**VARIATION, settings={"oscillation": True})
    method._oscillations = model.get_submodule("oscillations")
    return method


def test_without_the_setting_nothing_is_kept() -> None:
    model, method = trained(steps=1)
    assert not any(name.startswith("oscillations") for name in model.state_dict())
    assert method.diagnosis == {}


def test_one_bit_has_no_codes_to_follow() -> None:
    with pytest.raises(UsageError, match="2 bits or more"):
        method_of(**VARIATION, w_bits=1, a_bits=1, settings={"oscillation": True})


@pytest.mark.parametrize("fields", [VARIATION, {"method": "lsq"}])
@pytest.mark.parametrize("module", sorted(MODULES))
def test_a_module_left_out_stays_in_fp32_and_the_rest_does_not(
    fields: dict[str, str], module: str
) -> None:
    model, method = full(), method_of(**fields, settings={"leave_out": module})
    method.place(model)
    method.calibrate(model, IMAGES)
    empty = {slot.role for slot in slots(model).values() if slot.quantizer is None}
    assert empty == set(MODULES[module])
    found = audit(model.eval(), IMAGES)
    assert found.ok
    assert len(found.full_precision) == len(MODULES[module])
    assert method.protocol()["left_out"] == module


def test_modules_name_every_role_of_a_block() -> None:
    inner = {slot.role for slot in slots(full()).values() if not slot.edge}
    assert inner == {role for roles in MODULES.values() for role in roles}


def test_single_roles_can_be_named() -> None:
    assert roles_of("query, fc1_weight") == {"query", "fc1_weight"}
    assert roles_of("") == frozenset()


@pytest.mark.parametrize("fields", [VARIATION, {"method": "lsq"}])
def test_an_unknown_module_is_answered(fields: dict[str, str]) -> None:
    with pytest.raises(UsageError, match="Did you mean 'attention'"):
        method_of(**fields, settings={"leave_out": "atention"})


@pytest.mark.parametrize("fields", [VARIATION, {"method": "lsq"}])
def test_protocol_and_id_are_what_they_were_without_the_settings(fields: dict[str, str]) -> None:
    assert "left_out" not in method_of(**fields).protocol()
    cell = make_cell(**FIELDS, **fields)
    assert "settings" not in cell.delta()
