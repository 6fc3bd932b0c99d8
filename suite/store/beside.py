"""What lies beside the records and is merged with them: measurements."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from suite.files import write_text
from suite.measuring.records import FOLDER
from suite.store.parse import LeftOut


def bring_measurements(folders: Sequence[Path], out: Path) -> list[LeftOut]:
    """Copy the measurements of the folders that `out` lacks; names those that differ from one of
    the same name, and those that cannot be read."""
    left_out = []
    for path in sorted(p for f in folders if f != out for p in (f / FOLDER).glob("*.json")):
        copy = out / FOLDER / path.name
        try:
            text = path.read_text(encoding="utf-8")
        except (OSError, ValueError) as problem:
            left_out.append(LeftOut(path, f"cannot be read ({problem})"))
            continue
        if not copy.exists():
            write_text(copy, text)
        elif copy.read_text(encoding="utf-8", errors="replace") != text:
            why = f"differs from {copy}, which has its name and is kept"
            left_out.append(LeftOut(path, why, "conflict"))
    return left_out
