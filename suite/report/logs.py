"""Logs of cells that ran as jobs of a sweep."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path


def logs_of(folders: Iterable[str]) -> dict[str, str]:
    """The newest log that is there of every cell that some sweep of the folders ran, by cell id.

    A cell that ran in a terminal has none: what it said is in its record.
    """
    found: dict[str, str] = {}
    for folder in folders:
        for path in sorted(Path(folder).glob("sweeps/*/jobs/*/*-ended.json")):
            log = _log(path)
            if log and Path(log).is_file():
                found[path.parent.name] = log
    return found


def _log(path: Path) -> str:
    try:
        event = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return ""
    log = event.get("log") if isinstance(event, dict) else ""
    return log if isinstance(log, str) else ""
