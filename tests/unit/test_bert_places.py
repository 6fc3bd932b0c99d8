"""Where quantizers sit in BERT, RoBERTa and MobileBERT, and that nothing goes past them."""

from __future__ import annotations

import pytest
import torch
from small_encoders import batch, outputs_of, source
from torch import nn
from transformers import BertConfig, BertForSequenceClassification

from suite.errors import UsageError
from suite.models.encoder import TextModel, text_model
from suite.models.slot import quantized_weights


def counts(model: TextModel) -> tuple[int, int]:
    kinds = [slot.kind for slot in model.places.values()]
    return kinds.count("activation"), kinds.count("weight")


def test_bert_base_has_161_activation_and_102_weight_places() -> None:
    config = BertConfig(vocab_size=100)
    model = text_model(
        BertForSequenceClassification._from_config(config, attn_implementation="eager")
    )
    assert counts(model) == (161, 102)
    assert sum(len(model.addressed(letter)) for letter in "xhy") == 36


def test_two_layers_have_31_activation_and_22_weight_places() -> None:
    assert counts(text_model(source())) == (31, 22)


@pytest.mark.parametrize("layers", [1, 3, 5])
def test_places_follow_the_number_of_layers(layers: int) -> None:
    model = text_model(source(num_hidden_layers=layers))
    assert counts(model) == (5 + 13 * layers, 6 + 8 * layers)


def test_roberta_has_as_many_places_as_bert() -> None:
    assert counts(text_model(source("roberta"))) == (31, 22)


def test_the_place_of_robertas_head_is_before_the_tanh_unless_asked_otherwise() -> None:
    released = outputs_of(text_model(source("roberta")), ["P"])["P"]
    mended = outputs_of(text_model(source("roberta"), tanh_first=True), ["P"])["P"]
    torch.testing.assert_close(mended, released.tanh())


def test_mobilebert_has_32_activation_and_23_weight_places_a_layer() -> None:
    assert counts(text_model(source("mobilebert"))) == (4 + 2 * 32 + 2, 5 + 2 * 23 + 2)


def test_separate_norm_quantizers_add_a_place_for_each_bias() -> None:
    shared = text_model(source("mobilebert"))
    own = text_model(source("mobilebert"), shared_norms=False)
    norms = sum(type(m).__name__ == "QuantNoNorm" for m in own.modules())
    assert norms == 1 + 2 * 8
    assert counts(own) == (counts(shared)[0], counts(shared)[1] + norms)


def test_a_shared_norm_quantizer_sees_the_weight_and_then_the_bias() -> None:
    model = text_model(source("mobilebert"))
    norm = model.get_submodule("mobilebert.embeddings.LayerNorm")
    seen: list[torch.Tensor] = []
    norm.weight_slot.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
    model(batch())
    assert seen[0] is norm.weight
    assert seen[1] is norm.bias


def test_x_h_and_y_are_ffn_input_output_and_residual_sum() -> None:
    model = text_model(source()).eval()
    seen = outputs_of(model, ["x1", "h1", "y1", "z1"])
    ffn = model.get_submodule("bert.encoder.layer.1")
    torch.testing.assert_close(seen["h1"], ffn.output.dense(ffn.intermediate(seen["x1"])))
    torch.testing.assert_close(seen["y1"], seen["h1"] + seen["x1"])
    torch.testing.assert_close(seen["z1"], ffn.output.LayerNorm(seen["y1"]))


def test_scores_are_taken_before_scaling_and_mask_and_probabilities_before_dropout() -> None:
    model = text_model(source(attention_probs_dropout_prob=0.5)).train()
    seen = outputs_of(model, ["q0", "k0", "s0", "p0"])
    q, k = (seen[name].unflatten(2, (4, -1)).transpose(1, 2) for name in ("q0", "k0"))
    torch.testing.assert_close(seen["s0"], q @ k.transpose(-1, -2))
    torch.testing.assert_close(seen["p0"].sum(-1), torch.ones(3, 4, 9))
    assert float(seen["p0"][0, :, :, 6:].detach().max()) == 0.0


@pytest.mark.parametrize("act", ["gelu", "gelu_new", "gelu_pytorch_tanh", "relu"])
def test_the_ffn_place_is_behind_the_activation_function_whatever_its_class(act: str) -> None:
    model = text_model(source(hidden_act=act)).eval()
    seen = outputs_of(model, ["x0", "i0"])
    block = model.get_submodule("bert.encoder.layer.0.intermediate")
    torch.testing.assert_close(seen["i0"], block.act(block.dense(seen["x0"])))
    assert float(seen["i0"].detach().min()) > -0.2
    assert model.places["wi0"].place.act is block.act


@pytest.mark.parametrize("family", ["bert", "roberta", "mobilebert"])
def test_no_tensor_goes_past_its_place(family: str) -> None:
    options = {"shared_norms": False} if family == "mobilebert" else {}
    model = text_model(source(family), **options).eval()
    inputs = batch()
    with torch.no_grad():
        hidden, logits = model.encode(inputs), model(inputs)
        for name, slot in model.places.items():
            slot.quantizer = Marker()
            # a saturated tanh of the pooler may hide a change of the hidden states
            same = torch.allclose(model.encode(inputs), hidden, atol=1e-6)
            same = same and torch.allclose(model(inputs), logits, atol=1e-6)
            slot.quantizer = None
            assert not same, name


class Marker(nn.Module):
    """Neither a scale nor a shift, which a norm or a softmax would undo."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.cos(3 * x)


def test_every_filled_weight_place_is_found_as_a_quantized_weight() -> None:
    model = text_model(source())
    for slot in model.places.values():
        slot.quantizer = Marker()
    found = {id(quantizer) for _, _, quantizer in quantized_weights(model)}
    wanted = {id(slot.quantizer) for slot in model.places.values() if slot.kind == "weight"}
    assert found == wanted


def test_a_place_is_addressed_by_its_name_letter_role_or_layer() -> None:
    model = text_model(source())
    names = {
        word: [slot.place.name for slot in model.addressed(word)]
        for word in ("x", "x1", "ffn_residual", "e", "Et", "C", "wx")
    }
    assert names["x"] == ["x0", "x1"]
    assert names["x1"] == ["x1"]
    assert names["ffn_residual"] == ["y0", "y1"]
    assert names["e"] == ["e_type", "e_position"]
    assert names["Et"] == ["Et"]
    assert names["C"] == ["C"]
    assert names["wx"] == ["wx0", "wx1"]
    assert len(model.addressed("L1")) == 13
    assert {slot.kind for slot in model.addressed("L")} == {"activation"}


def test_an_unknown_place_is_answered_with_the_valid_ones() -> None:
    with pytest.raises(UsageError, match=r"Unknown place 'x7'\..* fc1, .* x, y, z\. .* 0 to 1"):
        text_model(source()).addressed("x7")


def test_only_places_of_the_embeddings_width_have_an_embedding_axis() -> None:
    places = {name: slot.place for name, slot in text_model(source()).places.items()}
    with_axis = {name for name, place in places.items() if place.axis == 2}
    assert with_axis == {"e_type", "e_position", "n"} | {
        f"{letter}{layer}" for letter in "qkvcguxhyz" for layer in (0, 1)
    }
    assert places["P"].axis == 1
    assert all(places[name].width == 24 for name in with_axis)
