"""Text classifiers on transformers' encoders: what BERT, RoBERTa and MobileBERT have in common."""

from __future__ import annotations

import importlib
from abc import ABC, abstractmethod
from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor, nn

from suite.errors import UsageError, unknown
from suite.models.slot import slots
from suite.models.text_layers import TextSlot

FAMILIES = {
    "bert": "suite.models.bert:bert",
    "roberta": "suite.models.roberta:roberta",
    "xlm-roberta": "suite.models.roberta:roberta",
    "camembert": "suite.models.roberta:roberta",
    "mobilebert": "suite.models.mobilebert:mobilebert",
}
"""transformers' model type -> the function that places slots in it."""

RATING = (0.0, 5.0)
"""Range that P2's code clamps the logit of a regression to (P2 code: quantized_bert.py:599)."""

PLAIN = (nn.Linear, nn.Embedding, nn.LayerNorm)
AGREEMENT = 1e-4


class Body(nn.Module):
    """Embeddings, encoder layers and pooler under the names that transformers gives them."""

    def __init__(
        self, embeddings: nn.Module, layers: Iterable[nn.Module], pooler: nn.Module | None
    ) -> None:
        super().__init__()
        self.embeddings = embeddings
        self.encoder = nn.ModuleDict({"layer": nn.ModuleList(layers)})
        self.pooler = pooler

    @property
    def layers(self) -> Any:
        return self.encoder["layer"]


class TextModel(nn.Module, ABC):
    """A sequence classifier with named slots; parameter names are those of transformers.

    Inputs are dicts of int64 tensors [rows, tokens]: `input_ids` and, where there are any,
    `attention_mask` (1: a token, 0: padding) and `token_type_ids`.

    clamp_logits: clamp the logits to [0, 5], as the released code does in a quantized BERT that
        predicts ratings, and only there.
    output_order: the checkpoint's output that became each class, where it had another order.
    """

    output_order: list[int] | None = None

    def __init__(self, prefix: str, body: Body) -> None:
        super().__init__()
        self.prefix = prefix
        self.add_module(prefix, body)
        self.clamp_logits = False

    @property
    def body(self) -> Any:
        return getattr(self, self.prefix)

    def forward(self, inputs: dict[str, Tensor]) -> Tensor:
        """Logits [rows, outputs]."""
        return self.classify(self.encode(inputs))

    def classify(self, hidden: Tensor) -> Tensor:
        """Logits [rows, outputs] from the last hidden states, clamped if they are to be."""
        logits = self.head(hidden)
        return logits.clamp(*RATING) if self.clamp_logits else logits

    def encode(self, inputs: dict[str, Tensor]) -> Tensor:
        """The last layer's hidden states [rows, tokens, width]."""
        hidden, mask = self._embed(inputs)
        for layer in self.body.layers:
            hidden = layer(hidden, mask)
        return hidden

    def hidden_states(self, inputs: dict[str, Tensor]) -> list[Tensor]:
        """What leaves the embeddings and each layer, in order."""
        hidden, mask = self._embed(inputs)
        states = [hidden]
        for layer in self.body.layers:
            states.append(layer(states[-1], mask))
        return states

    @abstractmethod
    def head(self, hidden: Tensor) -> Tensor:
        """Unclamped logits [rows, outputs] from the last hidden states."""

    @property
    def places(self) -> dict[str, TextSlot]:
        """Every slot by the name of its place, in the order of registration."""
        found = (slot for slot in slots(self).values() if isinstance(slot, TextSlot))
        return {slot.place.name: slot for slot in found}

    def addressed(self, word: str) -> list[TextSlot]:
        """The slots that `word` means: a place, a letter (all layers), a role, `L` or `L3`.

        Raises UsageError with all letters and roles for one that means none.
        """
        chosen = [slot for slot in self.places.values() if word in slot.place.words]
        if not chosen:
            words = {word for slot in self.places.values() for word in slot.place.words}
            roles = {slot.role for slot in self.places.values()}
            letters = {w for w in words if w in roles or not any(c.isdigit() for c in w)}
            last = len(self.body.layers) - 1
            raise UsageError(
                f"{unknown('place', word, letters)} A letter of a layer may carry the layer's "
                f"number, 0 to {last}, as in x{last}."
            )
        return chosen

    def set_dropout(self, *, hidden: float, attention: float) -> None:
        """Set the rates of all dropouts: of attention probabilities, and of everything else."""
        for name, module in self.named_modules():
            if isinstance(module, nn.Dropout):
                module.p = attention if ".attention.self." in f".{name}" else hidden

    def _embed(self, inputs: dict[str, Tensor]) -> tuple[Tensor, Tensor]:
        ids = inputs["input_ids"]
        types = inputs.get("token_type_ids")
        mask = inputs.get("attention_mask")
        types = torch.zeros_like(ids) if types is None else types
        mask = torch.ones_like(ids) if mask is None else mask
        hidden = self.body.embeddings(ids, types)
        return hidden, additive_mask(mask, hidden.dtype)


def additive_mask(mask: Tensor, dtype: torch.dtype) -> Tensor:
    """[rows, tokens] of ones and zeros -> [rows, 1, 1, tokens] of zeros and the lowest number."""
    zero = torch.zeros((), dtype=dtype, device=mask.device)
    return torch.where(mask[:, None, None, :] > 0, zero, torch.finfo(dtype).min)


def check_length(tokens: int, longest: int) -> None:
    """Refuse a batch with more tokens a text than there are position embeddings."""
    if tokens > longest:
        raise UsageError(
            f"A text has {tokens} tokens, but this model takes at most {longest}; truncate the "
            f"texts to {longest} tokens or fewer."
        )


def text_model(source: Any, **options: Any) -> TextModel:
    """Place slots in a sequence classifier of transformers, whose parameters are taken over.

    With empty slots the result computes what `source` does, which is checked on a small batch.
    options go to the family's own function. Raises UsageError when a quantizer would be bypassed:
    attention that is not eager, a family or a layer without known places, or any difference
    between the two models' outputs.
    """
    place = _family(source)
    _check_config(source.config)
    _check_layers(source)
    probe = _probe(source.config)
    expected = _expected(source, probe)
    names = {name for name, _ in source.named_parameters()}
    model: TextModel = place(source, **options)
    _check_names(names, model)
    _check_same(model.eval(), probe, expected)
    return model.train(source.training)


def check_family(name: str) -> str:
    """Return the model type `name`, or raise UsageError if its places are not known."""
    if name not in FAMILIES:
        raise UsageError(
            f"A model of type {name!r} has not the places where quantizers sit; these types have: "
            f"{', '.join(sorted(FAMILIES))}."
        )
    return name


def _family(source: Any) -> Any:
    if not type(source).__name__.endswith("ForSequenceClassification"):
        raise UsageError(
            f"Quantizers are placed in sequence classifiers, and {type(source).__name__} is none; "
            "load the model with AutoModelForSequenceClassification."
        )
    module, _, function = FAMILIES[check_family(source.config.model_type)].partition(":")
    return getattr(importlib.import_module(module), function)


def _check_config(config: Any) -> None:
    attention = config._attn_implementation
    if attention != "eager":
        raise UsageError(
            f"The attention of this model is computed by {attention!r}, which never shows scores "
            "and probabilities, so their quantizers would be bypassed; load it with "
            "attn_implementation='eager'."
        )
    if getattr(config, "is_decoder", False) or getattr(config, "add_cross_attention", False):
        raise UsageError("This model is a decoder; only encoders have the expected places.")
    position = getattr(config, "position_embedding_type", None) or "absolute"
    if position != "absolute":
        raise UsageError(
            f"This model has {position!r} position embeddings, which enter the attention scores "
            "behind their quantizer; only 'absolute' ones can be quantized."
        )


def _check_layers(source: Any) -> None:
    """Every parameter must belong to a layer that has a twin, and to no other."""
    for name, module in source.named_modules():
        own = next(module.parameters(recurse=False), None)
        if own is None or type(module) in PLAIN or type(module).__name__ == "NoNorm":
            continue
        raise UsageError(
            f"Layer {name!r} is a {type(module).__module__}.{type(module).__name__}, whose weight "
            "no quantizer reaches; expected are plain torch.nn.Linear, Embedding and LayerNorm: "
            "merge adapters and load the weights without another library's quantization."
        )


def _check_names(theirs: set[str], model: TextModel) -> None:
    """Every parameter must have a place in the model with slots."""
    left = sorted(theirs ^ {name for name, _ in model.named_parameters()})
    if left:
        raise UsageError(
            f"{len(left)} parameters of this model have no place in its family (first: {left[0]}), "
            "so they would bypass the quantizers; merge adapters into the weights first."
        )


def _probe(config: Any) -> dict[str, Tensor]:
    """Two rows of a few tokens, the second padded."""
    ids = (torch.arange(12) * 7 + 5).view(2, 6) % config.vocab_size
    mask = torch.ones_like(ids)
    mask[1, 4:] = 0
    return {"input_ids": ids, "attention_mask": mask, "token_type_ids": torch.zeros_like(ids)}


@torch.no_grad()
def _expected(source: Any, probe: dict[str, Tensor]) -> tuple[Tensor, Tensor]:
    training = source.training
    source.eval()
    device = next(source.parameters()).device
    placed = {name: value.to(device) for name, value in probe.items()}
    out = source(**placed, output_hidden_states=True, return_dict=True)
    source.train(training)
    return out.hidden_states[-1], out.logits


@torch.no_grad()
def _check_same(
    model: TextModel, probe: dict[str, Tensor], expected: tuple[Tensor, Tensor]
) -> None:
    hidden, logits = expected
    ours = model.encode({name: value.to(hidden.device) for name, value in probe.items()})
    for mine, theirs in ((ours, hidden), (model.head(ours), logits)):
        error = float((mine - theirs).abs().max() / theirs.abs().max().clamp(min=1e-6))
        if not error <= AGREEMENT:
            raise UsageError(
                "With no quantizer placed, this model's outputs differ from those that "
                f"transformers computes by {error:.1e} of their largest value, so some part of it "
                f"would bypass the quantizers; only unmodified models of these types can be "
                f"quantized: {', '.join(sorted(FAMILIES))}."
            )
