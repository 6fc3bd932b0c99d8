"""BinaryBERT's golden values: they pass, in any part, and wrong numerics are caught."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from golden_parts import failing, stored
from torch import Tensor

from suite import bert_adam, text_distillation
from suite.certify import Report, certify
from suite.quant import batch_lsq, clipped, splitting, ternary

MINE = r"bb\b.*|bbm\b.*"
Arrays = dict[str, np.ndarray]


@pytest.fixture(scope="module")
def values() -> Arrays:
    return stored("baselines.npz", "bbm?_")


@pytest.fixture(scope="module")
def folder(values: Arrays, tmp_path_factory: Any) -> Path:
    made: Path = tmp_path_factory.mktemp("golden")
    np.savez(made / "baselines.npz", **values)
    return made


def broken(report: Report) -> set[str]:
    """Groups with an array out of tolerance."""
    return {result.group for result in report.results if not result.ok}


def test_every_array_is_compared_or_an_input(folder: Path) -> None:
    report = certify(folder, only=MINE)
    assert report.ok, [c for r in report.results for c in r.compared if not c.ok]
    assert report.unrecognised == ()
    assert not [lacking for r in report.results for lacking in r.lacking]
    assert report.compared > 540
    assert {r.method for r in report.results} == {"ternarybert", "binarybert"}


@pytest.mark.parametrize("seed", range(4))
def test_any_half_of_the_quantizers_arrays_is_certified(
    values: Arrays, tmp_path: Path, seed: int
) -> None:
    dice = random.Random(seed)
    some = {k: v for k, v in values.items() if k.startswith("bb_") and dice.random() < 0.5}
    np.savez(tmp_path / "some.npz", **some)
    report = certify(tmp_path, only=MINE)
    assert failing(report) == set()
    assert report.compared > 5


@pytest.mark.parametrize("seed", range(3))
def test_models_with_an_array_missing_are_certified_or_lacking(
    values: Arrays, tmp_path: Path, seed: int
) -> None:
    models = sorted(k for k in values if k.startswith("bbm_"))
    dropped = random.Random(seed).choice(models)
    np.savez(tmp_path / "some.npz", **{k: values[k] for k in models if k != dropped})
    report = certify(tmp_path, only=MINE)
    assert failing(report) == set(), dropped


def test_where_the_code_divides_zero_by_zero_ours_must_be_finite(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(clipped, "TINY", 0.0)
    assert broken(certify(folder, only="bb zeros")) == {"bb zeros"}


halves = splitting._halves


def wrong_sign(w: Tensor, t: Tensor, level: Any) -> Any:
    """S_J and S_K exchanged in a, as the paper is said to print it."""
    first, second = halves(w, t, level)
    kept = t != 0
    a = (first / w).masked_fill(~kept, 0.0).amax(1, keepdim=True)
    return torch.where(kept, (1 - a) * w, first), torch.where(kept, a * w, second)


def at_the_clip(x: Tensor, clip: Tensor) -> tuple[Tensor, Tensor]:
    return x < clip[0], x > clip[1]


def no_shift(x: Tensor, step: Tensor, minimum: Tensor | None) -> Tensor:
    return x / step


def rectified(self: Any, x: Tensor) -> None:
    with torch.no_grad():
        self.step.fill_(float(2 * x.abs().mean() / self.limits[1] ** 0.5))


def largest_ternary(weight: Tensor, rows: bool = False) -> Tensor:
    size = weight.abs()
    over = size > 0.7 * ternary._mean(size, rows)
    top = size.amax(1, keepdim=True) if rows else size.max()
    return top * weight.sign() * over


def unmasked(scores: Tensor, mask: Tensor | None) -> Tensor:
    return scores


MUTATIONS: dict[str, tuple[Any, str, Any, set[str]]] = {
    "flipped sign in the split": (
        splitting, "_halves", wrong_sign, {"bb split", "bbm split", "bbm binary"},
    ),
    "no shift of the asymmetric step": (batch_lsq, "_normalised", no_shift, {"bb lsq"}),
    "one start for both steps": (batch_lsq.BatchLSQ, "initialise", rectified, {"bb lsq"}),
    "threshold of a half": (
        ternary,
        "THRESHOLD",
        0.5,
        {"bb weights", "bb layers", "bb words", "bb split", "bbm ternary", "bbm split"},
    ),
    "laq stopped early": (ternary, "LAQ_UPDATES", 0, {"bb weights"}),
    "padding in the attention loss": (
        text_distillation, "_shown", unmasked, {"bbm ternary", "bbm binary"},
    ),
    "gradients clipped at another norm": (bert_adam, "CLIPPED", 0.5, {"bb optimizer"}),
}  # fmt: skip


@pytest.mark.parametrize("name", MUTATIONS)
def test_wrong_numerics_are_caught(
    folder: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    owner, attribute, wrong, caught = MUTATIONS[name]
    monkeypatch.setattr(owner, attribute, wrong)
    found = broken(certify(folder, only=MINE))
    assert caught <= found


def on_the_clip() -> Arrays:
    """A case in the authors' layout with values that lie on the clip, by the rule that they state:
    nothing passes there, and the clip gets it all."""
    x = torch.tensor([[[-2.0, -1.0, 0.25, 1.2, 3.0, 0.7]]])
    clip, upstream = torch.tensor([-1.0, 1.2]), torch.tensor([[[1.0, 2.0, 3.0, 4.0, 5.0, 6.0]]])
    scale = 127 / 1.2
    out = (x.clamp(-1.0, 1.2) * scale).round() / scale
    found = {
        "bb_X3": x,
        "bb_G3": upstream,
        "bb_clip": clip,
        "bb_sym8_X3_layer_out": out,
        "bb_sym8_X3_layer_gradx": torch.tensor([[[0.0, 0.0, 3.0, 0.0, 0.0, 6.0]]]),
        "bb_sym8_X3_layer_gradclip": torch.tensor([3.0, 9.0]),
    }
    return {name: value.numpy() for name, value in found.items()}


def test_a_gradient_at_the_clip_itself_is_caught(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """None of the authors' inputs lies there."""
    np.savez(tmp_path / "some.npz", **on_the_clip())
    assert certify(tmp_path).ok
    monkeypatch.setattr(clipped, "beyond", at_the_clip)
    wrong = [c.key for r in certify(tmp_path).results for c in r.compared if not c.ok]
    assert wrong == ["bb_sym8_X3_layer_gradx", "bb_sym8_X3_layer_gradclip"]
