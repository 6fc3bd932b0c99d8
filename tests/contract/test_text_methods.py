"""What every registered text method must do, over its variants, bit-widths and settings."""

from __future__ import annotations

import json
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor

from suite.audit import audit
from suite.cell import Recipe, make_cell
from suite.errors import LowbitError, UsageError
from suite.losses import task_loss
from suite.method import Method
from suite.models.checkpoint import digest, save_weights
from suite.models.encoder import TextModel
from suite.models.text_catalog import BERT_PICO
from suite.ptq import RangeMethod, parse_places, quantizers
from suite.registry import METHODS
from suite.runner import method_of as accepted
from suite.tasks.base import DataOptions
from suite.tasks.snippets import SNIPPETS, SNIPPETS_RATING
from suite.tasks.text import TextDataset
from suite.train import Calibration

RECIPE = Recipe(calibration_images=6, calibration_batches=2)
BRIEF = {"adaround": {"iterations": 5, "samples": 16}, "peg": {"collect_batches": 2}}
"""Settings that let a method end within a second."""

PAIRS = ((8, 8), (4, 32), (32, 8), (2, 16))
SMALL = 0.02
"""Ranges are a small share of a model: 53 quantizers here against 0.6 million weights."""


def text_methods() -> list[str]:
    return [n for n in METHODS.names() if "text" in METHODS.get(n).tasks and n != "fp32"]


@cache
def data(rating: bool = False) -> TextDataset:
    task = SNIPPETS_RATING if rating else SNIPPETS
    return task.open(DataOptions(tokenizer=BERT_PICO.tokenizer, max_length=24))


@cache
def texts() -> dict[str, Tensor]:
    """A batch of real sentences, with padding."""
    return data().calibration("validation", 4, 1)


def method_of(name: str, **fields: Any) -> RangeMethod:
    """The method of a cell with these fields, of its first variant unless they name another."""
    fields.setdefault("variant", next(iter(METHODS.get(name).variants)))
    fields["settings"] = {**BRIEF.get(name, {}), **fields.get("settings", {})}
    cell = make_cell(method=name, model="bert_pico", task="snippets", recipe=RECIPE, **fields)
    method: RangeMethod = METHODS.get(name)(cell)
    return method


def draw(rating: bool = False, seed: int = 0) -> Calibration:
    """The real draw of a training on the sentences."""
    job: Any = SimpleNamespace(
        dataset=data(rating), recipe=RECIPE, seed=seed, device=torch.device("cpu")
    )
    return Calibration(job)


def placed(method: Method, classes: int = 2, seed: int = 0) -> TextModel:
    model = BERT_PICO.skeleton(classes, seed=seed).eval()
    method.place(model)
    return model


def calibrated(method: Method, rating: bool = False) -> TextModel:
    model = placed(method, classes=1 if rating else 2)
    method.initialise(model, draw(rating))
    return model


def logits(model: TextModel) -> Tensor:
    with torch.no_grad():
        return model(texts())


@cache
def fp32() -> Tensor:
    return logits(BERT_PICO.skeleton(2, seed=0).eval())


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


SEARCH = {"activations": "mse_grid", "candidates": 8}
GELU = {**SEARCH, "places": "L=fp32,i0=4"}
"""One place within the layers, whose values lean to one side: a search of all takes long."""

SWITCHES: list[tuple[str, dict[str, Any], dict[str, Any]]] = [
    ("minmax_ptq", {}, {"weights": "mse_grid"}),
    ("minmax_ptq", {}, {"weights": "current_minmax"}),
    ("minmax_ptq", {"weights": "mse_grid"}, {"candidates": 30}),
    ("minmax_ptq", {"weights": "current_minmax"}, {"per_channel": True}),
    ("minmax_ptq", {}, {"activations": "all_minmax"}),
    ("minmax_ptq", {}, {"activations": "running_minmax"}),
    ("minmax_ptq", {"places": "L=fp32,g1=8"}, {"activations": "mse_grid", "candidates": 8}),
    ("minmax_ptq", {"places": "L=fp32,g1=8"}, {"activations": "mse_golden"}),
    ("minmax_ptq", {}, {"percentile": 1.0}),
    ("minmax_ptq", {"percentile": 1.0}, {"two_sided": True}),
    ("minmax_ptq", {}, {"logits": "fp32"}),
    ("minmax_ptq", {}, {"logits": "mse"}),
    ("minmax_ptq", {}, {"logits": "cross_entropy"}),
    ("minmax_ptq", {}, {"places": "y1=3,wq=fp32"}),
    ("minmax_ptq", {}, {"leave_out": "z, p0"}),
    ("minmax_ptq", {"weights": "mse_grid"}, {"relative_margin": True}),
    ("minmax_ptq", GELU, {"stale_shift": False}),
    ("mixed_precision", {}, {"places": ""}),
    ("peg", {}, {"groups": 3}),
    ("peg", {}, {"groups": 0}),
    ("peg", {}, {"permute": "own"}),
    ("peg", {}, {"permute": "none"}),
    ("peg", {}, {"at": "h,y"}),
    ("peg", {}, {"collect_batches": 1}),
    ("peg", {}, {"collect_by": "union"}),
    ("peg", {}, {"collect_by": "average"}),
    ("peg", {}, {"collect_quantized": False}),
    ("peg", {**SEARCH, "places": "L=fp32,h=8", "permute": "none"}, {"search_axis": True}),
    ("adaround", {}, {"samples": 12}),
    ("adaround", {}, {"iterations": 6}),
    ("adaround", {}, {"batch": 4}),
    ("adaround", {"iterations": 20}, {"lr": 0.1}),
    ("adaround", {"iterations": 20, "lr": 0.1}, {"weight": 1.0}),
    ("adaround", {"iterations": 20, "lr": 0.1}, {"sum_over": "features"}),
    ("adaround", {"iterations": 20, "lr": 0.1}, {"padding": False}),
    ("adaround", {"iterations": 20, "lr": 0.1}, {"everything": False}),
    ("range_qat", {}, {"weights": "mse_grid"}),
]


@pytest.mark.parametrize(
    ("name", "before", "changed"), SWITCHES, ids=[f"{n}-{c}" for n, _, c in SWITCHES]
)
def test_a_setting_changes_something(
    name: str, before: dict[str, Any], changed: dict[str, Any]
) -> None:
    """Or an ablation would compare a cell with itself."""
    bits = {"w_bits": 4, "a_bits": 32 if name == "adaround" else 8}
    digests = []
    for settings in (before, {**before, **changed}):
        method = method_of(name, **bits, settings=settings)
        model = placed(method)
        method.find_weights(model, draw())
        method.find_activations(model, draw())
        digests.append(digest(model.state_dict()))
    assert digests[0] != digests[1]


@pytest.mark.parametrize("name", text_methods())
def test_every_setting_is_tried(name: str) -> None:
    tried = {setting for _, _, changed in SWITCHES for setting in changed}
    assert set(METHODS.get(name).Settings.model_fields) - tried <= {"clamp_ratings"}


def test_ratings_from_0_to_5_alone_are_clamped_when_quantized() -> None:
    class Similarity(Calibration):
        limits = (0.0, 5.0)

    stsb = Similarity(draw(rating=True).job)
    for variant, source, clamped in (
        ("released", stsb, True),
        ("corrected", stsb, False),
        ("released", draw(rating=True), False),
        ("released", draw(), False),
    ):
        method = method_of("minmax_ptq", w_bits=8, a_bits=8, variant=variant)
        model = placed(method, classes=1)
        method.initialise(model, source)
        assert model.clamp_logits is clamped


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


def test_places_take_bits_where_nothing_else_is_quantized() -> None:
    method = method_of("minmax_ptq", w_bits=32, a_bits=32, settings={"places": "h0=4"})
    model = calibrated(method)
    assert [n for n, s in model.places.items() if s.quantizer is not None] == ["h0"]


# Bad input


BAD_PLACES = ("x", "x=", "=8", "x=8.5", "x=1", "x=0", "x=17", "x=33", "x 16", "x=fp16", "x=-4", "=")
EARLY: list[tuple[str, dict[str, Any], str]] = [
    *(("minmax_ptq", {"places": p}, "bits from 2 to 16 or fp32") for p in BAD_PLACES),
    ("range_qat", {"groups": 6}, "Unknown range_qat setting field 'groups'; valid: activations"),
    ("minmax_ptq", {"weights": "mse"}, "Input should be 'mse_golden', 'mse_grid'"),
    ("minmax_ptq", {"candidates": 0, "weights": "mse_grid"}, "needs 1 candidate or more"),
    ("minmax_ptq", {"percentile": 60.0}, "it can be 0 to less than 50"),
    ("minmax_ptq", {"percentile": -1.0}, "it can be 0 to less than 50"),
    ("minmax_ptq", {"percentile": 1.0, "activations": "all_minmax"}, "by current_minmax alone"),
    ("adaround", {"iterations": 0}, "needs 1 iteration"),
    ("adaround", {"samples": 0}, "needs 1 text or more"),
    ("adaround", {"sum_over": "heads"}, "Registered: features, tokens"),
    ("peg", {"permute": "h"}, "Input should be 'none', 'own' or 'shared'"),
    ("peg", {"groups": 2.5}, "valid integer"),
]


@pytest.mark.parametrize(("name", "settings", "said"), EARLY)
def test_a_setting_that_cannot_be_is_refused_before_anything_is_paid_for(
    name: str, settings: dict[str, Any], said: str
) -> None:
    with pytest.raises(UsageError, match=said) as caught:
        method_of(name, w_bits=8, a_bits=8, settings=settings)
    assert one_sentence(caught.value)


AT_PLACING: list[tuple[str, dict[str, Any], str]] = [
    ("peg", {"groups": 7}, r"7 groups do not divide an embedding of width 96; these do: 1, 2, 3"),
    ("peg", {"groups": 97}, r"97 groups do not divide .*these do: .*, 48, 96"),
    ("peg", {"groups": -1}, "-1 embedding groups cannot be; 1 or more can"),
    *(("peg", {"at": f"h,{p}"}, f"{p}0 has no embedding axis") for p in "isp"),
    ("peg", {"at": "h,wh"}, "wh0 has no embedding axis"),
    ("peg", {"at": "h,C"}, "C has no embedding axis"),
    ("peg", {"at": "x,hh"}, r"Unknown place 'hh'.*number, 0 to 1, as in x1"),
    ("peg", {"at": "h,x2"}, r"Unknown place 'x2'"),
    ("peg", {"at": " , "}, "names no place to group"),
    ("peg", {"at": "x,y"}, "its order from the FFN output h of the same layer"),
    ("peg", {"at": "h0,y0,x1"}, "its order from the FFN output h of the same layer"),
    ("peg", {"at": "h,n"}, "its order from the FFN output h of the same layer"),
    ("peg", {"places": "h=fp32"}, "its order from the FFN output h of the same layer"),
    ("minmax_ptq", {"places": "xx=8"}, r"Unknown place 'xx'.*Registered: .*attn_norm"),
    ("minmax_ptq", {"leave_out": "q7"}, "Unknown place 'q7'"),
    ("mixed_precision", {"places": "x=16,k9=16"}, "Unknown place 'k9'"),
]


@pytest.mark.parametrize(("name", "settings", "said"), AT_PLACING)
def test_a_place_that_cannot_be_is_refused(name: str, settings: dict[str, Any], said: str) -> None:
    method = method_of(name, w_bits=8, a_bits=8, settings=settings)
    with pytest.raises(UsageError, match=said) as caught:
        placed(method)
    assert one_sentence(caught.value)


@pytest.mark.parametrize("name", text_methods())
@pytest.mark.parametrize("bits", [1, 17, 24])
def test_bits_that_no_quantizer_has_are_refused(name: str, bits: int) -> None:
    for fields in ({"w_bits": bits, "a_bits": 8}, {"w_bits": 8, "a_bits": bits}):
        with pytest.raises(UsageError, match=f"to {bits} bits; it can do 2, 3.* 16, 32"):
            method_of(name, **fields)
    with pytest.raises(UsageError, match="2 to 16"):
        placed(method_of(name, w_bits=8, a_bits=8, e_bits=bits))


@pytest.mark.parametrize("name", text_methods())
@pytest.mark.parametrize("weights", ["mse_golden", "mse_grid", "current_minmax"])
def test_weights_with_nan_are_refused(name: str, weights: str) -> None:
    method = method_of(name, w_bits=4, a_bits=8, settings={"weights": weights})
    model = placed(method)
    with torch.no_grad():
        model.get_parameter("bert.encoder.layer.1.output.dense.weight")[3, 5] = torch.nan
    with pytest.raises(UsageError, match="NaN") as caught:
        method.initialise(model, draw())
    assert one_sentence(caught.value)


@pytest.mark.parametrize("name", text_methods())
def test_without_texts_nothing_is_calibrated(name: str) -> None:
    class Nothing(Calibration):
        def batches(self, size: int, count: int) -> list[Any]:
            return []

    method = method_of(name, w_bits=4, a_bits=8)
    with pytest.raises(UsageError, match="Calibration needs at least one text"):
        method.initialise(placed(method), Nothing(draw().job))


@pytest.mark.parametrize("name", text_methods())
def test_a_method_and_a_model_of_another_kind_do_not_meet(name: str) -> None:
    bits = {"w_bits": 8, "a_bits": 8, "variant": "released"}
    for model, task in (
        ("deit_pico", "fashion"),
        ("deit_pico", "snippets"),
        ("bert_pico", "fashion"),
    ):
        with pytest.raises(UsageError, match=r"is about (text|image)"):
            accepted(make_cell(method=name, model=model, task=task, **bits))
    with pytest.raises(UsageError, match=r"lsq does image and bert_pico takes text"):
        accepted(make_cell(method="lsq", model="bert_pico", task="snippets", w_bits=8, a_bits=8))
    image: Any = torch.nn.Linear(2, 2)
    with pytest.raises(UsageError, match="quantizes text models alone"):
        method_of(name, w_bits=8, a_bits=8).place(image)


@pytest.mark.parametrize("name", text_methods())
def test_stored_ranges_are_read_by_learned_ones_alone(name: str) -> None:
    cell = make_cell(
        method=name,
        model="bert_pico",
        task="snippets",
        w_bits=8,
        a_bits=8,
        variant="released",
        recipe=Recipe(start="quantized"),
    )
    if METHODS.get(name).learned:
        assert METHODS.get(name)(cell).learned
    else:
        with pytest.raises(UsageError, match="start from fp32 or pretrained"):
            METHODS.get(name)(cell)


def one_sentence(problem: LowbitError) -> bool:
    text = str(problem)
    return text.endswith(".") and "\n" not in text
