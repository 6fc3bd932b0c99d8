"""What is measured: cells of one model under equal conditions, without importing torch."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from suite.cell import Cell, Recipe, _Frozen, make_cell
from suite.errors import UsageError
from suite.grid import Entry, entries
from suite.recipes import recipe
from suite.registry import METHODS, TASKS, model_spec

IMAGENET = 1_281_167
"""Training images of ImageNet-1K: an epoch, unless another number is given."""

ALONE = Recipe(start="scratch", epochs=100)
"""How FP32 is trained when nothing is measured beside it."""


class Case(_Frozen):
    """One cell and the conditions it is measured under; plain, to be handed to a process.

    cell: the delta of the cell; size: pixels or tokens (0: the model's own); device: `cpu` or
    `cuda`; threads: of the CPU (0: all cores); compiled: whether the step is torch.compiled.
    """

    cell: dict[str, Any]
    batch: int
    size: int
    device: str
    threads: int
    compiled: bool

    @property
    def name(self) -> str:
        """`lsq W4A4`, `variation-corrected W2A2`, `fp32`."""
        cell = make_cell(**self.cell)
        method = cell.method + (f"-{cell.variant}" if cell.variant else "")
        return method if cell.bits == "fp32" else f"{method} {cell.bits.upper()}"


@dataclass(frozen=True)
class Conditions:
    """What all cases of one measurement have in common. images: samples of an epoch; steps: timed
    steps a round; rounds: how often every case has its turn; others as in Case."""

    batch: int
    images: int
    size: int = 0
    steps: int = 3
    rounds: int = 5
    device: str = "cpu"
    threads: int = 0
    compiled: bool = False


def cells_of(
    model: str,
    methods: Sequence[str],
    bits: Sequence[tuple[int, int]],
    variants: Sequence[str] = (),
) -> list[Cell]:
    """FP32 first, then every method at every pair of bits (weights, activations) and, where it has
    it, every variant named (else its default), as the nearest grid entry trains it. Raises
    UsageError."""
    modality = model_spec(model).modality
    quantized = [name for name in methods if name != "fp32"]
    if quantized and not bits:
        raise UsageError(
            "--bits (or --w-bits and --a-bits) names the bit-widths to measure, like --bits 2,4."
        )
    found = []
    for name in quantized:
        entry = _entry(name, model, modality)
        known = [v for v in variants if v in METHODS.get(name).variants]
        for variant in known or [next(iter(METHODS.get(name).variants))]:
            found += [_cell(entry, model, pair, variant) for pair in bits]
    how = found[0].recipe if found else ALONE
    task = found[0].task if found else _task(modality)
    fp32 = make_cell(method="fp32", model=model, task=task, recipe=how)
    return [fp32, *found]


def cases_of(cells: Sequence[Cell], conditions: Conditions) -> list[Case]:
    return [
        Case(
            cell=cell.delta(),
            batch=conditions.batch,
            size=conditions.size,
            device=conditions.device,
            threads=conditions.threads,
            compiled=conditions.compiled,
        )
        for cell in cells
    ]


def images_of(model: str, given: int) -> int:
    """Samples of an epoch: the number given, or ImageNet's for an image model."""
    if given:
        return given
    if model_spec(model).modality != "image":
        raise UsageError(f"{model} reads text: say with --images how many samples an epoch has.")
    return IMAGENET


def _entry(method: str, model: str, modality: str) -> Entry:
    """The grid entry that says how the method is trained; the model's own before another's."""
    METHODS.check(method)
    fitting = [e for e in entries() if e.method == method and _modality(e) == modality]
    trained = [e for e in fitting if recipe(e.recipe).epochs > 0]
    if not trained:
        why = "is not trained" if fitting else f"has no grid entry for {modality}"
        raise UsageError(f"{method} {why}; measure compares training steps.")
    return next((e for e in trained if model in e.models), trained[0])


def _cell(entry: Entry, model: str, bits: tuple[int, int], variant: str) -> Cell:
    return make_cell(
        method=entry.method,
        model=model,
        task=entry.task,
        w_bits=bits[0],
        a_bits=bits[1],
        variant=variant,
        settings=entry.settings,
        recipe=recipe(entry.recipe),
    )


def _modality(entry: Entry) -> str:
    modality: str = TASKS.get(entry.task).modality
    return modality


def _task(modality: str) -> str:
    return next(e.task for e in entries() if e.method == "fp32" and _modality(e) == modality)
