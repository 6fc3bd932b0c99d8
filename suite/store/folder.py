"""The rows of one results folder: those compacted before, and the files that are new since."""

from __future__ import annotations

import os
import time
from collections.abc import Collection
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from suite.store.compacted import COMPACTED, read
from suite.store.frame import together
from suite.store.parse import Found, LeftOut, parse
from suite.store.rows import HEAVY

RECENT = 2_000_000_000
"""Nanoseconds. A folder that changed so shortly ago is looked at again: two changes within a
tick of the file system's clock leave the same time."""


@dataclass
class Part:
    """What one results folder gave; folder names in rows are whole.

    live: whether it holds JSON records; rows: its own; others: rows that other folders gave to
    its compacted file, and told: what was left out then. pieces: files that hold newly read rows
    with all columns; new: rows read from JSON; gone: compacted rows whose JSON has changed or is
    no longer there.
    """

    folder: Path
    live: bool
    rows: pa.Table
    others: pa.Table
    left_out: list[LeftOut]
    told: list[LeftOut]
    pieces: list[Path] = field(default_factory=list)
    new: int = 0
    gone: int = 0


def part(
    folder: Path,
    heavy: Collection[str],
    *,
    known: pa.Table | None = None,
    thorough: bool = False,
    anew: bool = False,
    keep: Path | None = None,
) -> Part:
    """All rows of a results folder. JSON is the truth; a compacted file saves reading it.

    known: rows that were compacted elsewhere, this folder's among them; thorough: look at every
    file, not only in folders that have changed; anew: read every file; keep: folder for pieces,
    see suite.store.parse.
    """
    folder = Path(os.path.abspath(folder))
    stored, told, left_out = read(folder / COMPACTED, heavy)
    own, others = _split(stored, folder)
    if not (folder / "records").is_dir():
        if stored is None:
            left_out.append(_nothing(folder))
        return Part(folder, False, own, others, left_out, told)
    own = _split(known, folder)[0] if stored is None else own
    own = own.slice(0, 0) if anew else own
    seen, files, unreadable = _changes(folder, own, thorough)
    kept = _still_there(own, seen)
    found = Part(folder, True, kept, others, left_out + unreadable, told)
    found.gone = len(own) - len(kept)
    _read_new(found, files, heavy, keep)
    return found


def _read_new(found: Part, files: list[Found], heavy: Collection[str], keep: Path | None) -> None:
    tables = [found.rows]
    for piece in parse(found.folder, files, HEAVY if keep else heavy, keep):
        tables.append(piece.rows)
        found.new += len(piece.rows)
        found.left_out += piece.left_out
        found.pieces += [piece.file] if piece.file else []
    if len(tables) > 1:
        found.rows = together(tables, heavy)


def _nothing(folder: Path) -> LeftOut:
    why = "holds neither records nor" if folder.is_dir() else "does not exist: no records, no"
    return LeftOut(folder, f"{why} {COMPACTED}", "empty")


def _split(rows: pa.Table | None, folder: Path) -> tuple[pa.Table, pa.Table]:
    """Rows of this folder, and rows that other folders gave."""
    if rows is None:
        return together([]), together([])
    own = pc.equal(rows.column("folder"), str(folder))
    if pc.all(own).as_py():
        return rows, rows.slice(0, 0)
    return rows.filter(own), rows.filter(pc.invert(own))


def _changes(
    folder: Path, own: pa.Table, thorough: bool
) -> tuple[np.ndarray, list[Found], list[LeftOut]]:
    """For every known row when its folder was changed (-1: its file is another or gone), the
    files that must be read, and the folders that cannot be."""
    # A path is records/FOLDER/FILE.
    names = pc.list_element(pc.split_pattern(own.column("path"), "/", max_splits=2), 1)
    settled = _times(names, own.column("seen"))
    now = _folders(folder)
    same = {name for name, at in now.items() if not thorough and at and settled.get(name) == at}
    unsure = np.flatnonzero(~_among(names, same))
    seen = own.column("seen").to_numpy().copy()
    seen[unsure] = -1
    known = _known(own, unsure)
    files, unreadable = [], []
    for name in now.keys() - same:
        try:
            listed = _files(folder, name)
        except OSError as problem:
            why = f"cannot be read ({problem.strerror or problem})"
            unreadable.append(LeftOut(folder / "records" / name, why))
            continue
        for path, size, mtime in listed:
            at = known.get((path, size, mtime))
            if at is None:
                files.append(Found(path, now[name]))
            else:
                seen[at] = now[name]
    # By run id, so that what is read together is in order already.
    return seen, sorted(files, key=lambda one: one.path.rpartition("/")[2]), unreadable


def _times(names: pa.ChunkedArray, times: pa.ChunkedArray) -> dict[str, int]:
    """When a folder was changed, by its name; 0 where its rows do not agree."""
    rows = pa.table({"name": names, "time": times}).group_by("name")
    both = rows.aggregate([("time", "min"), ("time", "max")])
    columns = (both.column(name).to_pylist() for name in ("name", "time_min", "time_max"))
    return {name: low if low == high else 0 for name, low, high in zip(*columns, strict=True)}


def _among(names: pa.ChunkedArray, wanted: Collection[str]) -> np.ndarray:
    found: np.ndarray = pc.is_in(names, value_set=pa.array(wanted, pa.string())).to_numpy()
    return found


def _known(own: pa.Table, numbers: np.ndarray) -> dict[tuple[str, int, int], int]:
    """Some of the rows by their file: path, bytes and time of change."""
    rows = own.select(["path", "size", "mtime"]).take(pa.array(numbers))
    columns = [rows.column(name).to_pylist() for name in rows.column_names]
    return dict(zip(zip(*columns, strict=True), numbers.tolist(), strict=True))


def _still_there(own: pa.Table, seen: np.ndarray) -> pa.Table:
    own = own.set_column(own.column_names.index("seen"), "seen", pa.array(seen, pa.int64()))
    return own.filter(pc.greater_equal(own.column("seen"), 0)) if (seen < 0).any() else own


def _folders(folder: Path) -> dict[str, int]:
    """When every cell's folder was changed, by its name; 0 where it may still be changing."""
    settled = time.time_ns() - RECENT
    with os.scandir(folder / "records") as entries:
        changed = {entry.name: entry.stat().st_mtime_ns for entry in entries if entry.is_dir()}
    return {name: at if at < settled else 0 for name, at in changed.items()}


def _files(folder: Path, name: str) -> list[tuple[str, int, int]]:
    """Path in the results folder, bytes and time of change of a cell's record files."""
    found = []
    with os.scandir(folder / "records" / name) as entries:
        for entry in entries:
            # A name with a dot in front is a file that is still being written.
            if entry.name.endswith(".json") and not entry.name.startswith("."):
                about = entry.stat(follow_symlinks=False)
                found.append((f"records/{name}/{entry.name}", about.st_size, about.st_mtime_ns))
    return sorted(found)
