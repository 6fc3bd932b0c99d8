"""Grids: TOML entries that stand for many cells, and the selection of cells from them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import cache
from itertools import product
from pathlib import Path
from typing import Any

from suite.cell import Cell, _Frozen, make_cell, short, validated
from suite.errors import UsageError, unknown
from suite.recipes import recipe
from suite.registry import METHODS, MODELS, TASKS, outside
from suite.tomlfile import tables_of

FULL = 32


class Entry(_Frozen):
    """One grid entry: every combination of its lists is a cell. The first of a list is its
    headline value. any_model: a folder or hub id may be named instead of its models. bits: the
    same for weights and activations; pairs: one for each; e_bits: of the word embeddings."""

    task: str
    models: tuple[str, ...]
    any_model: bool = False
    method: str
    variants: tuple[str, ...] = ("",)
    bits: tuple[int, ...] = ()
    pairs: tuple[tuple[int, int], ...] = ()
    e_bits: int | None = None
    seeds: tuple[int, ...] = (0,)
    recipe: str
    settings: dict[str, bool | int | float | str] = {}


GRIDS = Path(__file__).parent / "grids"


@cache
def entries(grid: str = "") -> tuple[Entry, ...]:
    """The entries of one grid, by name or from a TOML file, or of all; in the order in which
    headlines are chosen. Raises UsageError for an unknown grid."""
    found = []
    for path in _files(grid):
        for table in tables_of(path, "entry", "grid"):
            found.append(validated(Entry, table, f"grid entry of {path.name}"))
    return tuple(found)


def grids() -> dict[str, Path]:
    """The grids that come with the suite, by name."""
    return {path.stem: path for path in sorted(GRIDS.glob("*.toml"))}


def _files(grid: str) -> list[Path]:
    known = grids()
    if not grid:
        return list(known.values())
    path = known.get(grid, Path(grid).expanduser())
    if not (path.suffix == ".toml" and path.is_file()):
        raise unknown("grid", grid, [*known, "FILE.toml"])
    return [path]


@dataclass(frozen=True)
class Choice:
    """What was asked for; an empty tuple leaves the axis open.

    bits sets weights and activations alike; w_bits and a_bits set one of them. `everything`
    takes all values of the open axes instead of their headline; grid: only that one's cells.
    """

    methods: tuple[str, ...] = ()
    models: tuple[str, ...] = ()
    tasks: tuple[str, ...] = ()
    bits: tuple[int, ...] = ()
    w_bits: tuple[int, ...] = ()
    a_bits: tuple[int, ...] = ()
    e_bits: tuple[int, ...] = ()
    seeds: tuple[int, ...] = ()
    variants: tuple[str, ...] = ()
    settings: dict[str, Any] = field(default_factory=dict)
    recipe: dict[str, Any] = field(default_factory=dict)
    grid: str = ""
    everything: bool = False


@dataclass(frozen=True)
class Selection:
    """The chosen cells, and how many more the same words could have meant."""

    cells: tuple[Cell, ...]
    more: int


def select(choice: Choice) -> Selection:
    """Choose cells: one for every combination of the values named; open axes give their first
    value unless `everything`. Raises UsageError when a name is unknown or nothing fits."""
    _check_names(choice)
    fitting = [e for e in (*entries(choice.grid), *_own(choice)) if _fits(e, choice)]
    if not fitting:
        raise UsageError(_nothing(choice))
    cells = [cell for entry in fitting for cell in _cells(entry, choice)]
    if choice.everything:
        return Selection(_unique(cells), 0)
    chosen = _headlines(cells, choice)
    return Selection(chosen, len(_unique(cells)) - len(chosen))


def _own(choice: Choice) -> list[Entry]:
    """What a named method says of itself, if no grid of the suite has it."""
    listed = {entry.method for entry in entries()}
    return [
        validated(Entry, {**table, "method": name}, f"grid entry of the method {name}")
        for name in choice.methods
        if name not in listed
        for table in METHODS.get(name).grid
    ]


def fp32_cell(cell: Cell) -> Cell:
    """The FP32 cell that `cell` starts from and is compared with."""
    fields = cell.model_dump()
    fields.update(method="fp32", variant="", settings={}, w_bits=FULL, a_bits=FULL, e_bits=None)
    if cell.recipe.fp32_seed is not None:
        fields["seed"] = cell.recipe.fp32_seed
    return make_cell(**{**fields, "recipe": recipe(cell.recipe.fp32_recipe)})


def parse_bits(text: str, option: str) -> tuple[int, ...]:
    """Read `2` or `2,3,4`; raises UsageError for anything but whole numbers from 1 to 32."""
    found = []
    for part in text.split(","):
        word = part.strip()
        if not (word.isascii() and word.isdigit() and len(word) < 4 and 1 <= int(word) <= FULL):
            raise UsageError(
                f"{option} cannot be {short(word)}; give whole numbers from 1 to {FULL} "
                f"({FULL} = not quantized), like {option} 2 or {option} 2,3,4."
            )
        found.append(int(word))
    return tuple(dict.fromkeys(found))


def _check_names(choice: Choice) -> None:
    for registry, names in (
        (METHODS, choice.methods),
        (MODELS, tuple(m for m in choice.models if not outside(m))),
        (TASKS, choice.tasks),
    ):
        for name in names:
            registry.check(name)
    known = {v for e in entries() for v in e.variants if v}
    for variant in choice.variants:
        if variant not in known:
            raise unknown("variant", variant, known)
    if choice.bits and (choice.w_bits or choice.a_bits):
        raise UsageError("--bits sets weights and activations; leave out --w-bits and --a-bits.")


def _fits(entry: Entry, choice: Choice) -> bool:
    full_only = entry.bits == (FULL,)
    asked = choice.bits + choice.w_bits + choice.a_bits
    named = entry.method in choice.methods
    return (
        (not choice.methods or named)
        and (not choice.tasks or entry.task in choice.tasks)
        and (not choice.models or bool(_models(entry, choice)))
        and (not choice.variants or _has_variant(entry, choice))
        and (not asked or named or full_only == (set(asked) == {FULL}))
    )


def _has_variant(entry: Entry, choice: Choice) -> bool:
    """A method without variants still fits where it is named beside one that has some."""
    plain = entry.variants == ("",)
    return bool(set(entry.variants) & set(choice.variants)) or (
        plain and entry.method in choice.methods
    )


def _models(entry: Entry, choice: Choice) -> list[str]:
    """The entry's models that are asked for, and outside ones where it takes any."""
    if not choice.models:
        return list(entry.models)
    return [m for m in choice.models if m in entry.models or (entry.any_model and outside(m))]


def _cells(entry: Entry, choice: Choice) -> Iterator[Cell]:
    models = _models(entry, choice)
    variants = [v for v in entry.variants if not v or not choice.variants or v in choice.variants]
    for model in models:
        for w_bits, a_bits in _bit_pairs(entry, choice):
            for variant, e_bits, seed in product(
                variants, choice.e_bits or (entry.e_bits,), choice.seeds or entry.seeds
            ):
                yield make_cell(
                    method=entry.method,
                    model=model,
                    task=entry.task,
                    w_bits=w_bits,
                    a_bits=a_bits,
                    e_bits=e_bits,
                    seed=seed,
                    variant=variant,
                    settings={**entry.settings, **choice.settings},
                    recipe=recipe(entry.recipe, **choice.recipe),
                )


def _bit_pairs(entry: Entry, choice: Choice) -> list[tuple[int, int]]:
    named = [*entry.pairs, *((b, b) for b in entry.bits)]
    if choice.bits:
        return [(b, b) for b in choice.bits]
    if not (choice.w_bits or choice.a_bits):
        return named
    known = [p for p in named if _asked(p, choice)]
    if known and not (choice.w_bits and choice.a_bits):
        return known
    weights = choice.w_bits or (named[0][0],)
    return [(w, a) for w in weights for a in choice.a_bits or (w,)]


def _asked(pair: tuple[int, int], choice: Choice) -> bool:
    """Whether a pair of the grid has the weights' or the activations' bits that were named."""
    return (not choice.w_bits or pair[0] in choice.w_bits) and (
        not choice.a_bits or pair[1] in choice.a_bits
    )


def _headlines(cells: Sequence[Cell], choice: Choice) -> tuple[Cell, ...]:
    """The first cell for each combination of named values."""

    def named(cell: Cell) -> tuple[Any, ...]:
        return (
            cell.method if choice.methods else None,
            cell.model if choice.models else None,
            cell.task if choice.tasks else None,
            (cell.w_bits, cell.a_bits) if choice.bits or choice.w_bits or choice.a_bits else None,
            cell.e_bits if choice.e_bits else None,
            cell.seed if choice.seeds else None,
            cell.variant if choice.variants else None,
        )

    first: dict[tuple[Any, ...], Cell] = {}
    for cell in cells:
        first.setdefault(named(cell), cell)
    return tuple(first.values())


def _unique(cells: Iterable[Cell]) -> tuple[Cell, ...]:
    return tuple({cell.to_json(): cell for cell in cells}.values())


def _nothing(choice: Choice) -> str:
    asked = {
        "method": choice.methods,
        "model": choice.models,
        "task": choice.tasks,
        "variant": choice.variants,
        "bits": choice.bits + choice.w_bits + choice.a_bits,
    }
    words = " ".join(f"{k}={','.join(map(str, v))}" for k, v in asked.items() if v)
    known = sorted({f"{e.method} on {e.task} with {'/'.join(e.models)}" for e in entries()})
    return f"No cell fits {words}; there are: {'; '.join(known)}."
