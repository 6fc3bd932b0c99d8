"""Selection: what the words on the command line mean."""

from __future__ import annotations

import pytest

from suite.errors import UsageError
from suite.grid import Choice, entries, fp32_cell, parse_bits, select
from suite.registry import METHODS
from suite.runner import method_of


def labels(**asked: object) -> list[str]:
    return [cell.label for cell in select(Choice(**asked)).cells]


def test_the_main_job_is_one_cell_that_says_how_many_more() -> None:
    found = select(Choice(methods=("variation",), bits=(2,)))
    assert [c.label for c in found.cells] == ["variation-released/deit_pico/fashion/w2a2/s0"]
    assert found.more > 0


def test_nothing_named_is_one_cell() -> None:
    assert len(labels()) == 1


def test_every_named_value_gives_a_cell() -> None:
    found = labels(tasks=("fashion",), methods=("lsq", "variation"), bits=(2, 3, 4))
    assert len(found) == 6
    assert {name.split("/")[3] for name in found} == {"w2a2", "w3a3", "w4a4"}


def test_all_takes_every_open_axis() -> None:
    choice = Choice(methods=("lsq",), tasks=("fashion",), bits=(2,), everything=True)
    assert [c.seed for c in select(choice).cells] == [0, 1, 2]


def test_bits_and_seeds_outside_the_grid_are_possible() -> None:
    assert labels(methods=("lsq",), bits=(5,), seeds=(7,)) == ["lsq/deit_pico/fashion/w5a5/s7"]


def test_weights_and_activations_can_differ() -> None:
    assert labels(methods=("lsq",), w_bits=(2,), a_bits=(8,)) == ["lsq/deit_pico/fashion/w2a8/s0"]


def test_bits_alone_do_not_choose_full_precision() -> None:
    assert not any("fp32" in label for label in labels(bits=(2,), everything=True))


def test_every_cell_of_the_grids_can_exist_and_has_its_fp32_cell() -> None:
    cells = select(Choice(everything=True)).cells
    assert len(cells) > 50
    for cell in cells:
        method_of(cell)
        if cell.recipe.start == "fp32":
            assert fp32_cell(cell) in cells


def test_every_method_is_in_a_grid() -> None:
    assert {e.method for e in entries()} == set(METHODS.names())


@pytest.mark.parametrize("text", ["0", "33", "2.5", "two", "-2", "", "2,", "²"])
def test_impossible_bits(text: str) -> None:
    with pytest.raises(UsageError, match="whole numbers from 1 to 32"):
        parse_bits(text, "--bits")


@pytest.mark.parametrize(
    ("asked", "words"),
    [
        ({"methods": ("variatoin",)}, "Did you mean 'variation'"),
        ({"models": ("deit_tinny",)}, "Did you mean 'deit_tiny'"),
        ({"tasks": ("fashon",)}, "Did you mean 'fashion'"),
        ({"variants": ("corected",)}, "Did you mean 'corrected'"),
        ({"methods": ("lsq",), "models": ("deit_pico",), "tasks": ("imagenet",)}, "No cell fits"),
        ({"bits": (2,), "w_bits": (2,)}, "leave out --w-bits"),
        ({"recipe": {"epoch": 3}}, "valid: .*batch_size"),
    ],
)
def test_what_cannot_be_is_one_sentence(asked: dict, words: str) -> None:
    with pytest.raises(UsageError, match=words) as caught:
        select(Choice(**asked))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("asked", "words"),
    [
        ({"methods": ("fp32",), "bits": (2,)}, "it can do 32"),
        ({"methods": ("lsq",), "bits": (1,)}, "it can do 2, 3, 4"),
        ({"methods": ("variation",), "bits": (1,), "variants": ("corrected",)}, "1 bit needs"),
        ({"methods": ("variation",), "bits": (2,), "settings": {"obr": False}}, "regularise"),
        ({"methods": ("variation",), "settings": {"head_wise": True}}, "variation-B1"),
    ],
)
def test_what_a_method_cannot_do_is_one_sentence(asked: dict, words: str) -> None:
    (cell, *_) = select(Choice(**asked)).cells
    with pytest.raises(UsageError, match=words):
        method_of(cell)


def test_a_method_that_no_grid_has_may_bring_entries_of_its_own(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    class Own(METHODS.get("lsq")):  # type: ignore[misc]
        name = "own"
        grid = ({"task": "fashion", "models": ["deit_pico"], "bits": [4], "recipe": "fashion-qat"},)

    monkeypatch.setitem(METHODS._entries, "own", Own)
    (cell,) = select(Choice(methods=("own",))).cells
    assert (cell.method, cell.model, cell.w_bits) == ("own", "deit_pico", 4)
    monkeypatch.setattr(Own, "grid", ({"task": "fashion"},))
    with pytest.raises(UsageError, match="grid entry of the method own"):
        select(Choice(methods=("own",)))
    assert all(c.method != "own" for c in select(Choice(tasks=("fashion",), everything=True)).cells)
