"""Measurements of `lowbit measure` as rows beside the runs."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from suite.cell import Cell
from suite.store.rows import _made

if TYPE_CHECKING:
    from suite.measuring.records import Measurement

KINDS = ("cuda_allocated", "cpu_rss")
"""Which memory counts: the GPU's where there is one, else the process's."""


def rows(found: Sequence[Measurement]) -> list[dict[str, Any]]:
    """A row a measured case, in the epoch in which its penalty is at work, oldest first.

    `x.memory`: peak MiB; `x.epoch_seconds`: median over rounds; `x.memory_ratio`,
    `x.time_ratio`: to FP32 in the same session.
    """
    whole = [one for one in found if not one.lacking and one.phase != "first"]
    return [_row(one) for one in sorted(whole, key=lambda one: one.measurement_id)]


def _row(one: Measurement) -> dict[str, Any]:
    cell = Cell.model_validate(one.cell)
    kind = next((kind for kind in KINDS if kind in one.memory), "")
    fields = ("method", "variant", "model", "task", "w_bits", "a_bits", "e_bits", "seed")
    return {
        **{name: getattr(cell, name) for name in fields},
        **_made(one.provenance),
        "status": "measured",
        "run_id": one.measurement_id,
        "cell_id": one.measurement_id,
        "configuration": cell.configuration,
        "started": one.started,
        "finished": one.finished,
        "x.memory": one.memory.get(kind),
        "x.memory_ratio": one.memory.get(f"ratio.{kind}"),
        "x.epoch_seconds": one.time.get("epoch_seconds_median"),
        "x.time_ratio": one.time.get("ratio"),
    }
