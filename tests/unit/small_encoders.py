"""Small random encoders of transformers, a batch for them, and what passes their places."""

from __future__ import annotations

from typing import Any

import torch
from transformers import (
    BertConfig,
    BertForSequenceClassification,
    MobileBertConfig,
    MobileBertForSequenceClassification,
    RobertaConfig,
    RobertaForSequenceClassification,
)

from suite.models.encoder import TextModel

SMALL = {
    "vocab_size": 60,
    "hidden_size": 24,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "intermediate_size": 40,
    "max_position_embeddings": 16,
    "initializer_range": 0.3,
}
MOBILE = {"embedding_size": 8, "intra_bottleneck_size": 16}


def source(family: str = "bert", attention: str = "eager", **fields: Any) -> Any:
    """A small random sequence classifier of transformers."""
    config_class, model_class, own = {
        "bert": (BertConfig, BertForSequenceClassification, {}),
        "roberta": (
            RobertaConfig,
            RobertaForSequenceClassification,
            {"max_position_embeddings": 18, "type_vocab_size": 1},
        ),
        "mobilebert": (MobileBertConfig, MobileBertForSequenceClassification, MOBILE),
    }[family]
    torch.manual_seed(0)
    config = config_class(**{**SMALL, **own, "num_labels": 3, **fields})
    model = model_class._from_config(config, attn_implementation=attention).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.dim() == 1:  # norms and biases, which are ones and zeros
                parameter += 0.3 * torch.randn_like(parameter)
    return model


def batch(rows: int = 3, tokens: int = 9) -> dict[str, torch.Tensor]:
    ids = torch.randint(5, 60, (rows, tokens), generator=torch.Generator().manual_seed(1))
    mask = torch.ones_like(ids)
    mask[0, 6:] = 0
    ids[0, 6:] = 1
    return {"input_ids": ids, "attention_mask": mask, "token_type_ids": torch.zeros_like(ids)}


def outputs_of(model: TextModel, names: list[str]) -> dict[str, torch.Tensor]:
    """What passes the named places in one forward."""
    seen: dict[str, torch.Tensor] = {}
    handles = [
        model.places[name].register_forward_hook(
            lambda _, inputs, output, name=name: seen.update({name: output})
        )
        for name in names
    ]
    model(batch())
    for handle in handles:
        handle.remove()
    return seen
