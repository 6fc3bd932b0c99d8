"""What every registered text method must do, over its variants and bit-widths."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from calibrated_texts import (
    calibrated,
    draw,
    fp32,
    logits,
    method_of,
    placed,
    text_methods,
    texts,
)
from safetensors.torch import load_file
from torch import Tensor

from suite.audit import audit
from suite.losses import task_loss
from suite.models.checkpoint import save_weights
from suite.models.encoder import TextModel, text_model
from suite.models.text_catalog import BERT_PICO
from suite.progress import Reporter
from suite.ptq import RangeMethod, quantizers
from suite.ptq_settings import parse_places
from suite.registry import METHODS
from tests.unit.small_encoders import source

PAIRS = ((8, 8), (4, 32), (32, 8), (2, 16))
SMALL = 0.02
"""Ranges are a small share of a model: 53 quantizers here against 0.6 million weights."""


def cells() -> Iterator[Any]:
    for name in text_methods():
        pairs = PAIRS if name != "adaround" else ((4, 32), (4, 8))
        for number, variant in enumerate(METHODS.get(name).variants):
            for w, a in pairs[:1] if number else pairs:
                fields = {"w_bits": w, "a_bits": a, "variant": variant}
                yield pytest.param(name, fields, id=f"{name}-{variant}-w{w}a{a}")
        fields = {"w_bits": 4, "a_bits": 8, "e_bits": 2}
        yield pytest.param(name, fields, id=f"{name}-w4a8e2")
        rows = {"per_channel": True, "weights": "current_minmax"}
        fields = {"w_bits": 8, "a_bits": 8, "settings": rows}
        yield pytest.param(name, fields, id=f"{name}-per_channel")


@pytest.mark.parametrize(("name", "fields"), list(cells()))
def test_the_contract(name: str, fields: dict[str, Any], tmp_path: Path) -> None:
    """One model a cell, through its whole life: the checks build on each other."""
    method = method_of(name, **fields)
    model = calibrated(method)
    found = logits(model)
    assert torch.isfinite(found).all()
    assert not torch.equal(found, fp32())
    check_audit(method, model)
    check_bits(method, model)
    check_words(method)
    check_state(method, model, tmp_path / "weights.safetensors", fields)
    if method.learned:
        check_gradients(model)


def check_audit(method: RangeMethod, model: TextModel) -> None:
    found = audit(model, texts())
    assert found.ok, found.problems
    filled = {n for n, s in model.places.items() if s.quantizer is not None}
    assert len(found.places) == len(filled)
    json.dumps(found.to_dict(), allow_nan=False)


def check_bits(method: RangeMethod, model: TextModel) -> None:
    named = {*parse_places(method.settings.places), "Et" if method.cell.e_bits else ""}
    for slot in model.places.values():
        expected = method.cell.w_bits if slot.kind == "weight" else method.cell.a_bits
        if not named & slot.place.words:
            assert (32 if slot.quantizer is None else slot.quantizer.bits) == expected
    if method.cell.e_bits:
        assert model.places["Et"].quantizer.bits == method.cell.e_bits
        assert model.places["Ep"].quantizer.bits == method.cell.w_bits


def check_words(method: RangeMethod) -> None:
    for found in (method.protocol(), method.diagnosis):
        assert json.loads(json.dumps(found, allow_nan=False)) == found
    assert bool(method.diagnosis) == (not method.learned)
    assert set(method.tensors) == set(method.diagnosis.get("places", {}))
    assert all(ranges.shape == (2, 96) for ranges in method.tensors.values())


def check_state(method: RangeMethod, model: TextModel, path: Path, fields: dict[str, Any]) -> None:
    """A model with nothing but the stored tensors gives the same logits; what is kept is small
    where the weights are the FP32 model's."""
    tensors = model.state_dict()
    ranges = {name: value for name, value in tensors.items() if ".quantizer." in name}
    save_weights(path, tensors if method.keeps_weights else ranges)
    again = placed(method_of(method.name, **fields), seed=1 if method.keeps_weights else 0)
    again.load_state_dict(load_file(path), strict=method.keeps_weights)
    if not method.learned:
        for quantizer in quantizers(again):
            quantizer.fix()
    assert torch.equal(logits(again), logits(model))
    whole = sum(p.numel() for p in model.parameters())
    if not (method.keeps_weights or fields.get("settings", {}).get("per_channel")):
        assert sum(v.numel() for v in ranges.values()) < SMALL * whole


def check_gradients(model: TextModel) -> None:
    """One step's gradients reach every weight and every range, and are finite."""
    model.train()
    task_loss(model(texts()), torch.arange(4) % 2).backward()
    for name, parameter in model.named_parameters():
        assert parameter.grad is not None, name
        assert torch.isfinite(parameter.grad).all(), name
    activations = len(quantizers(model, "activation"))
    assert sum(n.endswith(".zero_float") for n, _ in model.named_parameters()) == activations


@pytest.mark.parametrize("name", text_methods())
def test_a_seed_is_a_calibration_draw(name: str) -> None:
    def found(seed: int) -> Tensor:
        method = method_of(name, w_bits=4, a_bits=8)
        model = placed(method)
        method.initialise(model, draw(seed=seed))
        return logits(model)

    assert torch.equal(found(0), found(0))
    assert not torch.equal(found(0), found(1))


@pytest.mark.parametrize("name", text_methods())
def test_a_method_describes_itself(name: str) -> None:
    kind = METHODS.get(name)
    assert (kind.name, kind.version >= 1, bool(kind.summary)) == (name, True, True)
    assert "arXiv" in kind.source
    assert tuple(kind.variants) == ("released", "corrected", "paper")
    words = " ".join(base.__doc__ or "" for base in kind.Settings.__mro__)
    assert [field for field in kind.Settings.model_fields if field not in words] == []


def test_rounding_is_learned_towards_the_outputs_of_the_fp32_network(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """And from inputs that the layers before have already rounded."""
    import methods.adaround as module

    given: list[tuple[Tensor, Tensor]] = []
    inner = module.reconstruct

    def watched(layer: Any, weight: Any, quantizer: Any, *data: Any, **options: Any) -> Any:
        given.append((data[0], data[1]))
        return inner(layer, weight, quantizer, *data, **options)

    monkeypatch.setattr(module, "reconstruct", watched)
    method = method_of("adaround", w_bits=2, a_bits=32)
    model = calibrated(method)
    batch = draw().batches(16, 1)[0]
    with torch.no_grad():
        whole = BERT_PICO.skeleton(2, seed=0).eval()
        torch.testing.assert_close(given[-1][1], whole(batch))
        rounded, exact = (m.body.pooler(m.encode(batch)) for m in (model, whole))
    assert torch.equal(given[-1][0], rounded)
    assert not torch.allclose(rounded, exact, atol=1e-3)


def test_learned_rounding_says_how_far_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    """It takes hours on BERT-base."""
    told: list[tuple[Any, ...]] = []
    monkeypatch.setattr(Reporter, "advance", lambda _, *words: told.append(words))
    calibrated(method_of("adaround", w_bits=4, a_bits=32, settings={"iterations": 1}))
    layers = len(told)
    assert layers > 10
    assert told == [("a cell: calibration", number, layers) for number in range(layers)]


@torch.no_grad()
def test_learned_rounding_is_better_than_rounding_to_nearest() -> None:
    def error(name: str, **settings: Any) -> float:
        bits = {"w_bits": 3, "a_bits": 32}
        places = "Et=fp32,Ep=fp32,Es=fp32"
        model = calibrated(method_of(name, **bits, settings={**settings, "places": places}))
        real = texts()["attention_mask"].bool()
        exact = BERT_PICO.skeleton(2, seed=0).eval().encode(texts())[real]
        return float((model.encode(texts())[real] - exact).norm() / exact.norm())

    nearest = error("minmax_ptq", weights="mse_grid")
    assert error("adaround", iterations=150, lr=0.01, everything=False) < 0.7 * nearest


@pytest.mark.parametrize("family", ["roberta", "mobilebert"])
@pytest.mark.parametrize("name", text_methods())
def test_other_families_are_calibrated(name: str, family: str) -> None:
    model = text_model(source(family, vocab_size=4000, num_labels=2, max_position_embeddings=130))
    settings = {"groups": 4} if name == "peg" else {}
    method = method_of(name, w_bits=8, a_bits=8, settings=settings)
    exact = logits(model)
    method.place(model)
    method.initialise(model, draw())
    found = logits(model)
    assert torch.isfinite(found).all()
    assert not torch.equal(found, exact)
    wide = {q.bits for q in quantizers(model)}
    assert wide == ({8, 16} if name == "mixed_precision" else {8})


def test_a_nonorms_range_is_its_biass_as_released_and_covers_both_corrected() -> None:
    for variant in ("released", "corrected"):
        model = text_model(source("mobilebert", vocab_size=4000, num_labels=2))
        norm = model.body.layers[0].output.LayerNorm
        with torch.no_grad():
            norm.weight.fill_(1.0)
            norm.bias.uniform_(-9, 9)
            norm.weight[0], norm.bias[0] = 40.0, 12.7
        settings = {"weights": "current_minmax"}
        method = method_of("minmax_ptq", w_bits=8, a_bits=32, variant=variant, settings=settings)
        method.place(model)
        method.find_weights(model, draw())
        reach = float(norm.weight_slot.quantizer.scale * 127)
        assert reach == pytest.approx(12.7 if variant == "released" else 40.0, rel=1e-5)
