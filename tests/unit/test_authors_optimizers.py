"""Recipes are the authors' to the last field of the optimizer, or a word says why not."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from suite.authors_recipes import Authors, authors, page
from suite.optimize import decayed, optimizer_of

DOCS = Path(__file__).parents[2] / "docs"
ENTRIES = {entry.recipe: entry for entry in authors()}


@pytest.mark.parametrize("name", ENTRIES)
def test_every_field_is_the_authors_or_says_why_not(name: str) -> None:
    assert ENTRIES[name].differences() == []
    own = ENTRIES[name].ours.model_dump(mode="json")
    assert all(own[field] != ENTRIES[name].values.get(field) for field in ENTRIES[name].differs)


def full(entry: Authors) -> dict[str, Any]:
    """Class and every value that reaches the optimizer, of the group that is decayed."""
    model = torch.nn.Linear(3, 2)
    optimizer = optimizer_of(model, entry.ours)
    values = {k: v for k, v in optimizer.param_groups[0].items() if k != "params"}
    return {"name": type(optimizer).__name__, **values}


@pytest.mark.parametrize("name", [name for name, entry in ENTRIES.items() if entry.optimizer])
def test_the_whole_optimizer_is_the_authors(name: str) -> None:
    entry = ENTRIES[name]
    ours = full(entry)
    print(f"\n{name}\n  here:     {ours}\n  authors': {entry.optimizer}")
    for field, theirs in entry.optimizer.items():
        own = ours[field]
        assert (list(own) if isinstance(own, tuple) else own) == theirs, field
    assert ours["lr"] == entry.ours.lr
    assert ours["weight_decay"] == entry.ours.weight_decay


def test_vectors_biases_and_scales_are_not_decayed() -> None:
    matrix, vector = torch.nn.Parameter(torch.ones(2, 2)), torch.nn.Parameter(torch.ones(2))
    assert decayed("blocks.0.attn.proj.weight", matrix)
    assert decayed("pos_embed", matrix)
    assert not decayed("norm.weight", vector)
    assert not decayed("blocks.0.attn.proj.bias", matrix)
    assert not decayed("blocks.0.attn.slot.quantizer.step", matrix)


def test_the_page_of_recipes_is_what_the_data_give() -> None:
    assert (DOCS / "recipes.md").read_text(encoding="utf-8") == page()
