"""P2's golden values: groups A to D pass, and stop passing when the numerics change."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

import suite.certify
from suite.certify import GOLDEN, Report, certify, ptq, ptq_adaround
from suite.quant import affine
from suite.quant.relaxation import RELAXATIONS
from suite.quant.soft_weight import SoftWeight

GROUPS = {replay.group for replay in ptq.REPLAYS}


@pytest.fixture(autouse=True)
def _only_these_groups(monkeypatch) -> None:
    monkeypatch.setattr(suite.certify, "replays", lambda: ptq.REPLAYS)


def failing(report: Report) -> set[str]:
    return {c.key for result in report.results for c in result.compared if not c.ok}


def test_groups_a_to_d_are_reproduced() -> None:
    report = certify()
    assert {result.group for result in report.results} == GROUPS
    assert failing(report) == set()
    assert report.compared >= 380
    assert not [r.lacking for r in report.results if r.lacking]
    assert not [key for key in report.unrecognised if key[:2] in ("A/", "B/", "C/", "D/")]


def test_gradient_outside_the_range_is_noticed(monkeypatch) -> None:
    exact = affine.fake_quantize

    def leaking(x: Tensor, *rest: object) -> Tensor:
        y = exact(x, *rest)  # type: ignore[arg-type]
        return y + x - x.detach()

    monkeypatch.setattr(affine, "fake_quantize", leaking)
    bad = failing(certify(only=".*A quantizers"))
    assert {key.rpartition("/")[2] for key in bad} == {"dx"}


def test_rounding_half_away_from_zero_is_noticed(monkeypatch) -> None:
    def away(x: Tensor) -> Tensor:
        return x.sign() * (x.abs() + 0.5).floor()

    monkeypatch.setattr(torch.Tensor, "round", away)
    monkeypatch.setattr(torch.Tensor, "round_", lambda x: x.copy_(away(x)))
    bad = failing(certify(only=".*A quantizers"))
    assert {"A/ties/x_int", "A/ties/y", "A/ties_sym/x_int", "A/ties_sym/y"} <= bad


def test_rounding_after_adding_the_zero_point_is_noticed(monkeypatch) -> None:
    def late(q: affine.AffineQuantizer, x: Tensor) -> Tensor:
        zero = torch.zeros(()) if q.zero_float is None else q.zero_float.detach()
        scale = affine.along(q.scale, q.axis, x).detach()
        return (x / scale + affine.along(zero, q.axis, x)).round().clamp(*q.limits)

    monkeypatch.setattr(affine.AffineQuantizer, "codes", late)
    bad = failing(certify(only=".*A quantizers"))
    assert {"A/asym/b2/clip/x_int", "A/asym/b8/clip/x_int", "A/asym/b16/full/x_int"} <= bad


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        (lambda m: m.setattr(ptq_adaround, "regulariser", lambda h, beta: 0 * h), "D/reg_b20"),
        (
            lambda m: m.setattr(SoftWeight, "_regularised", lambda self, number: False),
            "D/layer_symmetric/alpha_final",
        ),
        (lambda m: m.setitem(RELAXATIONS, "hard_sigmoid", RELAXATIONS["sigmoid"]), "D/h"),
    ],
    ids=["term", "loop", "stretch"],
)
def test_a_missing_regulariser_or_stretch_is_noticed(
    monkeypatch, change: Callable[[pytest.MonkeyPatch], None], expected: str
) -> None:
    change(monkeypatch)
    assert expected in failing(certify(only=".*D AdaRound"))


def _without(tmp_path: Path, *left_out: str) -> Path:
    with np.load(GOLDEN / "ptq.npz") as arrays:
        kept = {key: arrays[key] for key in arrays.files if key not in left_out}
    np.savez(tmp_path / "part.npz", **kept)
    return tmp_path


def test_outputs_that_a_file_lacks_are_not_compared(tmp_path) -> None:
    report = certify(_without(tmp_path, "A/asym/b8/clip/y", "A/asym/b8/clip/range"))
    assert report.ok
    assert not any(result.lacking for result in report.results)


def test_inputs_that_a_file_lacks_are_reported(tmp_path) -> None:
    report = certify(_without(tmp_path, "A/x_pos", "C/shared_src_ranges"))
    assert report.ok
    assert {key for result in report.results for key in result.lacking} == {
        "A/x_pos",
        "C/shared_src_ranges",
    }
