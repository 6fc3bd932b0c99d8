"""Wrong numerics: mistakes that look right, and the groups of golden values that notice them."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from golden_parts import failing, groups, model, parts
from torch import Tensor

from suite.certify import certify, variation
from suite.quant import bank, bins, factors, functional, init, mse
from suite.quant.oscillation import Oscillation


@pytest.fixture(scope="module")
def folder(tmp_path_factory: Any) -> Path:
    made = tmp_path_factory.mktemp("golden")
    np.savez(made / "all.npz", **parts(), **model())
    return made


def strict(grad: Tensor, v: Tensor, low: int, high: int) -> Tensor:
    return torch.where((v > low) & (v < high), grad, 0.0)


def inclusive(grad: Tensor, v: Tensor, low: int, high: int) -> Tensor:
    return torch.where((v >= low) & (v <= high), grad, 0.0)


def straight(grad: Tensor, v: Tensor, low: int, high: int) -> Tensor:
    return grad.clone()


right_through, right_gradients = functional.through, functional.gradients


def range_after_rounding(grad: Tensor, v: Tensor, low: int, high: int) -> Tensor:
    return right_through(grad, v.round(), low, high)


def code_gradient(
    grad: Tensor, x: Tensor, step: Tensor, offset: Any, low: int, high: int, *how: bool
) -> Any:
    """The step's gradient as if the codes were constants: G*q, without the rounding error."""
    dx, _, d_offset = right_gradients(grad, x, step, offset, low, high, *how)
    q = functional.codes(x, step, offset, low, high)
    return dx, functional.reduced(q * grad, step), d_offset


def no_offset_gradient(*args: Any) -> Any:
    dx, d_step, d_offset = right_gradients(*args)
    return dx, d_step, None if d_offset is None else torch.zeros_like(d_offset)


def half_up(x: Tensor, step: Tensor, offset: Any, low: int, high: int) -> Tensor:
    return (functional.normalised(x, step, offset).clamp(low, high) + 0.5).floor()


def counted(x: Tensor, high: float, groups: int = 1) -> Tensor:
    return torch.tensor(1 / math.sqrt(x.numel() / groups * high))


def root_of_both(x: Tensor, kind: str, high: int, groups: int) -> float:
    return 1 / math.sqrt(x.numel() / groups * high)


def unsigned_start(x: Tensor, bits: int, signed: bool, shape: tuple[int, ...]) -> Tensor:
    return init.lsq(x, bits, signed, shape)


def none_lost(step: Tensor, low: int, high: int) -> Tensor:
    return torch.ones(high - low + 1, dtype=torch.bool)


def largest(x: Tensor, bits: int, signed: bool = True) -> tuple[Tensor, int]:
    return x.abs().max() / functional.limits(bits, signed)[1], 0


def one(*_: Any) -> Tensor:
    return torch.tensor(1.0)


def biased(self: bins.Bins) -> Tensor:
    spread = self.squares - self.counts * self.means**2
    return torch.where(self.counted, spread / self.counts.clamp(min=1), 0.0)


class KeepsFirstHeld(Oscillation):
    """A frozen weight's code is never set anew."""

    def _freeze(self, codes: Tensor) -> None:
        held, code = self.held.clone(), self.held_code
        super()._freeze(codes)
        self.held_code = torch.where(held, code, self.held_code)


class MeanFirst(Oscillation):
    """The running mean takes this step's codes before they are frozen at it."""

    def _freeze(self, codes: Tensor) -> None:
        self.mean.mul_(1 - self.momentum).add_(codes, alpha=self.momentum)
        above = self.frequency > self.freeze
        self.held_code = torch.where(above, self.mean.round(), self.held_code)
        self.held |= above


class FreezesAtOnce(Oscillation):
    """Codes are held in the very step in which their weights join the frozen ones."""

    def update(self, codes: Tensor) -> Tensor:
        found = super().update(codes)
        self.previous = torch.where(self.held, self.held_code, found)
        return self.previous


class CountsRawCodes(Oscillation):
    """Reversals are counted before frozen codes are replaced."""

    def update(self, codes: Tensor) -> Tensor:
        if self.previous is None:
            return super().update(codes)
        held, self.held = self.held, torch.zeros_like(self.held)
        found = super().update(codes)
        self.held |= held
        return torch.where(self.held, self.held_code, found)


ORDER = [(variation, "Oscillation")]
GRADIENTS = [(functional, "gradients"), (bank, "gradients")]
MUTATIONS: dict[str, tuple[list[tuple[Any, str]], Any, set[str]]] = {
    "no gradient at the limits": ([(functional, "through")], strict, {"wq", "aq"}),
    "whole gradient at the limits": ([(functional, "through")], inclusive, {"wq", "aq"}),
    "gradient beyond the limits": (
        [(functional, "through")],
        straight,
        {"wq", "conv", "aq", "floor", "ref_lsq", "deit"},
    ),
    "range decided after rounding": (
        [(functional, "through")],
        range_after_rounding,
        {"wq", "conv", "aq", "floor", "ref_lsq", "deit"},
    ),
    "step gradient without the rounding error": (
        GRADIENTS,
        code_gradient,
        {"wq", "conv", "aq", "floor", "ref_lsq", "deit"},
    ),
    "no gradient to the offset": (GRADIENTS, no_offset_gradient, {"aq", "deit"}),
    "halves rounded up": ([(functional, "codes")], half_up, {"wq", "aq"}),
    "no gradient factor for weights": ([(bank, "l1_factor")], one, {"wq", "conv", "deit"}),
    "weights counted, not summed": ([(bank, "l1_factor")], counted, {"wq", "conv", "deit"}),
    "no gradient factor for activations": ([(bank, "p1_activation")], one, {"aq", "deit"}),
    "LSQ's factor for activations": ([(bank, "p1_activation")], root_of_both, {"aq", "deit"}),
    "LSQ without its factor": ([(factors.FACTORS, "lsq")], factors.none, {"ref_lsq"}),
    "LSQ's start with P1's limit": ([(init.INITS, "lsq")], init.p1_activation, {"ref_lsq"}),
    "activations started with their own limit": (
        [(bank, "activation_start")],
        unsigned_start,
        {"aq", "deit"},
    ),
    "no floor under the steps": ([(bank, "FLOOR")], -1.0, {"floor"}),
    "bins that vanish are counted": ([(bins, "representable")], none_lost, {"deit"}),
    "biased variance in the bins": ([(bins.Bins, "variances")], property(biased), {"deit"}),
    "regulariser from the start": ([(bins, "START")], 0.0, {"lambda"}),
    "no least squares": ([(m, "mse_step") for m in (mse, bank, variation)], largest, {"mse"}),
    "a frozen code is never set anew": (ORDER, KeepsFirstHeld, {"osc_freeze"}),
    "the mean before freezing": (ORDER, MeanFirst, {"osc_freeze"}),
    "frozen in the same step": (ORDER, FreezesAtOnce, {"osc_freeze"}),
    "reversals before frozen codes are replaced": (ORDER, CountsRawCodes, {"osc_freeze"}),
    "least squares stopped early": ([(mse, "TOLERANCE")], 0.05, {"mse", "mseoff"}),
}


@pytest.mark.parametrize("name", MUTATIONS)
def test_wrong_numerics_are_caught(
    folder: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    places, wrong, caught = MUTATIONS[name]
    for owner, attribute in places:
        if isinstance(owner, dict):
            monkeypatch.setitem(owner, attribute, wrong)
        else:
            monkeypatch.setattr(owner, attribute, wrong)
    report = certify(folder, only="|".join(rf"{group}\b.*" for group in caught))
    assert not report.ok
    assert failing(report) == caught


def test_the_folder_of_the_mutations_passes_without_one(folder: Path) -> None:
    report = certify(folder)
    assert report.ok
    assert {group for _, _, caught in MUTATIONS.values() for group in caught} <= groups(report)
