"""What every registered image method must do, over its variants, bit-widths and settings."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any, get_args

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor, nn

from suite.audit import audit
from suite.cell import Cell, Recipe, make_cell
from suite.errors import UsageError
from suite.method import Method, Progress
from suite.models.checkpoint import digest, save_weights
from suite.models.slot import slots
from suite.registry import METHODS
from tests.unit.embedded_models import embedded_model, own_loss, spec_of

IMAGES = torch.randn(8, 1, 28, 28, generator=torch.Generator().manual_seed(0))
TARGETS = torch.eye(10)[:8] * 0.9 + 0.01
FEW_BITS = (1, 2, 4, 8)


def method_of(name: str, **fields: Any) -> Method:
    """The method of a cell with these fields, of its first variant unless they name another."""
    fields.setdefault("variant", next(iter(METHODS.get(name).variants)))
    fields.setdefault("recipe", Recipe(epochs=1, fp32_recipe="fashion-fp32"))
    cell = make_cell(method=name, model=embedded_model(name), task="fashion", **fields)
    method: Method = METHODS.get(name)(cell)
    return method


def possible(name: str, **fields: Any) -> bool:
    """Whether the method accepts the cell; it must say so by a UsageError alone."""
    try:
        method_of(name, **fields)
    except UsageError:
        return False
    return True


def image_methods() -> list[str]:
    return [name for name in METHODS.names() if "image" in METHODS.get(name).tasks]


def cells() -> Iterator[Any]:
    """Every variant at a few bit-widths, and each of its switches turned at 2 bits (or its
    lowest)."""
    for name in image_methods():
        kind = METHODS.get(name)
        bits = [b for b in FEW_BITS if b in kind.bits] or [min(kind.bits)]
        for variant in kind.variants:
            for b in bits:
                fields = {"w_bits": b, "a_bits": b, "variant": variant}
                if possible(name, **fields):
                    yield pytest.param(name, fields, id=f"{name}-{variant}-{b}")
            for switch, value in switches(kind, variant):
                b = 2 if 2 in bits else bits[0]
                fields = {"w_bits": b, "a_bits": b, "variant": variant, "settings": {switch: value}}
                if possible(name, **fields):
                    yield pytest.param(name, fields, id=f"{name}-{variant}-{switch}={value}")


def switches(kind: type[Method], variant: str) -> Iterator[tuple[str, Any]]:
    """The settings that are a choice, each at the values that the variant does not have."""
    for switch, field in kind.Settings.model_fields.items():
        chosen = kind.variants[variant].get(switch, field.default)
        choices = (True, False) if field.annotation is bool else get_args(field.annotation)
        yield from ((switch, value) for value in choices if value != chosen)


class Given:
    """Calibration data that is just there."""

    limits = None

    def batch(self, split: str) -> Tensor:
        assert split in ("train", "validation")
        return IMAGES

    def batches(self, size: int, count: int) -> list[Tensor]:
        return [IMAGES[:size]] * count

    def advance(self, done: int, total: int) -> None:
        assert 0 <= done < total


def calibrated(method: Method, rank: int = 0) -> nn.Module:
    model = spec_of(method).build()
    method.place(model)
    model.eval()
    with torch.no_grad():
        method.initialise(model, Given(), rank)
    return model


@pytest.mark.parametrize(("name", "fields"), list(cells()))
def test_the_contract(name: str, fields: dict[str, Any], tmp_path: Path) -> None:
    """One model a cell, through its whole life: the checks build on each other."""
    method = method_of(name, **fields)
    model = calibrated(method)
    check_places(method, model)
    check_audit(method, model)
    check_state(method, model, tmp_path / "weights.safetensors")
    check_other_ranks(method)
    check_gradients(method, model)
    check_protocol(method)


def check_places(method: Method, model: nn.Module) -> None:
    filled = [slot for slot in slots(model).values() if slot.quantizer is not None]
    assert bool(filled) == method.quantizes
    for slot in filled:
        assert 1 <= int(slot.quantizer.bits) <= 8
        expected = method.cell.w_bits if slot.kind == "weight" else method.cell.a_bits
        assert slot.edge or int(slot.quantizer.bits) == expected


def check_audit(method: Method, model: nn.Module) -> None:
    found = audit(model, IMAGES)
    assert found.ok, found.problems
    empty = {name for name, slot in slots(model).items() if slot.quantizer is None}
    assert set(found.full_precision) == empty
    assert found.places.keys() == slots(model).keys() - empty
    json.dumps(found.to_dict(), allow_nan=False)


def check_state(method: Method, model: nn.Module, path: Path) -> None:
    """A new model with nothing but the stored tensors gives the same logits."""
    with torch.no_grad():
        before = model(IMAGES)
    assert torch.isfinite(before).all()
    assert before.std() > 0
    save_weights(path, model.state_dict())
    again = spec_of(method).build(seed=1)
    method_of(method.name, **_fields(method.cell)).place(again)
    again.load_state_dict(load_file(path))
    with torch.no_grad():
        assert torch.equal(again.eval()(IMAGES), before)


def check_other_ranks(method: Method) -> None:
    """A method that calibrates after wrapping does so in every process."""
    if not method.calibrates_before_wrapping:
        model = calibrated(method, rank=1)
        with torch.no_grad():
            assert torch.isfinite(model(IMAGES)).all()


def _fields(cell: Cell) -> dict[str, Any]:
    return {k: v for k, v in cell.delta().items() if k not in ("method", "model", "task")}


def check_gradients(method: Method, model: nn.Module) -> None:
    """One training step's gradients reach every weight and every quantizer, and are finite."""
    model.train()
    loss = own_loss(method, model, IMAGES, TARGETS)
    penalty = method.penalty(model, Progress(epoch=9, epochs=10))
    if penalty is not None:
        assert penalty.shape == ()
        assert torch.isfinite(penalty)
        assert penalty > 0
    (loss if penalty is None else loss + penalty).backward()
    for name, parameter in model.named_parameters():
        assert parameter.grad is not None, name
        assert torch.isfinite(parameter.grad).all(), name
    for name, slot in slots(model).items():
        learned = [p for p in slot.parameters() if p.requires_grad]
        assert not learned or any((p.grad != 0).any() for p in learned), name


def check_protocol(method: Method) -> None:
    found = method.protocol()
    assert json.loads(json.dumps(found, allow_nan=False)) == found
    assert all(isinstance(key, str) for key in found)


@pytest.mark.parametrize("name", image_methods())
def test_a_method_describes_itself(name: str) -> None:
    kind = METHODS.get(name)
    assert kind.name == name
    assert kind.version >= 1
    assert kind.summary
    assert kind.source
    assert all(1 <= bits <= 32 for bits in kind.bits)
    assert possible(name, w_bits=max(kind.bits), a_bits=max(kind.bits))
    unexplained = [s for s in kind.Settings.model_fields if s not in (kind.Settings.__doc__ or "")]
    assert unexplained == []


@pytest.mark.parametrize("name", image_methods())
def test_a_method_refuses_in_one_sentence(name: str) -> None:
    kind = METHODS.get(name)
    impossible = next(bits for bits in range(32, 0, -1) if bits not in kind.bits)
    bits = {"w_bits": max(kind.bits), "a_bits": max(kind.bits)}
    for fields, words in (
        ({"w_bits": impossible, "a_bits": impossible}, f"it can do {min(kind.bits)}"),
        ({**bits, "variant": "relased"}, f"Unknown variant of {name} 'relased'"),
        ({**bits, "settings": {"no_such": 1}}, f"Unknown {name} setting field 'no_such'"),
    ):
        with pytest.raises(UsageError, match=words) as caught:
            method_of(name, **fields)
        assert "\n" not in str(caught.value)


@pytest.mark.parametrize("name", image_methods())
def test_a_method_refuses_bits_for_what_it_does_not_quantize(name: str) -> None:
    """DeiT has no embeddings, and the ends of a model take no bits that a quantizer cannot do."""
    bits = max(METHODS.get(name).bits)
    fields: list[dict[str, Any]] = [{"e_bits": 4}]
    if "edge_bits" in METHODS.get(name).Settings.model_fields:
        fields += [{"settings": {"edge_bits": wrong}} for wrong in (-1, 0, 9, 33)]
    accepted = [f for f in fields if possible(name, w_bits=bits, a_bits=bits, **f)]
    assert accepted == []


def turned() -> Iterator[Any]:
    for name in image_methods():
        for variant in METHODS.get(name).variants:
            for switch, value in switches(METHODS.get(name), variant):
                fields = {"w_bits": 4, "a_bits": 4, "variant": variant}
                if possible(name, **fields, settings={switch: value}):
                    yield pytest.param(
                        name, fields, switch, value, id=f"{name}-{variant}-{switch}={value}"
                    )


@pytest.mark.parametrize(("name", "fields", "switch", "value"), list(turned()))
def test_a_setting_that_is_accepted_changes_something(
    name: str, fields: dict[str, Any], switch: str, value: Any
) -> None:
    """Or an ablation would compare a cell with itself."""
    plain, other = (
        behaviour(method_of(name, **fields, settings=settings))
        for settings in ({}, {switch: value})
    )
    assert plain != other


def behaviour(method: Method) -> list[Any]:
    """What of a method can change a number: its choices, initial state, gradients of its own loss,
    penalty."""
    model = calibrated(method)
    penalty = method.penalty(model, Progress(epoch=9, epochs=10))
    own_loss(method, model, IMAGES, TARGETS).backward()
    return [
        method.soft_labels,
        method.calibration_split,
        method.calibrates_before_wrapping,
        None if penalty is None else float(penalty.detach()),
        digest(model.state_dict()),
        digest({name: parameter.grad for name, parameter in model.named_parameters()}),
    ]


@pytest.mark.parametrize("name", image_methods())
def test_calibration_is_a_function_of_weights_and_images(name: str) -> None:
    bits = max(b for b in METHODS.get(name).bits if b != 8)
    first, second = (
        calibrated(method_of(name, w_bits=bits, a_bits=bits)).state_dict() for _ in range(2)
    )
    assert all(torch.equal(first[key], second[key]) for key in first)


def test_the_penalty_waits_for_its_quarter_and_then_grows() -> None:
    """While its weight is zero it does not touch the model, so it costs nothing."""
    method = method_of("variation", w_bits=2, a_bits=2, variant="released")
    nothing: Any = None
    assert method.penalty(nothing, Progress(epoch=2, epochs=12)) is None
    model = calibrated(method)
    sizes = [method.penalty(model, Progress(epoch, 12)) for epoch in range(4, 13)]
    values = [float(size.detach()) for size in sizes if size is not None]
    assert len(values) == 9
    assert values == sorted(values)
    assert math.isclose(values[-1], values[0] / _share(4), rel_tol=1e-4)


def _share(epoch: int) -> float:
    """The regulariser's weight of `epoch` of 12 as a share of its largest (P1's schedule)."""
    return 1 - 0.5 * (1 + math.cos(math.pi * (epoch - 3) / 9))
