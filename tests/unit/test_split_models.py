"""Narrow, ternary and split encoders: shapes, outputs, places and sizes."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import nn

from suite.audit import audit
from suite.cell import make_cell
from suite.errors import UsageError
from suite.model_size import (
    LAST,
    MATRICES,
    REST,
    RULES,
    TABLES,
    WORDS,
    Counted,
    megabytes,
    sizes_of,
)
from suite.models.encoder import TextModel, text_model
from suite.models.narrow import kept_heads, narrow
from suite.models.slot import slots
from suite.models.split import split_model
from suite.models.text_inputs import open_inputs, readers
from suite.quant.calibration import calibrate
from suite.registry import METHODS
from tests.unit.small_encoders import batch, source

FAMILIES = ("bert", "roberta")


def model_of(family: str = "bert", **fields: Any) -> TextModel:
    return text_model(source(family, **fields)).eval()


def method(name: str, **fields: Any) -> Any:
    return METHODS.get(name)(make_cell(method=name, model="small", task="some", **fields))


def ternary(a_bits: int, **settings: Any) -> Any:
    fields = {"w_bits": 2, "a_bits": a_bits, "variant": "binarybert"}
    return method("ternarybert", **fields, settings={"width": 0.5, **settings})


@pytest.mark.parametrize("family", FAMILIES)
def test_a_model_whose_other_heads_and_units_are_silent_loses_nothing(family: str) -> None:
    model = model_of(family)
    for layer in model.body.layers:
        depth = layer.attention.self.query.out_features // layer.attention.self.heads
        with torch.no_grad():
            layer.attention.output.dense.weight[:, depth : 3 * depth] = 0  # heads 1 and 2
            layer.output.dense.weight[:, ::2] = 0
    before = model(batch())
    narrow(model, 0.5)
    torch.testing.assert_close(model(batch()), before)
    layer = model.body.layers[0]
    assert layer.attention.self.heads == 2
    assert layer.intermediate.dense.out_features == 20
    assert layer.output.dense.in_features == 20
    assert model.places["q0"].place.width == 12


def test_the_heads_with_the_largest_weights_stay() -> None:
    model = model_of()
    layer: Any = model.body.layers[1]
    with torch.no_grad():
        layer.attention.self.value.weight[6:12] *= 10
        layer.attention.self.value.weight[18:24] *= 10
    assert kept_heads(layer, 0.5).tolist() == [1, 3]


def test_half_of_an_odd_number_of_heads_is_refused() -> None:
    model = model_of(num_attention_heads=3)
    with pytest.raises(UsageError, match=r"0\.5 leaves no whole number of 3 attention heads") as e:
        narrow(model, 0.5)
    assert "\n" not in str(e.value)


def test_other_families_are_refused_in_one_sentence() -> None:
    mobile = text_model(source("mobilebert")).eval()
    with pytest.raises(UsageError, match="of the type bert or roberta"):
        ternary(8).place(mobile)
    image: Any = nn.Linear(2, 2)
    with pytest.raises(UsageError, match="of the type bert or roberta"):
        ternary(8).place(image)


@pytest.mark.parametrize("family", FAMILIES)
def test_slots_at_inputs_change_neither_outputs_nor_parameter_names(family: str) -> None:
    model = model_of(family)
    before, names = model(batch()), [name for name, _ in model.named_parameters()]
    open_inputs(model)
    assert torch.equal(model(batch()), before)
    assert [name for name, _ in model.named_parameters()] == names
    assert len(model.places) == len(slots(model))
    model.set_dropout(hidden=0.1, attention=0.3)
    assert model.body.layers[0].attention.self.dropout[0].p == 0.3


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("a_bits", [32, 8, 4])
def test_a_split_model_computes_what_the_ternary_one_did(family: str, a_bits: int) -> None:
    model = model_of(family)
    ternary(a_bits).place(model)
    calibrate(model, batch())
    with torch.no_grad():
        before = model(batch())
        binary = method("binarybert", w_bits=1, a_bits=a_bits, variant="released")
        found = split_model(model, "mean")
        binary.fill(model)
        binary.settle(model)
        after = model(batch())
    torch.testing.assert_close(after, before, atol=2e-5, rtol=1e-4)
    assert found.weights == 14
    assert found.broken == 0
    assert len(model.places) == len(slots(model))
    report = audit(model, batch())
    assert report.ok, report.problems
    weights = {
        s.quantizer.bits for s in model.places.values() if s.kind == "weight" and s.quantizer
    }
    assert weights == {1}


def test_query_key_and_value_of_both_halves_look_at_their_input_once() -> None:
    model = model_of()
    method("binarybert", w_bits=1, a_bits=8, variant="released").place(model)
    groups = list(readers(model))
    assert sorted(len(group) for group in groups) == [1, 1, *[2] * 7, 6, 6]
    for group in groups:
        assert len({id(slot.quantizer.extremes) for slot in group}) == 1


# Sizes


BASE = [
    Counted(WORDS, 30_522 * 768, 1),
    Counted(WORDS, 30_522 * 768, 1, half=1),
    Counted(TABLES, 514 * 768, 32),
    Counted(MATRICES, 84_934_656 + 2 * 589_824, 1),
    Counted(LAST, 2 * 768, 32),
    Counted(REST, 120_000, 32),
]
"""BERT-base after the split: twice half of 84.9 M matrix weights, twice the pooler and words."""


def test_binarybert_on_bert_base_has_the_papers_sizes() -> None:
    """16.5 MB in BinaryBERT's and 13.4 in BiT's table, whose rules are not written down."""
    assert megabytes(BASE, RULES["BinaryBERT"]) == pytest.approx(16.6, abs=0.1)
    assert megabytes(BASE, RULES["BiT"]) == pytest.approx(13.7, abs=0.1)


def test_a_models_size_counts_every_parameter_at_its_bits() -> None:
    model = model_of()
    full = sum(p.numel() for p in model.parameters())
    found = sizes_of(model)["model_size"]
    assert found["P2"]["mb"] == pytest.approx(full * 4e-6, abs=1e-4)
    method("minmax_ptq", w_bits=8, a_bits=8, variant="released").place(model)
    small = sizes_of(model)["model_size"]["P2"]
    biases = sum(p.numel() for n, p in model.named_parameters() if n.endswith(".bias"))
    assert small["mb"] == pytest.approx((full - biases) * 1e-6 + biases * 4e-6, abs=1e-4)


def test_a_split_models_words_count_twice_for_binarybert_and_once_for_bit() -> None:
    model = model_of()
    method("binarybert", w_bits=1, a_bits=8, variant="released").place(model)
    found = sizes_of(model)["model_size"]
    words = 60 * 24 / 8e6
    assert found["BinaryBERT"]["mb"] - found["BiT"]["mb"] == pytest.approx(words, abs=2e-4)
    assert sizes_of(nn.Linear(2, 2)) == {}
