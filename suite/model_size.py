"""The size of a text model as P2, BinaryBERT and BiT count it, from the bits at every place.

The papers count different things, and none says so in its table: with 1-bit weights BERT-base is
16.6 MB by BinaryBERT's rule (16.5 published) and 13.6 MB by BiT's (13.4). Megabytes of 10^6 bytes.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from torch import nn

from suite.models.encoder import TextModel
from suite.models.text_layers import TextSlot

FULL = 32

WORDS, TABLES, MATRICES, LAST, REST = "words", "tables", "matrices", "classifier", "rest"
"""Word embeddings; those of positions and segments; weights of encoder and pooler; the
classifier's; norms and biases."""

KINDS = {
    "word_embedding_weight": WORDS,
    "position_embedding_weight": TABLES,
    "type_embedding_weight": TABLES,
    "logits_weight": LAST,
}
"""Role of a weight's place -> what it is, where it is neither a matrix nor a norm."""


@dataclass(frozen=True)
class Rule:
    """counted: what has a size at all; once: of a split table of words the first half alone."""

    counted: frozenset[str]
    once: bool
    words: str


RULES = {
    "P2": Rule(
        frozenset({WORDS, TABLES, MATRICES, LAST, REST}),
        False,
        "every parameter at the bits of its place, 32 where it has none",
    ),
    "BinaryBERT": Rule(
        frozenset({WORDS, MATRICES}),
        False,
        "words, encoder and pooler weights, every half of a split one; FP32 tables, classifier, "
        "norms and biases not counted",
    ),
    "BiT": Rule(
        frozenset({WORDS, MATRICES}), True, "as BinaryBERT, but a split table of words once"
    ),
}


@dataclass(frozen=True)
class Counted:
    """Some parameters of one kind; half: which part of a split weight they are."""

    kind: str
    elements: int
    bits: int
    half: int = 0


def sizes_of(model: nn.Module) -> dict[str, Any]:
    """`model_size`: MB by every rule, and the rule in words; nothing for models of other kinds."""
    if not isinstance(model, TextModel):
        return {}
    parts = list(counted(model))
    found = {
        name: {"mb": megabytes(parts, rule), "rule": rule.words} for name, rule in RULES.items()
    }
    return {"model_size": found}


def megabytes(parts: list[Counted], rule: Rule) -> float:
    """10^6 bytes of the parts that the rule counts."""
    chosen = (
        p
        for p in parts
        if p.kind in rule.counted and not (rule.once and p.kind == WORDS and p.half)
    )
    return round(sum(p.elements * p.bits for p in chosen) / 8e6, 4)


def counted(model: nn.Module) -> Iterator[Counted]:
    """Every parameter of the model but the quantizers' own."""
    for path, module in model.named_modules():
        if ".quantizer" in path:
            continue
        for name, parameter in module.named_parameters(recurse=False):
            slot = getattr(module, "weight_slot", None)
            if name == "weight" and isinstance(slot, TextSlot):
                yield _weight(slot, parameter.numel(), parameter.ndim)
            else:
                yield Counted(REST, parameter.numel(), FULL)


def _weight(slot: TextSlot, elements: int, axes: int) -> Counted:
    kind = KINDS.get(slot.role, MATRICES if axes > 1 else REST)
    bits = FULL if slot.quantizer is None else int(slot.quantizer.bits)
    return Counted(kind, elements, bits, half=int(slot.place.name.endswith(".1")))
