"""Golden values of P2's tiny BERT: they pass, and they fail when the model's numerics change."""

from __future__ import annotations

from contextlib import nullcontext
from pathlib import Path

import numpy as np
import pytest
import torch

from baselines.minmax_ptq import MinMaxPTQ
from methods.mixed_precision import MixedPrecision
from methods.peg import Peg, PegSettings
from methods.range_qat import RangeQAT
from suite.certify import GOLDEN, Report, certify, ptq_models
from suite.certify.case import Case
from suite.certify.ptq_bert import method_for
from suite.method import Draw
from suite.models import bert
from suite.models.encoder import TextModel
from suite.models.slot import without
from suite.ptq import RangeMethod
from suite.quant.affine import AffineQuantizer
from suite.quant.ranges import estimator

E_KEYS = 1053
PLAIN = "ptq E tiny BERT"
MIXED, GROUPS, LEARNED = (f"{PLAIN}, {rest}" for rest in ("mixed", "groups", "learned ranges"))


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
    monkeypatch.setattr(Peg, "_share", lambda self, groups: None)
    broken = failed(certify(GOLDEN, GROUPS))
    assert broken == {"E/n3/W8A8_peg6_permute_sharedh"}


@pytest.mark.usefixtures("once")
def test_a_permutation_whose_ranges_come_from_quantized_weights_is_noticed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(Peg, "_only_collecting", lambda self, model: nullcontext())
    assert "E/n3/W8A8_peg6_permute_sharedh" in failed(certify(GOLDEN, GROUPS))


@pytest.mark.usefixtures("once")
def test_groups_at_other_places_are_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    class Fewer(PegSettings):
        at: str = "h,y"

    monkeypatch.setattr(Peg, "Settings", Fewer)
    broken = failed(certify(GOLDEN, GROUPS))
    assert {"E/n3/W8A8_peg3", "E/n3/W8A8_perembd", "E/n3/W8A8_peg6_permute"} <= broken


@pytest.mark.usefixtures("once")
def test_places_without_bits_of_their_own_are_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(MixedPrecision, "_overrides", lambda self, model: {})
    assert failed(certify(GOLDEN, MIXED)) == {"E/n3/W8A8_mp16"}


@pytest.mark.usefixtures("once")
def test_zero_points_that_are_not_learned_are_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    def settle(self: RangeQAT, quantizer: AffineQuantizer) -> None:
        quantizer.learn()
        if quantizer.zero_float is not None:
            quantizer.zero_float.requires_grad_(False)

    monkeypatch.setattr(RangeQAT, "_settle", settle)
    (result,) = certify(GOLDEN, LEARNED).results
    broken = {c.key for c in result.compared if not c.ok}
    assert broken
    assert broken <= {c.key for c in result.compared if c.key.endswith("zero_float")}
    assert all("/grad/" in key for key in broken)


@pytest.mark.usefixtures("once")
def test_words_at_the_bits_of_other_weights_are_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(RangeQAT, "_overrides", lambda self, model: {})
    assert "E/n3/qat" in failed(certify(GOLDEN, LEARNED))


@pytest.mark.usefixtures("once")
def test_logits_quantized_like_any_activation_are_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(RangeMethod, "range_of", lambda self, slot: estimator("current_minmax"))
    assert failed(certify(GOLDEN, PLAIN)) == {"E/n3/W8A8_MSElogits"}


@pytest.mark.usefixtures("once")
def test_activations_calibrated_with_fp32_weights_are_noticed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    found = RangeMethod.find_activations

    def find(self: RangeMethod, model: TextModel, draw: Draw) -> None:
        weights = [s for s in model.places.values() if s.kind == "weight"]
        with without(weights):
            found(self, model, draw)

    monkeypatch.setattr(RangeMethod, "find_activations", find)
    assert {"E/n3/W8A8", "E/n3/W8A8_bs1"} <= failed(certify(GOLDEN, PLAIN))


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


@pytest.mark.parametrize(
    ("name", "kind", "bits", "settings"),
    [
        ("W4A6", MinMaxPTQ, (4, 6, None), {}),
        ("W32A8", MinMaxPTQ, (32, 8, None), {}),
        ("W8A8_bs1", MinMaxPTQ, (8, 8, None), {}),
        ("W3A32_nearest", MinMaxPTQ, (3, 32, None), {"weights": "mse_grid"}),
        ("W8A4_FPlogits", MinMaxPTQ, (8, 4, None), {"logits": "fp32"}),
        ("W8A8_running3", MinMaxPTQ, (8, 8, None), {"activations": "running_minmax"}),
        ("W8A8_mp12", MixedPrecision, (8, 8, None), {"places": "x=12,h=12,y=12"}),
        ("W8A8_mp16", MixedPrecision, (8, 8, None), {"places": "x=16,h=16,y=16"}),
        ("W6A8_peg12", Peg, (6, 8, None), {"groups": 12, "permute": "none"}),
        ("W8A8_peg3_permute", Peg, (8, 8, None), {"groups": 3, "permute": "own"}),
        ("W8A8_peg6_permute_sharedh", Peg, (8, 8, None), {"groups": 6, "permute": "shared"}),
        ("W8A4_perembd", Peg, (8, 4, None), {"groups": 0}),
        ("qat", RangeQAT, (4, 8, 2), {}),
    ],
)
def test_names_of_variants_ask_for_methods(
    name: str, kind: type, bits: tuple[int, int, int | None], settings: dict[str, object]
) -> None:
    method = method_for(name, ratings=False)
    assert type(method) is kind
    assert method is not None
    assert (method.cell.w_bits, method.cell.a_bits, method.cell.e_bits) == bits
    assert settings.items() <= method.settings.model_dump().items()


def test_a_model_of_ratings_has_wide_logits_by_search() -> None:
    method = method_for("W8A8_mp16", ratings=True)
    assert method is not None
    assert method.settings.places == "x=16,h=16,y=16,P=16,C=16"
    assert method.settings.logits == "mse"
    assert method_for("fp32", ratings=True) is None
    with pytest.raises(ValueError, match="no variant is called 'other'"):
        method_for("W8A8_other", ratings=False)
