"""What a built model is, so that a record says more than the model's name."""

from __future__ import annotations

from typing import Any

from torch import nn


def architecture(model: nn.Module) -> dict[str, Any]:
    """Class, depth (blocks), width, heads and number of parameters of a full-precision model.

    What a model of another package does not tell in the usual attributes is left out.
    """
    body = getattr(model, "body", model)
    blocks = getattr(body, "blocks", None) or getattr(body, "layers", None)
    found = {
        "class": type(model).__name__,
        "depth": len(blocks) if blocks is not None else None,
        "width": _width(body),
        "heads": next((m.heads for m in model.modules() if isinstance(_heads(m), int)), None),
        "parameters": sum(p.numel() for p in model.parameters()),
    }
    return {name: value for name, value in found.items() if value is not None}


def _heads(module: nn.Module) -> Any:
    return getattr(module, "heads", None)


def _width(body: nn.Module) -> int | None:
    if isinstance(getattr(body, "embed_dim", None), int):
        return int(body.embed_dim)  # type: ignore[arg-type]
    table = getattr(getattr(body, "embeddings", None), "position_embeddings", None)
    return int(table.embedding_dim) if isinstance(table, nn.Embedding) else None
