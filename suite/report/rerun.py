"""The command that runs stored cells again."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from suite.cell import Cell
from suite.errors import UsageError
from suite.selectors import Selector

PLAIN = (bool, int, float, str)
"""Types of values that fit on a command line."""


def command(texts: Sequence[str]) -> str:
    """The shortest `lowbit run` that gives these cells (canonical JSON; they differ in their seed
    alone), or nothing where the grid gives none of that method, model and task."""
    try:
        cells = [Cell.from_json(text) for text in texts]
        wanted = {(cell.task, cell.seed): cell for cell in cells}
        for selector in _candidates(cells[0], tuple(sorted(cell.seed for cell in cells))):
            if selector.cells() == wanted:
                return selector.command(wanted)
    except UsageError:
        return ""
    return ""


def _candidates(cell: Cell, seeds: tuple[int, ...]) -> Iterator[Selector]:
    """Selections of that method, model, task and bits, saying more and more."""
    plain = _selector(cell, seeds, {}, {})
    yield plain
    named = _selector(cell, seeds, cell.settings, {})
    yield named
    given = next(iter(named.cells().values()))
    changed = _changed(cell, given)
    if all(isinstance(value, PLAIN) for value in changed.values()):
        yield _selector(cell, seeds, cell.settings, changed)


def _selector(
    cell: Cell, seeds: tuple[int, ...], settings: Mapping[str, Any], recipe: Mapping[str, Any]
) -> Selector:
    return Selector(
        method=cell.method,
        model=cell.model,
        tasks=(cell.task,),
        w_bits=cell.w_bits,
        a_bits=cell.a_bits,
        e_bits=cell.e_bits,
        variant=cell.variant,
        seeds=seeds,
        settings=dict(settings),
        recipe=dict(recipe),
    )


def _changed(cell: Cell, given: Cell) -> dict[str, Any]:
    """Fields of the recipe that are not as the grid has them."""
    own, theirs = cell.recipe.model_dump(), given.recipe.model_dump()
    return {name: value for name, value in own.items() if value != theirs[name]}
