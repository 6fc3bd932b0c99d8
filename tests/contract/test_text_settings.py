"""Settings of the text methods: each changes something, and those that cannot be are refused."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from calibrated_texts import (
    calibrated,
    draw,
    method_of,
    one_sentence,
    placed,
    text_methods,
)

from suite.cell import Recipe, make_cell
from suite.errors import UsageError
from suite.models.checkpoint import digest
from suite.registry import METHODS
from suite.runner import method_of as accepted
from suite.train import Calibration

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
    assert set(METHODS.get(name).Settings.model_fields) - tried <= {"clamp_ratings", "joint_norms"}


def test_ratings_from_0_to_5_alone_are_clamped_when_quantized() -> None:
    class Similarity(Calibration):
        limits = (0.0, 5.0)

    stsb = Similarity(draw(rating=True).job)
    for variant, ratings, clamped in (
        ("released", stsb, True),
        ("corrected", stsb, False),
        ("released", draw(rating=True), False),
        ("released", draw(), False),
    ):
        method = method_of("minmax_ptq", w_bits=8, a_bits=8, variant=variant)
        model = placed(method, classes=1)
        method.initialise(model, ratings)
        assert model.clamp_logits is clamped


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
