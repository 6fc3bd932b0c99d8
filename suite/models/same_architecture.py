"""Whether a folder of weights holds the architecture that a model's name stands for."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from suite.errors import UsageError

SHAPING = (
    "model_type",
    "num_hidden_layers",
    "hidden_size",
    "num_attention_heads",
    "intermediate_size",
    "vocab_size",
    "max_position_embeddings",
    "type_vocab_size",
    "hidden_act",
    "layer_norm_eps",
    "embedding_size",
    "intra_bottleneck_size",
    "num_feedforward_networks",
)
"""transformers' names of what makes an architecture."""


def check_same(name: str, wanted: Mapping[str, Any], folder: Path) -> None:
    """Raise UsageError unless the model in `folder` is of the architecture that `name` means.

    wanted: transformers' fields of that architecture; those that it lacks are the family's usual.
    """
    from transformers import AutoConfig

    from suite.models.text_loading import load_config

    found = load_config(folder)
    fields = dict(wanted)
    meant = AutoConfig.for_model(fields.pop("model_type"), **fields)
    odd = [
        f"{field} {getattr(found, field, None)} where {name} has {getattr(meant, field, None)}"
        for field in SHAPING
        if getattr(found, field, None) != getattr(meant, field, None)
    ]
    if odd:
        raise UsageError(
            f"The weights {folder} are not of {name} ({', '.join(odd[:3])}); run that model under "
            f"its own name, with --model {folder}."
        )
