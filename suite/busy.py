"""Times that were taken while other processes used the machine's cores: they say less."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

UNNOTICED = 0.2
"""Cores' worth of others' work that is not counted: what an idle machine's services use."""

OTHERS = "others_cores"
"""Name, among a record's times, of the cores' worth that others used while it trained."""


def others(time: Mapping[str, Any]) -> float:
    """Cores' worth that others used while these times were taken, 0 where nothing counts (a
    record from before this was written down has none)."""
    found = time.get(OTHERS)
    # NaN, which a table has where a record has nothing, is above nothing.
    return float(found) if isinstance(found, (int, float)) and found > UNNOTICED else 0.0


def mark(time: Mapping[str, Any]) -> str:
    """What follows a time where it is shown: nothing, or that it is a busy machine's."""
    return " (busy)" if others(time) else ""


NOTE = (
    f"A time marked (busy) was taken while other processes used more than {UNNOTICED:g} of the "
    "machine's cores: it is longer than on an idle machine."
)
