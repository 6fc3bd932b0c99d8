"""Certification: the golden values pass, any part of them does, damaged ones do not."""

from __future__ import annotations

import math
import random
import re
import subprocess
import sys
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from golden_parts import MODEL, Arrays, failing, groups, model, parts
from typer.testing import CliRunner

from suite.certify import GOLDEN, Report, certify
from suite.cli import app
from suite.errors import EnvironmentProblem, Missing

OURS = r"(?!swin|sret).*"


def replay(folder: Path, arrays: Arrays) -> Report:
    np.savez(folder / "some.npz", **arrays)
    return certify(folder)


# What passes


def test_everything_of_variation_and_lsq_is_certified() -> None:
    report = certify(GOLDEN, only=OURS)
    mine = [result for result in report.results if result.method in ("variation", "lsq")]
    assert all(result.ok for result in mine)
    assert sum(len(result.compared) for result in mine) > 1100
    assert {"wq", "conv", "aq", "floor", "mha", "mhl", "mse", "mseoff"} <= groups(report)
    assert {"fkd", "lambda", "bin", "osc", "ref_lsq", "deit"} <= groups(report)


def test_quantizers_have_the_authors_bits() -> None:
    """Forward values and input gradients are equal, not only close."""
    report = certify(GOLDEN, only="wq.*|aq.*|floor.*")
    exact = r".*/(wq|y|grad_weight|grad_x|get_wq|get_wclip|alpha_eff|alpha_init|y_init|int)$"
    compared = [c for r in report.results for c in r.compared if re.match(exact, c.key)]
    assert len(compared) > 100
    assert {c.error for c in compared} == {0.0}


@pytest.mark.parametrize("seed", range(8))
def test_any_half_of_the_arrays_is_certified(tmp_path: Path, seed: int) -> None:
    dice = random.Random(seed)
    report = replay(tmp_path, {k: v for k, v in parts().items() if dice.random() < 0.5})
    assert failing(report) == set()
    assert report.compared > 20


@pytest.mark.parametrize("seed", range(6))
def test_a_model_with_one_array_missing_is_certified(tmp_path: Path, seed: int) -> None:
    keys = [k for k in model() if "/sd_init/" in k] if seed < 3 else list(model())
    dropped = random.Random(seed).choice(keys)
    report = replay(tmp_path, {k: v for k, v in model().items() if k != dropped})
    assert failing(report) == set(), dropped
    assert report.compared > 0 or any(result.lacking for result in report.results), dropped


@pytest.mark.parametrize("part", ["sd_init/head.alpha", "sd_init/", "sd_fp/blocks.1."])
def test_a_model_with_a_part_missing_is_certified_or_lacking(tmp_path: Path, part: str) -> None:
    report = replay(tmp_path, {k: v for k, v in model().items() if not k.startswith(MODEL + part)})
    assert failing(report) == set()


def test_outputs_without_inputs_are_lacking(tmp_path: Path) -> None:
    report = replay(tmp_path, {"wq/fix/b2/wq": parts()["wq/fix/b2/wq"]})
    assert report.results[0].lacking == ("wq/fix/b2/alpha",)
    assert report.compared == 0
    assert not report.ok
    assert report.unrecognised == ("wq/fix/b2/wq",)


@pytest.mark.parametrize("missing", ["s_init", "out", "gradv", "grads"])
def test_lsq_is_compared_whichever_output_is_missing(tmp_path: Path, missing: str) -> None:
    mine = r"ref_lsq_(v|G|w_b2_\w+)$"
    kept = {k: v for k, v in parts().items() if re.match(mine, k) and not k.endswith(missing)}
    report = replay(tmp_path, kept)
    assert report.compared == 3
    assert report.ok
    assert report.unrecognised == ()


def test_a_key_that_nobody_knows_is_listed(tmp_path: Path) -> None:
    report = replay(tmp_path, {"lambda/150": parts()["lambda/150"], "surprise/x": np.ones(2)})
    assert report.ok
    assert report.unrecognised == ("surprise/x",)


@pytest.mark.parametrize("bits", [3, 5, 6, 7])
def test_bit_widths_of_the_same_layout_are_replayed(tmp_path: Path, bits: int) -> None:
    arrays = weight_case(bits)
    good = replay(tmp_path, arrays)
    assert good.ok
    assert (good.compared, good.unrecognised) == (3, ())
    name = f"wq/fix/b{bits}/grad_alpha"
    assert not replay(tmp_path, {**arrays, name: arrays[name] * 1.001}).ok


def weight_case(bits: int) -> dict[str, np.ndarray]:
    """A weight quantizer's arrays by plain autograd, in the layout of the authors' values."""
    generator = torch.Generator().manual_seed(bits)
    weight, upstream = (torch.randn(24, 32, generator=generator) for _ in range(2))
    alpha = torch.arange(1.0, 8.0) * 0.01
    low, high = -(2.0 ** (bits - 1)), 2.0 ** (bits - 1) - 1
    x, step = weight.clone().requires_grad_(), alpha.clone().requires_grad_()
    factor = 1 / math.sqrt(float(weight.abs().sum() * high))
    scaled = step[bits - 2] * factor
    used = (step[bits - 2] - scaled).detach() + scaled
    clamped = torch.max(torch.min(x / used, torch.tensor(high)), torch.tensor(low))
    out = ((clamped.round() - clamped).detach() + clamped) * used
    out.backward(upstream)
    found = {
        "weight": weight,
        "alpha": alpha,
        "nbits": torch.tensor([float(bits)]),
        "upstream": upstream,
        "wq": out.detach(),
        "grad_weight": x.grad,
        "grad_alpha": step.grad,
    }
    return {f"wq/fix/b{bits}/{name}": value.numpy() for name, value in found.items()}


# What does not pass


@pytest.mark.parametrize(
    "key",
    ["wq/fix/b4/wq", "aq/fix/b2/u/off/grad_beta", "fkd/ce", "lambda/150", "ref_lsq_w_b4_grads"],
)
def test_a_damaged_array_fails(tmp_path: Path, key: str) -> None:
    damaged = parts()[key].copy()
    damaged.flat[damaged.size // 2] = damaged.flat[damaged.size // 2] * 1.001 + 0.01
    report = replay(tmp_path, {**parts(), key: damaged})
    assert not report.ok
    assert [c.key for r in report.results for c in r.compared if not c.ok] == [key]


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_a_value_that_is_not_finite_fails(tmp_path: Path, value: float) -> None:
    damaged = parts()["lambda/150"].copy()
    damaged[3] = value
    assert not replay(tmp_path, {"lambda/150": damaged}).ok


def cli(folder: Path, arrays: Arrays) -> Any:
    np.savez(folder / "some.npz", **arrays)
    return CliRunner().invoke(app, ["certify", "--golden", str(folder)])


def test_the_command_prints_a_verdict_and_exits_with_it(awkward: Path) -> None:
    some = {"lambda/150": parts()["lambda/150"]}
    good = cli(awkward, some)
    assert good.exit_code == 0
    assert "1 arrays compared, none out of tolerance" in good.output
    bad = cli(awkward, {"lambda/150": parts()["lambda/150"] + 1e-3, "odd/x": np.ones(1)})
    assert bad.exit_code == 1
    assert "out of tolerance: lambda/150" in bad.output
    assert "odd/x" in bad.output
    none = cli(awkward, {"odd/x": np.ones(1)})
    assert none.exit_code == 1
    assert "nothing was compared" in none.output


def test_a_folder_without_values_is_missing(tmp_path: Path) -> None:
    for folder in (tmp_path, tmp_path / "none"):
        with pytest.raises(Missing, match="--golden DIR") as caught:
            certify(folder)
        assert "\n" not in str(caught.value)


@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
def test_a_damaged_file_is_an_expected_error(tmp_path: Path, save: Callable[..., None]) -> None:
    path = tmp_path / "golden.npz"
    save(path, **{f"lambda/{n}": np.linspace(0, 1, 200) for n in range(5)})
    whole, dice = path.read_bytes(), random.Random(1)
    for turn in range(200):
        damaged = bytearray(whole[: dice.randrange(len(whole))] if turn % 2 else whole)
        for _ in range(0 if turn % 2 else 3):
            damaged[dice.randrange(len(damaged))] = dice.randrange(256)
        path.write_bytes(damaged)
        with suppress(EnvironmentProblem):  # a changed value is not noticed here
            certify(tmp_path, only="no group")


def test_the_command_exits_with_3_on_a_truncated_file(tmp_path: Path) -> None:
    np.savez(tmp_path / "golden.npz", **parts())
    whole = (tmp_path / "golden.npz").read_bytes()
    (tmp_path / "golden.npz").write_bytes(whole[: len(whole) // 2])
    command = [sys.executable, "-c", "from suite.cli import main; main()"]
    done = subprocess.run(
        [*command, "certify", "--golden", str(tmp_path)], capture_output=True, text=True
    )
    assert done.returncode == 3
    assert done.stderr.startswith("lowbit: The golden file ")
    assert done.stderr.count("\n") == 1
