"""Identity: what a cell is, and when two cells are the same."""

from __future__ import annotations

import math
from typing import Any

import pytest

from suite.cell import Cell, Recipe, make_cell
from suite.errors import UsageError

BASE = {"method": "lsq", "model": "deit_pico", "task": "fashion", "w_bits": 2, "a_bits": 2}


def test_json_restores_the_cell() -> None:
    cell = make_cell(**BASE, settings={"distill": True}, recipe={"epochs": 3, "lr": 1e-3})
    assert Cell.from_json(cell.to_json()) == cell


def test_id_ignores_fields_at_their_default() -> None:
    """A field that is spelt out with its default value is the same cell."""
    plain = make_cell(**BASE)
    spelt = make_cell(**BASE, seed=0, variant="", recipe=Recipe())
    assert plain.id(1) == spelt.id(1)


@pytest.mark.parametrize(
    "change",
    [{"seed": 1}, {"w_bits": 3}, {"recipe": {"epochs": 1}}, {"settings": {"distill": True}}],
)
def test_id_changes_with_what_changes_the_number(change: dict) -> None:
    assert make_cell(**{**BASE, **change}).id(1) != make_cell(**BASE).id(1)


def test_id_changes_with_the_methods_version() -> None:
    cell = make_cell(**BASE)
    assert cell.id(1) != cell.id(2)


def test_id_is_a_plain_directory_name() -> None:
    cell = make_cell(**{**BASE, "model": "../../etc/passwd"})
    assert set(cell.id(1)) <= set(
        "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_"
    )


def test_ids_do_not_change_between_releases() -> None:
    """Stored results would be orphaned: bump SCHEMA or the method's version instead."""
    assert make_cell(**BASE).id(1) == "lsq-deit_pico-fashion-w2a2-s0-b6468f2368"


def test_a_cell_is_frozen() -> None:
    with pytest.raises(ValueError, match="frozen"):
        make_cell(**BASE).seed = 3


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"w_bits": 0}, "w_bits"),
        ({"w_bits": 33}, "w_bits"),
        ({"a_bits": 2.5}, "a_bits"),
        ({"a_bits": "two"}, "a_bits"),
        ({"bitz": 2}, "valid: a_bits"),
        ({"recipe": {"epoch": 3}}, "epochs"),
    ],
)
def test_a_bad_field_is_one_sentence(fields: dict, words: str) -> None:
    with pytest.raises(UsageError, match=words) as caught:
        make_cell(**{**BASE, **fields})
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "field",
    [
        {"lr": math.inf},
        {"lr": math.nan},
        {"gate": math.nan},
        {"gate": 101.0},
        {"betas": (2.0, 3.0)},
        {"betas": (0.9, 1.0)},
        {"betas": (math.nan, 0.9)},
        {"weight_decay": math.inf},
        {"eps": 0.0},
        {"min_lr": math.nan},
        {"quantizer_lr": math.inf},
        {"crop_scale": (math.nan, 1.0)},
    ],
)
def test_a_recipe_with_a_number_that_is_none_is_refused(field: dict[str, Any]) -> None:
    (name,) = field
    with pytest.raises(UsageError, match=f"field 'recipe.{name}[.0-9]*' cannot be"):
        make_cell(method="m", model="n", task="t", recipe=field)


def test_a_setting_that_is_no_number_is_refused() -> None:
    with pytest.raises(UsageError, match="cannot be nan"):
        make_cell(method="m", model="n", task="t", settings={"weight": math.nan})
