"""The compacted file: every record of one or more results folders in one parquet file."""

from __future__ import annotations

import json
import os
from collections.abc import Collection, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from suite.files import write_atomically
from suite.store.frame import LAYOUT, fitted, schema
from suite.store.parse import LeftOut
from suite.store.rows import HEAVY

COMPACTED = "records.parquet"
META = b"lowbit"

GROUP = 32_000_000
"""Bytes of a group of rows: many small groups are slow to read, large ones need memory."""


def read(
    path: Path, heavy: Collection[str] = HEAVY
) -> tuple[pa.Table | None, list[LeftOut], list[LeftOut]]:
    """Rows with whole folder names (None: there is no usable file), what its writing left out,
    and what is wrong with the file itself."""
    if not path.exists():
        return None, [], []
    try:
        file, about = _opened(path)
        if about["layout"] != LAYOUT:
            other = f"has layout {about['layout']}, this lowbit-suite reads {LAYOUT}"
            return None, [], [LeftOut(path, f"{other}; `lowbit collect` writes it anew", "newer")]
        unasked = set(HEAVY) - set(heavy)
        rows = file.read([c for c in file.schema_arrow.names if c not in unasked])
        left_out = [LeftOut(Path(p), why, kind) for p, why, kind in about["left_out"]]
        return _whole(rows.replace_schema_metadata(), path.parent), left_out, []
    except (OSError, pa.ArrowException, KeyError, ValueError, TypeError) as problem:
        first = str(problem).splitlines()[0] if str(problem) else type(problem).__name__
        why = f"is not a compacted file of lowbit-suite ({first}); `lowbit collect` writes it anew"
        return None, [], [LeftOut(path, why)]


def usable(path: Path) -> bool:
    """Whether `read` would find rows there; looks at its head alone."""
    try:
        return bool(path.exists() and _opened(path)[1]["layout"] == LAYOUT)
    except (OSError, pa.ArrowException, KeyError, ValueError, TypeError):
        return False


def _opened(path: Path) -> tuple[pq.ParquetFile, dict[str, Any]]:
    file = pq.ParquetFile(path)
    return file, json.loads((file.schema_arrow.metadata or {})[META])


def write(
    path: Path,
    sources: Iterable[Path],
    chosen: Mapping[str, tuple[str, int]],
    names: Collection[str],
    left_out: Sequence[LeftOut],
) -> None:
    """Write the chosen rows of the sources atomically, a group of rows at a time.

    sources: compacted files and pieces of one. chosen: for the whole path of a record its digest,
    and when its folder was last changed. names: columns of all rows together.
    """
    about = {"layout": LAYOUT, "left_out": [[str(one.path), one.why, one.kind] for one in left_out]}
    whole = schema(names, HEAVY).with_metadata({META: json.dumps(about).encode()})
    waiting = dict(chosen)

    def save(temporary: Path) -> None:
        with pq.ParquetWriter(temporary, whole, compression="zstd") as writer:
            groups = (rows for source in sources for rows in _groups(source))
            wanted = (_chosen(rows, waiting) for rows in groups)
            moved = (fitted(_movable(rows, path.parent), whole) for rows in wanted if len(rows))
            for rows in _gathered(moved):
                writer.write_table(rows)

    write_atomically(path, save)


def _groups(source: Path) -> Iterable[pa.Table]:
    file = pq.ParquetFile(source)
    for number in range(file.num_row_groups):
        yield _whole(file.read_row_group(number), source.parent)


def _gathered(tables: Iterable[pa.Table]) -> Iterable[pa.Table]:
    """The same rows in tables of GROUP bytes or a little more."""
    waiting: list[pa.Table] = []
    size = 0
    for one in tables:
        waiting.append(one)
        size += one.nbytes
        if size >= GROUP:
            yield pa.concat_tables(waiting)
            waiting, size = [], 0
    if waiting:
        yield pa.concat_tables(waiting)


def _chosen(rows: pa.Table, waiting: dict[str, tuple[str, int]]) -> pa.Table:
    """The rows that are wanted and not written yet, with the new time of their folder."""
    columns = (rows.column(name).to_pylist() for name in ("folder", "path", "digest"))
    kept, seen = [], []
    for number, (folder, path, digest) in enumerate(zip(*columns, strict=True)):
        whole = f"{folder}/{path}"
        if waiting.get(whole, ("", 0))[0] == digest:
            kept.append(number)
            seen.append(waiting.pop(whole)[1])
    at = rows.column_names.index("seen")
    return rows.take(pa.array(kept, pa.int64())).set_column(at, "seen", pa.array(seen, pa.int64()))


def _whole(rows: pa.Table, where: Path) -> pa.Table:
    """Folder names, which are relative to the file, made whole."""
    return _folders(rows, {name: os.path.abspath(where / name) for name in _unique(rows)})


def _movable(rows: pa.Table, where: Path) -> pa.Table:
    """Folder names relative to the file, so that a tree of folders can be moved."""
    return _folders(rows, {name: os.path.relpath(name, where) for name in _unique(rows)})


def _unique(rows: pa.Table) -> list[str]:
    found: list[str] = pc.unique(rows.column("folder")).to_pylist()
    return found


def _folders(rows: pa.Table, names: Mapping[str, Any]) -> pa.Table:
    column = rows.column("folder").combine_chunks().dictionary_encode()
    renamed = pa.array([names[name] for name in column.dictionary.to_pylist()], pa.string())
    renamed = renamed.take(column.indices)
    return rows.set_column(rows.column_names.index("folder"), "folder", renamed)
