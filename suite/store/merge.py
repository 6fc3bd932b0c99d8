"""Rows of several folders as one table: every run once."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc

from suite.store.folder import Part
from suite.store.frame import together
from suite.store.parse import LeftOut


def merged(parts: Sequence[Part], heavy: Collection[str]) -> tuple[pa.Table, list[LeftOut]]:
    """All rows, each run once, and everything that was left out, by path.

    What a compacted file holds of a folder that is read here itself gives way to the folder.
    """
    live = [part.folder for part in parts if part.live]
    foreign = [_without(part.others, live) for part in parts]
    rows = together([part.rows for part in parts] + foreign, heavy)
    left_out = [one for part in parts for one in part.left_out]
    told = [one for part in parts for one in part.told]
    left_out += [one for one in told if not any(one.path.is_relative_to(f) for f in live)]
    doubles = list(_doubles(rows))
    left_out += [double.left_out for double in doubles if double.left_out]
    if doubles:
        dropped = {double.row for double in doubles}
        kept = [i for i in range(len(rows)) if i not in dropped]
        rows = rows.take(pa.array(kept, pa.int64()))
    left_out += _not_finite(rows)
    return rows, sorted(dict.fromkeys(left_out), key=lambda one: (str(one.path), one.why))


def _without(rows: pa.Table, folders: Sequence[Path]) -> pa.Table:
    named = pa.array([str(folder) for folder in folders], pa.string())
    return rows.filter(pc.invert(pc.is_in(rows.column("folder"), value_set=named)))


@dataclass(frozen=True)
class _Double:
    """A row that is not kept, and what is to be said of it."""

    row: int
    left_out: LeftOut | None


@dataclass(frozen=True)
class _One:
    row: int
    digest: str
    finished: str
    path: Path


def _doubles(rows: pa.Table) -> Iterator[_Double]:
    """Rows whose run is there already: of different contents the one that finished last is kept,
    and of equal ones the first."""
    run = pc.binary_join_element_wise(rows.column("cell_id"), rows.column("run_id"), "/")
    if pc.count_distinct(run).as_py() == len(rows):
        return
    names = ("digest", "finished", "folder", "path")
    columns = [run.to_pylist(), *(rows.column(name).to_pylist() for name in names)]
    groups: dict[str, list[_One]] = {}
    for row, (key, digest, finished, folder, path) in enumerate(zip(*columns, strict=True)):
        groups.setdefault(key, []).append(_One(row, digest, finished, Path(folder, path)))
    for group in groups.values():
        kept = max(group, key=lambda one: (one.finished, -one.row))
        yield from (_double(one, kept) for one in group if one is not kept)


def _double(one: _One, kept: _One) -> _Double:
    if one.path == kept.path:
        return _Double(one.row, None)
    if one.digest == kept.digest:
        return _Double(one.row, LeftOut(one.path, f"is the same record as {kept.path}", "copy"))
    why = f"has the run id of {kept.path} but other content; the latter finished later and is kept"
    if one.finished == kept.finished:
        why = f"has the run id of {kept.path} but other content; the first that was read is kept"
    return _Double(one.row, LeftOut(one.path, why, "conflict"))


def _not_finite(rows: pa.Table) -> list[LeftOut]:
    some = rows.filter(pc.is_valid(rows.column("nonfinite")))
    columns = (some.column(name).to_pylist() for name in ("folder", "path", "nonfinite"))
    return [
        LeftOut(Path(folder, path), f"has metrics that are not finite: {names}", "nan")
        for folder, path, names in zip(*columns, strict=True)
    ]
