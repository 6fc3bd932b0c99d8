"""Many record files into tables, on all cores where there are enough of them."""

from __future__ import annotations

import hashlib
import multiprocessing
import os
import sys
from collections.abc import Collection, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import partial
from importlib.abc import MetaPathFinder
from pathlib import Path
from typing import Any, NamedTuple

import pyarrow as pa
import pyarrow.parquet as pq

from suite.orphans import end_with_parent
from suite.record_files import NoRecord, bytes_of
from suite.store.frame import table
from suite.store.rows import Unusable, row_of

CHUNK = 500
"""Files a worker reads at a time."""

ENOUGH = 4000
"""Files below which starting workers costs more than they save."""


@dataclass(frozen=True)
class LeftOut:
    """A file, or one value of it, that could not be used as it is.

    kind: damaged, foreign, newer, invalid or empty (not used at all); conflict (another record
    has its run id); nan (used, but a metric is not finite); copy (the same record once more).
    """

    path: Path
    why: str
    kind: str = "damaged"

    def __str__(self) -> str:
        return f"{self.path} {self.why}"


class Found(NamedTuple):
    """A record file: its path in the results folder, and when its folder was last changed."""

    path: str
    seen: int


class Piece(NamedTuple):
    """What a chunk of files gave: light rows, the file that holds them whole (if kept)."""

    rows: pa.Table
    file: Path | None
    left_out: list[LeftOut]


def parse(
    folder: Path, files: Sequence[Found], heavy: Collection[str], keep: Path | None = None
) -> Iterator[Piece]:
    """Read `files` of a results folder in chunks; with `keep`, every chunk is also written whole
    to a parquet file of that folder, and its rows come back without the heavy columns."""
    chunks = [files[i : i + CHUNK] for i in range(0, len(files), CHUNK)]
    work = partial(_piece, str(folder), tuple(heavy), keep)
    workers = len(os.sched_getaffinity(0))
    if len(files) < ENOUGH or workers < 2:
        yield from map(work, chunks)
        return
    with _pool(workers) as pool:
        yield from pool.map(work, chunks)


def _pool(workers: int) -> ProcessPoolExecutor:
    """A fresh interpreter each, since Arrow's threads do not survive a fork; without pandas."""
    context = multiprocessing.get_context("spawn")
    return ProcessPoolExecutor(workers, mp_context=context, initializer=_begin)


class _NoPandas(MetaPathFinder):
    """Keeps Arrow from loading pandas, 50 MiB a process: it looks only for pandas' types among
    the values that it makes a column of, and a record's row has none."""

    def find_spec(self, fullname: str, path: object, target: object = None) -> None:
        if fullname == "pandas":
            raise ModuleNotFoundError("pandas is kept out of this process", name=fullname)


def _begin() -> None:
    end_with_parent()
    sys.meta_path.insert(0, _NoPandas())


def _piece(folder: str, heavy: tuple[str, ...], keep: Path | None, files: list[Found]) -> Piece:
    rows, left_out = [], []
    for found in files:
        try:
            rows.append(_read(folder, found, heavy))
        except Unusable as problem:
            left_out.append(LeftOut(Path(folder, found.path), str(problem), problem.kind))
        except OSError as problem:
            why = f"cannot be read ({problem.strerror or problem})"
            left_out.append(LeftOut(Path(folder, found.path), why))
    whole = table(rows, heavy)
    if keep is None:
        return Piece(whole, None, left_out)
    name = hashlib.sha256(f"{folder}/{files[0].path}".encode()).hexdigest()
    pq.write_table(whole, keep / name, compression="zstd")
    return Piece(whole.drop_columns(list(heavy)), keep / name, left_out)


def _read(folder: str, found: Found, heavy: tuple[str, ...]) -> dict[str, Any]:
    try:
        data, about = bytes_of(Path(folder, found.path))
    except NoRecord as problem:
        raise Unusable("damaged", str(problem)) from None
    return {
        **row_of(data, heavy),
        "folder": folder,
        "path": found.path,
        "digest": hashlib.blake2b(data, digest_size=16).hexdigest(),
        "size": about.st_size,
        "mtime": about.st_mtime_ns,
        "seen": found.seen,
    }
