"""The FP32 gate: whether a cell's FP32 model is good enough to be quantized."""

from __future__ import annotations

from suite.cell import Cell
from suite.errors import EnvironmentProblem
from suite.options import Options
from suite.registry import TASKS
from suite.results import Record


class GateClosed(EnvironmentProblem):
    """The FP32 model is worse than it must be for a quantized number to mean anything."""


def check_gate(cell: Cell, before: dict[str, Record], options: Options) -> None:
    """Refuse to pay for a quantized cell when its FP32 model is not what it should be."""
    gate = cell.recipe.gate
    if gate is None or "fp32" not in before or not options.gate:
        return
    measured = before["fp32"].metrics[TASKS.get(cell.task).metric]
    if measured < gate:
        raise GateClosed(
            f"{cell.label}: the FP32 model reaches {measured:.2f} % where at least {gate:.2f} % "
            "are expected, so a quantized number would mean nothing; check data and weights, or go "
            "on with --no-gate."
        )
