"""Text models compute what transformers computes, and whatever would bypass a place is refused."""

from __future__ import annotations

import pytest
import torch
from small_encoders import SMALL, batch, source
from torch import nn
from transformers import (
    BertConfig,
    BertModel,
    DistilBertConfig,
    DistilBertForSequenceClassification,
)

from suite.errors import UsageError
from suite.models.encoder import text_model


@pytest.mark.parametrize("family", ["bert", "roberta", "mobilebert"])
def test_with_empty_slots_the_outputs_are_those_of_transformers(family: str) -> None:
    theirs = source(family)
    inputs = batch()
    with torch.no_grad():
        expected = theirs(**inputs, output_hidden_states=True)
        ours = text_model(theirs)
        torch.testing.assert_close(ours(inputs), expected.logits, atol=1e-5, rtol=1e-5)
        states = ours.hidden_states(inputs)
        assert len(states) == len(expected.hidden_states)
        for mine, their in zip(states, expected.hidden_states, strict=True):
            torch.testing.assert_close(mine, their, atol=1e-5, rtol=1e-4)
        torch.testing.assert_close(ours.encode(inputs), states[-1])


@pytest.mark.parametrize("family", ["bert", "roberta", "mobilebert"])
def test_parameters_keep_the_names_of_transformers(family: str) -> None:
    theirs = source(family)
    names = set(theirs.state_dict())
    assert set(text_model(theirs).state_dict()) == names


def test_a_model_whose_attention_is_not_eager_is_refused() -> None:
    with pytest.raises(UsageError, match=r"'sdpa'.*bypassed.*attn_implementation='eager'"):
        text_model(source(attention="sdpa"))


def test_a_decoder_is_refused() -> None:
    with pytest.raises(UsageError, match="decoder"):
        text_model(source(is_decoder=True))


def test_a_family_without_known_places_is_refused() -> None:
    config = DistilBertConfig(vocab_size=60, dim=24, n_layers=1, n_heads=4, hidden_dim=40)
    other = DistilBertForSequenceClassification._from_config(config, attn_implementation="eager")
    with pytest.raises(UsageError, match=r"'distilbert'.*bert, .*roberta"):
        text_model(other)


def test_a_bare_encoder_is_refused() -> None:
    bare = BertModel._from_config(BertConfig(**SMALL), attn_implementation="eager")
    with pytest.raises(UsageError, match="BertModel"):
        text_model(bare)


def test_a_layer_whose_weight_no_quantizer_reaches_is_refused() -> None:
    class Adapted(nn.Linear):
        pass

    theirs = source()
    theirs.bert.encoder.layer[0].output.dense = Adapted(40, 24)
    with pytest.raises(UsageError, match=r"bert\.encoder\.layer\.0\.output\.dense.*Adapted"):
        text_model(theirs)


def test_an_adapter_without_effect_yet_is_refused() -> None:
    theirs = source()
    theirs.bert.encoder.layer[0].adapter = nn.Linear(24, 24)
    with pytest.raises(UsageError, match=r"no place in its family .*layer\.0\.adapter"):
        text_model(theirs)


def test_a_wrapped_layer_is_refused() -> None:
    class Wrapped(nn.Module):
        def __init__(self, inner: nn.Linear) -> None:
            super().__init__()
            self.inner = inner
            self.in_features, self.out_features = inner.in_features, inner.out_features
            self.bias = None

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.inner(x)

    theirs = source()
    theirs.bert.pooler.dense = Wrapped(theirs.bert.pooler.dense)
    with pytest.raises(UsageError, match="Wrapped where a layer of"):
        text_model(theirs)


def test_a_model_that_computes_something_else_is_refused() -> None:
    theirs = source()
    theirs.bert.encoder.layer[1].output.register_forward_hook(lambda *args: args[2] * 1.01)
    with pytest.raises(UsageError, match="differ from those that transformers computes"):
        text_model(theirs)


def test_more_tokens_than_positions_are_refused_with_the_limit() -> None:
    with pytest.raises(UsageError, match="17 tokens, but this model takes at most 16"):
        text_model(source())(batch(tokens=17))
    with pytest.raises(UsageError, match="17 tokens, but this model takes at most 16"):
        text_model(source("roberta"))(batch(tokens=17))


def test_ratings_are_clamped_only_when_asked() -> None:
    model = text_model(source(num_labels=1)).eval()
    with torch.no_grad():
        model.get_parameter("classifier.bias").fill_(7.0)
        assert float(model(batch()).min()) > 5.0
        model.clamp_logits = True
        assert model(batch()).tolist() == [[5.0]] * 3


def test_dropout_rates_can_be_set_apart() -> None:
    model = text_model(source())
    model.set_dropout(hidden=0.3, attention=0.0)
    rates = {n: m.p for n, m in model.named_modules() if isinstance(m, nn.Dropout)}
    assert rates.pop("bert.encoder.layer.0.attention.self.dropout") == 0.0
    assert rates.pop("bert.encoder.layer.1.attention.self.dropout") == 0.0
    assert set(rates.values()) == {0.3}
    assert "dropout" in rates


def test_gradients_reach_every_parameter() -> None:
    model = text_model(source())
    model(batch()).sum().backward()
    assert all(p.grad is not None for p in model.parameters())


def test_missing_mask_and_segments_mean_all_tokens_of_one_segment() -> None:
    model = text_model(source()).eval()
    ids = batch()["input_ids"]
    whole = {"input_ids": ids, "attention_mask": torch.ones_like(ids)}
    torch.testing.assert_close(model({"input_ids": ids}), model(whole))
