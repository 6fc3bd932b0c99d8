"""P2's tiny BERT as its golden values describe it: variants, weights and quantizers."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from suite.certify.case import Case
from suite.models.encoder import TextModel
from suite.models.slot import QuantLinear
from suite.models.text_layers import Place, QuantLayerNorm, TextSlot
from suite.models.text_loading import model_from_config
from suite.quant.affine import AffineQuantizer
from suite.quant.groups import Groups
from suite.quant.ranges import Estimator, Range, Target, estimator

HEADS = 4
"""Attention heads; the weights do not tell."""

LAST_BITS = 1e-7
"""Relative size of a disturbance, about float32's resolution."""

OUTSIDE = {
    "Et": "bert.embeddings.word_embeddings",
    "Ep": "bert.embeddings.position_embeddings",
    "Es": "bert.embeddings.token_type_embeddings",
    "e_type": "bert.embeddings.sum_input_token_type_embd_act_quantizer",
    "e_position": "bert.embeddings.sum_pos_embd_act_quantizer",
    "n": "bert.embeddings.LayerNorm",
    "P": "bert.pooler.dense_act.0",
    "C": "classifier",
}
LAYER = {
    "q": "attention.self.query",
    "k": "attention.self.key",
    "v": "attention.self.value",
    "s": "attention.self.attn_scores_act_quantizer",
    "p": "attention.self.attn_probs_act_quantizer",
    "c": "attention.self.context_act_quantizer",
    "g": "attention.output.dense",
    "u": "attention.output.res_act_quantizer",
    "x": "attention.output.LayerNorm",
    "i": "intermediate.0",
    "h": "output.dense",
    "y": "output.res_act_quantizer",
    "z": "output.LayerNorm",
}
"""Letters of the places -> modules of the released code, outside and inside of a layer."""


@dataclass(frozen=True)
class Variant:
    """What a name like `W8A8_peg6_permute` says; `qat` stands for W4A8 with 2-bit words."""

    w_bits: int
    a_bits: int
    note: str
    e_bits: int | None = None

    @property
    def groups(self) -> int | None:
        found = re.match(r"peg(\d+)", self.note)
        return int(found[1]) if found else None

    @property
    def by_dimension(self) -> bool:
        """Whether x, h and y have ranges along their embedding axis."""
        return self.note.startswith("peg") or self.note == "perembd"

    @property
    def wide_bits(self) -> int:
        """Bits at x, h and y."""
        found = re.match(r"mp(\d+)", self.note)
        return int(found[1]) if found else self.a_bits


FULL = Variant(32, 32, "")


def variant_of(case: Case) -> Variant:
    """The variant of a case; FP32 has 32 bits."""
    name = case.prefix.split("/")[2]
    if name == "qat":
        return Variant(4, 8, "", e_bits=2)
    found = re.fullmatch(r"W(\d+)A(\d+)_?(\w*)", name)
    return Variant(int(found[1]), int(found[2]), found[3]) if found else FULL


def released_path(place: Place) -> str:
    """The module of the released code that quantizes at a place."""
    name = place.name.removeprefix("w")
    if place.layer is None:
        return OUTSIDE[name]
    return f"bert.encoder.layer.{place.layer}.{LAYER[name.removesuffix(str(place.layer))]}"


class Remembering:
    """An estimator that keeps the last range it gave."""

    def __init__(self, wrapped: Estimator) -> None:
        self.wrapped = wrapped
        self.last: Range | None = None

    def __call__(self, x: Tensor, target: Target) -> Range:
        self.last = self.wrapped(x, target)
        return self.last

    def reset(self) -> None:
        self.wrapped.reset()


def tiny_bert(head: Case) -> TextModel:
    """The tiny BERT with the file's weights; its dimensions are those of the weights."""
    words = head.tensor("state/bert.embeddings.word_embeddings.weight")
    positions = head.tensor("state/bert.embeddings.position_embeddings.weight")
    inner = head.tensor("state/bert.encoder.layer.0.intermediate.dense.weight")
    layers = {m[1] for k in head.below("state") if (m := re.search(r"\.layer\.(\d+)\.", k))}
    config = {
        "model_type": "bert",
        "vocab_size": len(words),
        "hidden_size": words.shape[1],
        "num_hidden_layers": len(layers),
        "num_attention_heads": HEADS,
        "intermediate_size": len(inner),
        "max_position_embeddings": len(positions),
        "hidden_dropout_prob": 0.0,
        "attention_probs_dropout_prob": 0.0,
    }
    model = model_from_config(config, len(head.tensor("state/classifier.weight")))
    model.load_state_dict({name: head.tensor(f"state/{name}") for name in model.state_dict()})
    return model.eval()


def disturb(model: TextModel, seed: int) -> None:
    """Disturb the last bits of what leaves every linear layer and norm, as other sums would."""
    generator = torch.Generator().manual_seed(seed)

    def hook(layer: nn.Module, inputs: Any, out: Tensor) -> Tensor:
        return out * (1 + LAST_BITS * torch.randn(out.shape, generator=generator))

    for module in model.modules():
        if isinstance(module, QuantLinear | QuantLayerNorm):
            module.register_forward_hook(hook)


def inputs_of(case: Case, name: str) -> dict[str, Tensor]:
    """The batch `cal` (one sentence), `cal16` or `eval`."""
    inputs = case.other(f"E/{name}")
    return {k: inputs.tensor(k) for k in ("input_ids", "attention_mask", "token_type_ids")}


def place_quantizers(model: TextModel, variant: Variant) -> None:
    """Fill the slots as the variant says; ratings are clamped in quantized models alone."""
    ratings = model.get_parameter("classifier.bias").numel() == 1
    for slot in model.places.values():
        if slot.kind == "weight":
            slot.quantizer = _weight_quantizer(variant, slot.place)
        else:
            slot.quantizer = _activation_quantizer(variant, slot.place, ratings)
    model.clamp_logits = ratings and variant != FULL


def _weight_quantizer(variant: Variant, place: Place) -> AffineQuantizer | None:
    bits = variant.e_bits if variant.e_bits and place.name == "Et" else variant.w_bits
    if bits == 32:
        return None
    method = "grid" if variant.note == "nearest" else "golden_section"
    search = Remembering(estimator("mse", method=method))
    return AffineQuantizer(bits, symmetric=True, estimator=search)


def _activation_quantizer(variant: Variant, place: Place, ratings: bool) -> AffineQuantizer | None:
    if variant.a_bits == 32 or (place.name == "C" and variant.note == "FPlogits"):
        return None
    special = bool(place.words & {"x", "h", "y"})
    wide = special or (ratings and place.name in ("P", "C"))
    groups = None
    if special and variant.groups:
        groups = Groups(variant.groups, permute="permute" in variant.note)
    return AffineQuantizer(
        variant.wide_bits if wide else variant.a_bits,
        symmetric=False,
        axis=place.axis if special and variant.by_dimension else None,
        estimator=Remembering(_activation_estimator(variant, place, ratings)),
        groups=groups,
    )


def _activation_estimator(variant: Variant, place: Place, ratings: bool) -> Estimator:
    searched = variant.note == "MSElogits" or (ratings and variant.note.startswith("mp"))
    if place.name == "C" and searched:
        # shifts stay limited by the bits that the released search was built for
        return estimator("mse", method="golden_section", shift_bits=variant.a_bits)
    return estimator("running_minmax" if "running" in variant.note else "current_minmax")


def filled(model: TextModel, kind: str) -> list[tuple[TextSlot, Any]]:
    """The slots of a kind that hold a quantizer, with it."""
    return [
        (slot, slot.quantizer)
        for slot in model.places.values()
        if slot.kind == kind and slot.quantizer is not None
    ]


def weights_of(model: TextModel) -> dict[str, Tensor]:
    """The weight at every weight place, by the place's name."""
    layers: list[Any] = list(model.modules())
    return {
        layer.weight_slot.place.name: layer.weight
        for layer in layers
        if isinstance(getattr(layer, "weight_slot", None), TextSlot)
    }
