"""BinaryBERT's tiny models end to end: teacher, ternary students, splits and a binary student."""

from __future__ import annotations

import re
from typing import Any

import torch
from torch import Tensor

from suite.cell import make_cell
from suite.certify.binarybert import _grad
from suite.certify.case import Case, LacksInput, Replay
from suite.models.encoder import TextModel
from suite.models.narrow import narrow
from suite.models.split import split_model
from suite.models.text_loading import model_from_config
from suite.quant.calibration import calibrate
from suite.registry import METHODS
from suite.text_distillation import LogitRule, Open, attention_loss, hidden_loss

MODEL = 1e-5
"""Outputs of whole models, relative to the largest."""

GRADIENTS = 5e-5
"""Gradients that went through a whole model; a value next to a rounding step is rarely hit."""

MASK = -100.0
"""Scores at or below it are of padding: the released model adds -10000 there, ours hides them."""

HEADS, WIDTH = 2, 0.5
"""Heads of the narrow model, which its weights do not tell, and its share of the width."""

Keys = dict[str, str]


def teacher(case: Case) -> None:
    """`bbm_fp`: the FP32 model."""
    model = narrow_bert(case.other("bbm"))
    _compare_outputs(case, Open(model.eval()), inputs_of(case))


def student(case: Case) -> None:
    """`bbm_t_w2a8`, `bbm_b_w1a8`: a quantized model's outputs, losses and gradients."""
    head = case.other("bbm")
    model = narrow_bert(head)
    quantize(model, *_bits(case.prefix), inputs_of(head))
    names = released_names(model)
    for name, parameter in model.named_parameters():
        case.compare(f"p_{names[name]}", parameter, MODEL)
    _adopt(case, model, names)
    opened, batch = Open(model), inputs_of(head)
    found = _compare_outputs(case, opened, batch)
    with torch.no_grad():
        theirs = Open(narrow_bert(head).eval())(batch)
    losses = {
        "loss_att": attention_loss(found[1], theirs[1], batch["attention_mask"]),
        "loss_rep": hidden_loss(found[2], theirs[2]),
        "loss_ce": LogitRule()(found[0], theirs[0]),
    }
    for name, loss in losses.items():
        case.compare(name, loss, MODEL)
    torch.stack(list(losses.values())).sum().backward()
    for name, parameter in model.named_parameters():
        case.compare(f"g_{names[name]}", _grad(parameter), GRADIENTS)


def splits(case: Case) -> None:
    """`bbm_split_a8`: a ternary model and the binary one that is split from it."""
    head = case.other("bbm")
    found = re.search(r"a(\d+)", case.prefix)
    assert found
    for name, bits in (("tern", 2), ("bin", 1)):
        model = narrow_bert(head)
        quantize(model, bits, int(found[1]), inputs_of(head))
        with torch.no_grad():
            logits, _, hidden = Open(model)(inputs_of(head))
        case.compare(f"{name}_logits", logits, MODEL)
        case.compare(f"{name}_reps", torch.stack(hidden), MODEL)


def _bits(prefix: str) -> tuple[int, int]:
    found = re.search(r"w(\d)a(\d+)", prefix)
    assert found
    return int(found[1]), int(found[2])


def inputs_of(case: Case) -> dict[str, Tensor]:
    """The batch of two sentences, the second padded."""
    given = case.other("bbm")
    names = {"input_ids": "ids", "attention_mask": "mask", "token_type_ids": "seg"}
    return {ours: given.tensor(theirs) for ours, theirs in names.items()}


def narrow_bert(head: Case) -> TextModel:
    """The FP32 model of half width with the file's weights, whose shapes are its dimensions."""
    state = {k: v for k, v in head.below("fp").items() if "." in k}
    words = "bert.embeddings.word_embeddings.weight"
    layers = {m[1] for k in state if (m := re.search(r"\.layer\.(\d+)\.", k))}
    if words not in state or not layers:
        raise LacksInput(f"bbm_fp_{words}")
    config = {
        "model_type": "bert",
        "vocab_size": len(state[words]),
        "hidden_size": state[words].shape[1],
        "num_hidden_layers": len(layers),
        "num_attention_heads": int(HEADS / WIDTH),
        "intermediate_size": int(_of(state, "0.intermediate.dense.weight").shape[0] / WIDTH),
        "max_position_embeddings": len(_of(state, "position_embeddings.weight")),
        "type_vocab_size": len(_of(state, "token_type_embeddings.weight")),
        "hidden_dropout_prob": 0.0,
        "attention_probs_dropout_prob": 0.0,
    }
    model = model_from_config(config, len(_of(state, "classifier.weight")))
    narrow(model, WIDTH)
    lacking = sorted(model.state_dict().keys() - state.keys())
    if lacking:
        raise LacksInput(f"bbm_fp_{lacking[0]}")
    model.load_state_dict(state)
    return model


def _of(state: dict[str, Tensor], ending: str) -> Tensor:
    found = [value for name, value in state.items() if name.endswith(ending)]
    if not found:
        raise LacksInput(f"bbm_fp_...{ending}")
    return found[0]


def quantize(model: TextModel, w_bits: int, a_bits: int, inputs: Any) -> None:
    """Make a narrow FP32 model BinaryBERT's ternary one, or its split, with fresh quantizers."""
    ternary = _method("ternarybert", "binarybert", 2, a_bits)
    ternary.place(model)
    calibrate(model.eval(), inputs)
    if w_bits == 1:
        binary = _method("binarybert", "released", 1, a_bits)
        split_model(model, "max")
        binary.fill(model)
        binary.settle(model)


def _method(name: str, variant: str, w_bits: int, a_bits: int) -> Any:
    cell = make_cell(
        method=name, model="tiny", task="golden", variant=variant, w_bits=w_bits, a_bits=a_bits
    )
    return METHODS.get(name)(cell)


PLACES = (
    (r"query_out\.quantizer\.(?:clip|step)", "clip_query"),
    (r"key_out\.quantizer\.(?:clip|step)", "clip_key"),
    (r"value_out\.quantizer\.(?:clip|step)", "clip_value"),
    (r"dropout\.1\.quantizer\.(?:clip|step)", "clip_attn"),
    (r"\.first\.", "_1."),
    (r"\.second\.", "_2."),
    (r"input_slot\.quantizer\.(?:clip|step)", "input_clip_val"),
)
"""Our names of parameters -> those of the released code."""


def released_names(model: TextModel) -> Keys:
    """Our name of every parameter -> its name in the released code."""
    found = {}
    for name, _ in model.named_parameters():
        theirs = name
        for ours, released in PLACES:
            theirs = re.sub(ours, released, theirs)
        found[name] = theirs
    return found


@torch.no_grad()
def _adopt(case: Case, model: TextModel, names: Keys) -> None:
    """Take over the parameters at the recorded forward."""
    for name, parameter in model.named_parameters():
        key = f"p_{names[name]}"
        if case.has(key):
            parameter.copy_(case.tensor(key).reshape(parameter.shape))


def _compare_outputs(
    case: Case, opened: Open, inputs: dict[str, Tensor]
) -> tuple[Tensor, list[Tensor], list[Tensor]]:
    logits, scores, hidden = opened(inputs)
    case.compare("logits", logits, MODEL)
    if case.has("atts"):
        golden = case.tensor("atts")
        ours = torch.stack(scores).detach().reshape(golden.shape)
        case.compare("atts", torch.where(golden <= MASK, golden, ours), MODEL, floor=1.0)
    case.compare("reps", torch.stack(hidden), MODEL)
    return logits, scores, hidden


REPLAYS = (
    Replay("ternarybert", "bbm teacher", r"bbm_fp", teacher, joint="_"),
    Replay("ternarybert", "bbm ternary", r"bbm_t_w2a\d", student, joint="_"),
    Replay("binarybert", "bbm split", r"bbm_split_a\d+", splits, joint="_"),
    Replay("binarybert", "bbm binary", r"bbm_b_w1a\d", student, joint="_"),
)
