"""The one benchmark test: a cell is obtained, and its record is complete."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from suite.cell import Cell


def test_cell(cell: Cell, obtained: Callable[[Cell], Any]) -> None:
    """Passes when the cell has a finished record: run now, or stored and still valid."""
    record = obtained(cell).record
    assert record.status == "done"
    assert record.metrics["samples"] > 0
    assert record.audit.get("ok", cell.bits == "fp32")
