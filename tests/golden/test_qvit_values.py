"""Golden values of LSQ+ and Q-ViT: they pass, any part of them does, and mistakes do not."""

from __future__ import annotations

import random
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from golden_parts import Arrays, failing, groups, stored
from torch import Tensor, nn

from baselines.qvit import QViT
from suite.certify import Report, certify, qvit
from suite.models.deit import Attention
from suite.quant import factors, functional, init, uniform, zero_point
from suite.quant.calibration import calibrate
from suite.quant.functional import LearnedStep

GROUPS = {
    "ref_lsqp",
    *(f"qvit_{part}" for part in ("w", "a", "lin", "patch", "attn", "block", "kd")),
}
LAYERED = {"qvit_lin", "qvit_attn", "qvit_block"}


@cache
def arrays() -> Arrays:
    return stored("baselines.npz", r"ref_lsqp_|ref_lsq_v$|qvit_")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: Any) -> Path:
    made = tmp_path_factory.mktemp("golden")
    np.savez(made / "all.npz", **arrays())
    return made


def replay(folder: Path, chosen: Arrays) -> Report:
    np.savez(folder / "some.npz", **chosen)
    return certify(folder)


def test_everything_of_both_is_certified(folder: Path) -> None:
    report = certify(folder)
    assert failing(report) == set()
    assert groups(report) == GROUPS
    assert report.compared > 380
    assert report.unrecognised == ()
    assert not any(result.lacking or result.unbuilt for result in report.results)


@pytest.mark.parametrize("seed", range(4))
def test_any_half_of_the_arrays_is_certified(tmp_path: Path, seed: int) -> None:
    dice = random.Random(seed)
    report = replay(tmp_path, {k: v for k, v in arrays().items() if dice.random() < 0.5})
    assert failing(report) == set()


@pytest.mark.parametrize("seed", range(4))
def test_with_one_array_missing_the_others_are_certified(tmp_path: Path, seed: int) -> None:
    dropped = random.Random(seed).choice(sorted(arrays()))
    report = replay(tmp_path, {k: v for k, v in arrays().items() if k != dropped})
    assert failing(report) == set(), dropped


@pytest.mark.parametrize("seed", range(4))
def test_a_damaged_output_fails(tmp_path: Path, seed: int) -> None:
    outputs = [k for k in arrays() if k.endswith(("_out", "_wq", "gradx", "gradalpha", "gradbeta"))]
    key = random.Random(seed).choice(sorted(outputs))
    damaged = arrays()[key].copy()
    damaged.flat[0] = damaged.flat[0] * 1.001 + 0.01 * np.abs(damaged).max() + 1e-3
    report = replay(tmp_path, {**arrays(), key: damaged})
    assert key in [c.key for r in report.results for c in r.compared if not c.ok]


# Mistakes


right_gradients, right_prepare = functional.gradients, QViT.prepare
right_backward = zero_point._ZeroPointStep.backward


def no_offset_gradient(*args: Any) -> Any:
    dx, d_step, d_offset = right_gradients(*args)
    return dx, d_step, None if d_offset is None else torch.zeros_like(d_offset)


class Unscaled:
    """The learned step with the plain gradient of its offset."""

    @staticmethod
    def apply(*args: Any) -> Tensor:
        found: Tensor = LearnedStep.apply(*args[:6])
        return found


def two_sigma(x: Tensor, bits: int, signed: bool, shape: tuple[int, ...]) -> Tensor:
    spread, mean = torch.std_mean(x)
    return (mean.abs() + 2 * spread) / 2 ** (bits - 1)


def halved(x: Tensor, bits: int, signed: bool, shape: tuple[int, ...]) -> Tensor:
    """MQBench's start: over 2^b codes (errata lsq_plus-1)."""
    return init.three_sigma(x, bits, signed, shape) / 2


def without_affine(self: QViT, model: nn.Module) -> None:
    right_prepare(self, model)
    for module in model.modules():
        if isinstance(module, Attention):
            for norm in (module.q_norm, module.k_norm):
                norm.forward = lambda x: F.layer_norm(x, x.shape[-1:])


def over_the_tokens(self: QViT, model: nn.Module) -> None:
    """The normalisation over tokens instead of channels, with the affine of the channels."""
    right_prepare(self, model)
    for module in model.modules():
        if isinstance(module, Attention):
            for norm in (module.q_norm, module.k_norm):
                norm.forward = lambda x, norm=norm: (
                    F.layer_norm(x.mT, x.mT.shape[-1:]).mT * norm.weight + norm.bias
                )


def no_zero_gradient(ctx: Any, *grads: Any) -> Any:
    dx, d_step, d_zero, *rest = right_backward(ctx, *grads)
    return dx, d_step, torch.zeros_like(d_zero), *rest


def after_rounding(grad: Tensor, v: Tensor, low: int, high: int) -> Tensor:
    return functional.clamped_through(grad, v.round(), low, high)


def each_from_itself(self: QViT, model: nn.Module, images: Tensor, rank: int = 0) -> None:
    calibrate(model, images)


def whole_losses(cls: Tensor, dist: Tensor, y: Tensor, teacher: Tensor, kind: str) -> Tensor:
    return F.cross_entropy(cls, y) + F.cross_entropy(dist, teacher.argmax(1))


ACTIVATIONS = {"qvit_a", *LAYERED}
STEP_FACTORS = {"qvit_w", "qvit_a", *LAYERED}
MUTATIONS: dict[str, tuple[Any, str, Any, set[str]]] = {
    "LSQ+ without the offset's gradient": (
        functional,
        "gradients",
        no_offset_gradient,
        {"ref_lsqp"},
    ),
    "LSQ+ with a plain offset gradient": (uniform, "LearnedStep", Unscaled, {"ref_lsqp"}),
    "two sigma": (init.INITS, "three_sigma", two_sigma, {"ref_lsqp"}),
    "MQBench's half step": (init.INITS, "three_sigma", halved, {"ref_lsqp"}),
    "IRM without affine": (QViT, "prepare", without_affine, {"qvit_attn", "qvit_block"}),
    "IRM over the tokens": (QViT, "prepare", over_the_tokens, {"qvit_attn", "qvit_block"}),
    "a zero point without gradient": (
        zero_point._ZeroPointStep,
        "backward",
        staticmethod(no_zero_gradient),
        ACTIVATIONS,
    ),
    "range decided after rounding": (zero_point, "clamped_through", after_rounding, ACTIVATIONS),
    "a factor that counts the group": (
        factors.FACTORS,
        "tensor",
        factors.lsq,
        STEP_FACTORS,
    ),
    "q, k and v counted apart": (
        factors.FACTORS,
        "qkv",
        factors.tensor,
        {"qvit_attn", "qvit_block"},
    ),
    "q, k and v started apart": (
        QViT,
        "calibrate",
        each_from_itself,
        {"qvit_attn", "qvit_block"},
    ),
    "every activation signed": (zero_point, "NEGATIVE", 1.0, {"qvit_a", "qvit_attn", "qvit_block"}),
    "both losses whole": (qvit, "token_distillation", whole_losses, {"qvit_kd"}),
}


@pytest.mark.parametrize("name", MUTATIONS)
def test_wrong_numerics_are_caught(
    folder: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    owner, attribute, wrong, caught = MUTATIONS[name]
    if isinstance(owner, dict):
        monkeypatch.setitem(owner, attribute, wrong)
    else:
        monkeypatch.setattr(owner, attribute, wrong)
    report = certify(folder)
    assert not report.ok
    assert failing(report) == caught
