"""Golden values of P2's tiny BERT: they pass, and they fail when the model's numerics change."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from suite.certify import GOLDEN, Report, certify, ptq_models
from suite.certify.case import Case
from suite.certify.ptq_bert import variant_of
from suite.models import bert

E_KEYS = 1053


@pytest.fixture(autouse=True)
def only_tiny_bert(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("suite.certify.replays", lambda: ptq_models.REPLAYS)


@pytest.fixture
def once(monkeypatch: pytest.MonkeyPatch) -> None:
    """No second attempt with other last bits, which cannot help a broken model."""
    monkeypatch.setattr(ptq_models, "ATTEMPTS", 1)


def failed(report: Report) -> set[str]:
    return {"/".join(c.key.split("/")[:3]) for r in report.results for c in r.compared if not c.ok}


def test_the_tiny_bert_is_certified_and_every_key_of_it_is_used() -> None:
    report = certify(GOLDEN)
    assert report.ok
    assert not failed(report)
    assert not any(r.lacking for r in report.results)
    with np.load(GOLDEN / "ptq.npz") as arrays:
        keys = {k for k in arrays.files if k.startswith("E/")}
    assert len(keys) == E_KEYS
    assert not keys & set(report.unrecognised)


@pytest.mark.usefixtures("once")
def test_a_quantizer_before_gelu_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        bert.Intermediate, "forward", lambda self, x: self.act(self.act_out(self.dense(x)))
    )
    broken = failed(certify(GOLDEN))
    assert {"E/n3/W8A8", "E/n3/W32A8", "E/n3/qat"} <= broken
    assert not {"E/n3/fp32", "E/n3/W8A32"} & broken


def test_a_residual_past_its_quantizer_is_noticed_whatever_the_last_bits_are(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(ptq_models, "ATTEMPTS", 3)

    def forward(self: bert.Output, x: torch.Tensor, residual: torch.Tensor) -> torch.Tensor:
        x = self.dropout(self.dense_out(self.dense(x)))
        self.residual_out(x + residual)
        return self.norm_out(self.LayerNorm(x + residual))

    monkeypatch.setattr(bert.Output, "forward", forward)
    broken = failed(certify(GOLDEN))
    assert {"E/n3/W8A8", "E/n3/W8A8_peg3", "E/n3/W8A8_mp16", "E/n3/qat"} <= broken
    assert "E/n3/fp32" not in broken


@pytest.mark.usefixtures("once")
def test_a_permutation_that_is_not_shared_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ptq_models, "share", lambda groups, source: None)
    broken = failed(certify(GOLDEN))
    assert "E/n3/W8A8_peg6_permute_sharedh" in broken
    assert "E/n3/W8A8_peg6_permute" not in broken


def test_a_file_without_weight_ranges_is_replayed_with_our_own(tmp_path: Path) -> None:
    with np.load(GOLDEN / "ptq.npz") as arrays:
        kept = {k: arrays[k] for k in arrays.files if "weight_quantizer/" not in k}
    np.savez(tmp_path / "ptq.npz", **{k: v for k, v in kept.items() if "/qat/param/" not in k})
    report = certify(tmp_path)
    assert not failed(report)
    assert report.ok


def test_what_was_compared_before_an_input_is_missing_counts(tmp_path: Path) -> None:
    with np.load(GOLDEN / "ptq.npz") as arrays:
        kept = {k: arrays[k] for k in arrays.files if k.startswith("E/") and k != "E/n3/qat/labels"}
    np.savez(tmp_path / "ptq.npz", **kept)
    (result,) = (r for r in certify(tmp_path).results if r.method == "range_qat")
    assert result.lacking == ("E/n3/qat/labels",)
    assert result.ok
    assert len(result.compared) == 84


@pytest.fixture
def ratings() -> dict[str, np.ndarray]:
    """The golden values under the name of the regression head: its first output, no results."""
    with np.load(GOLDEN / "ptq.npz") as content:
        arrays = {k: content[k] for k in content.files if k.startswith("E/")}
    renamed = {k.replace("E/n3/", "E/n1/"): v for k, v in arrays.items() if "/q/" not in k}
    for name in ("weight", "bias"):
        key = f"E/n1/state/classifier.{name}"
        renamed[key] = renamed[key][:1]
    renamed["E/n1/state/classifier.bias"] = np.array([-0.4], dtype=np.float32)
    renamed["E/n1/qat/labels"] = np.array([0.5, 4.2, 3.0, 1.0], dtype=np.float32)
    return renamed


@pytest.mark.parametrize("name", ["fp32", "W8A8", "W8A8_mp16", "W8A8_MSElogits", "qat"])
def test_the_regression_head_is_replayed_and_clamped_when_quantized(
    name: str, ratings: dict[str, np.ndarray]
) -> None:
    found: dict[str, torch.Tensor] = {}

    class Kept(Case):
        def compare(self, name: str, ours, tolerance: float = 0.0) -> None:
            found[name] = torch.as_tensor(ours)

    case = Kept(f"E/n1/{name}", ratings, set())
    replay = ptq_models._trained if name == "qat" else ptq_models._evaluated
    replay(case, 0)
    logits = found["logits"]
    assert logits.shape == (4, 1)
    assert bool((logits < 0).any()) == (name == "fp32")


def test_names_of_variants_are_read_with_any_bits() -> None:
    def of(name: str) -> tuple[int, int, int | None, bool, int]:
        v = variant_of(Case(f"E/n3/{name}", {}, set()))
        return v.w_bits, v.a_bits, v.groups, v.by_dimension, v.wide_bits

    assert of("fp32") == (32, 32, None, False, 32)
    assert of("W4A6") == (4, 6, None, False, 6)
    assert of("W8A8_mp12") == (8, 8, None, False, 12)
    assert of("W6A8_peg12_permute_sharedh") == (6, 8, 12, True, 8)
    assert of("W8A4_perembd") == (8, 4, None, True, 4)
