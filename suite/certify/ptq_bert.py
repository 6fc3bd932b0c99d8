"""P2's tiny BERT as its golden values describe it: variants, weights, and the methods they mean."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from suite.cell import make_cell
from suite.certify.case import Case
from suite.models.encoder import TextModel
from suite.models.slot import QuantLinear
from suite.models.text_layers import Place, QuantLayerNorm, TextSlot
from suite.models.text_loading import model_from_config
from suite.ptq import RangeMethod, quantizers
from suite.quant.ranges import Estimator, Range, Target
from suite.registry import METHODS

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


NOTES: dict[str, tuple[str, dict[str, Any]]] = {
    "": ("minmax_ptq", {}),
    "bs1": ("minmax_ptq", {}),
    "nearest": ("minmax_ptq", {"weights": "mse_grid"}),
    "FPlogits": ("minmax_ptq", {"logits": "fp32"}),
    "MSElogits": ("minmax_ptq", {"logits": "mse"}),
    "perembd": ("peg", {"groups": 0}),
    "peg6_permute_sharedh": ("peg", {}),
    "mp16": ("mixed_precision", {}),
}
"""What follows the bits in a variant's name -> method and settings; what the method does unasked is
left to it, so that its defaults are replayed too."""

PERMUTE = {"": "none", "_permute": "own", "_permute_sharedh": "shared"}


def method_for(name: str, ratings: bool) -> RangeMethod | None:
    """The method that a variant's name like `W8A8_peg6_permute` asks for; None for FP32.

    `qat` stands for W4A8 with 2-bit words. ratings: whether the model has one output.
    """
    if name == "fp32":
        return None
    if name == "qat":
        return _method("range_qat", 4, 8, 2, {})
    found = re.fullmatch(r"W(\d+)A(\d+)(?:_(\w+))?", name)
    if not found:
        raise ValueError(f"no variant is called {name!r}")
    chosen, settings = _meaning(found[3] or "", ratings)
    return _method(chosen, int(found[1]), int(found[2]), None, settings)


def _meaning(note: str, ratings: bool) -> tuple[str, dict[str, Any]]:
    if ratings and (found := re.fullmatch(r"mp(\d+)", note)):
        # the released recipe for STS-B
        places = ",".join(f"{place}={found[1]}" for place in "xhyPC")
        return "mixed_precision", {"places": places, "logits": "mse"}
    if note in NOTES:
        return NOTES[note]
    if found := re.fullmatch(r"peg(\d+)(_permute(?:_sharedh)?)?", note):
        return "peg", {"groups": int(found[1]), "permute": PERMUTE[found[2] or ""]}
    if found := re.fullmatch(r"mp(\d+)", note):
        return "mixed_precision", {"places": ",".join(f"{p}={found[1]}" for p in "xhy")}
    if re.fullmatch(r"running\d*", note):
        return "minmax_ptq", {"activations": "running_minmax"}
    raise ValueError(f"no variant is called {note!r}")


def _method(
    name: str, w_bits: int, a_bits: int, e_bits: int | None, settings: dict[str, Any]
) -> RangeMethod:
    cell = make_cell(
        method=name,
        model="tiny",
        task="golden",
        w_bits=w_bits,
        a_bits=a_bits,
        e_bits=e_bits,
        variant="released",
        settings=settings,
    )
    method: RangeMethod = METHODS.get(name)(cell)
    return method


@dataclass(frozen=True)
class GoldenDraw:
    """The batch of the file in place of a calibration draw (suite.method.Draw)."""

    inputs: dict[str, Tensor]
    limits: tuple[float, float] | None

    def batch(self, split: str) -> dict[str, Tensor]:
        return self.inputs

    def batches(self, size: int, count: int) -> list[dict[str, Tensor]]:
        return [self.inputs]

    def advance(self, done: int, total: int) -> None:
        pass


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


def place_quantizers(model: TextModel, method: RangeMethod) -> None:
    """Let the method fill the slots; estimators then remember the last range that they gave."""
    method.place(model)
    for quantizer in quantizers(model):
        assert quantizer.estimator is not None
        quantizer.estimator = Remembering(quantizer.estimator)


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
