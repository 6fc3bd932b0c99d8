"""Records of one or many results folders as one table, and what of them could not be used."""

from __future__ import annotations

import fcntl
import os
import shutil
import tempfile
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import pyarrow as pa
import pyarrow.compute as pc

from suite.files import explained, sweep_temporaries
from suite.store import compacted
from suite.store.beside import bring_measurements
from suite.store.compacted import COMPACTED
from suite.store.folder import Part, part
from suite.store.frame import frame
from suite.store.merge import merged
from suite.store.parse import LeftOut

if TYPE_CHECKING:
    import pandas as pd

PIECES = ".collect-"
"""Beginning of the name of a collection's own folder."""

HARMLESS = ("copy",)
"""Kinds of LeftOut with which nothing is lost."""


@dataclass(frozen=True)
class Collected:
    """Runs of many folders, one row each, sorted by run id; and what is not among them.

    Columns of `runs`. What a run lacks is None or NaN; JSON is canonical text (sorted keys).

    - identity: cell_id, run_id, status (`done`, `failed`), configuration, label, method, variant,
      model, task, w_bits, a_bits, e_bits (NaN: none), seed; settings, recipe, cell (JSON of what
      differs from the defaults)
    - measured: `m.<metric>`, `t.<time>`, `mem.<memory>`
    - how: started, finished; needs.<role>, a run id; protocol, evaluation (the part of the
      protocol that says how it was evaluated), execution, audited (number of places,
      full_precision, problems), all JSON
    - with what: revision, dirty; suite; python, torch, torchvision, timm, transformers, numpy
      (major.minor); device, hardware; data_digest, start (JSON); weights (digest)
    - where: folder (results folder), path (the record's file), files (JSON: names of what lies
      beside it)
    - what went wrong: error (JSON: type, message, step), nonfinite (names of metrics)
    - if asked for, as JSON: audit, diagnosis, history
    """

    runs: pd.DataFrame
    left_out: list[LeftOut]

    @property
    def whole(self) -> bool:
        """Whether everything that was found could be used."""
        return all(one.kind in HARMLESS for one in self.left_out)


def collect(folders: Sequence[Path], heavy: Collection[str] = ()) -> Collected:
    """Read all records of the folders; what cannot be used is left out and named.

    A folder's compacted file saves reading the JSON files that are in it and have not changed.
    Of records with the same cell and run id, equal bytes are one record; of different ones the
    later is kept, and both are named. heavy: which of `audit`, `diagnosis`, `history` are wanted
    as well; they are most of a record, and all of them need not fit in memory.
    """
    rows, left_out = merged([part(folder, heavy) for folder in _whole(folders)], heavy)
    return Collected(frame(rows), left_out)


def newest(runs: pd.DataFrame, status: str = "done") -> pd.DataFrame:
    """The newest run of every cell with that status; run ids begin with the time."""
    return runs[runs["status"] == status].drop_duplicates("cell_id", keep="last")


@dataclass(frozen=True)
class Compaction:
    """What `compact` wrote. runs, cells: in the file; new: read from JSON now; gone: rows of
    before whose record has changed or is no longer there; size: bytes."""

    path: Path
    runs: int
    cells: int
    new: int
    gone: int
    size: int
    left_out: list[LeftOut]

    @property
    def whole(self) -> bool:
        return all(one.kind in HARMLESS for one in self.left_out)


def compact(folders: Sequence[Path], out: Path, rebuild: bool = False) -> Compaction:
    """Write all records of the folders, complete, into one file of the folder `out`.

    Only files that are new or have changed (bytes or time) are parsed, unless `rebuild`. What the
    file holds of folders that are not named stays. Measurements are copied beside it. The JSON
    records are not touched.
    """
    out = Path(os.path.abspath(out))
    folders = _whole(folders)
    before = None if out in folders else compacted.read(out / COMPACTED, ())[0]
    if out not in folders and (out / COMPACTED).exists():
        folders.append(out)
    with explained(out):
        out.mkdir(parents=True, exist_ok=True)
        sweep_temporaries(out)
    with _pieces(out) as pieces:
        parts = [
            part(folder, (), known=before, thorough=True, anew=rebuild, keep=Path(pieces))
            for folder in folders
        ]
        rows, left_out = merged(parts, ())
        left_out += bring_measurements(folders, out)
        compacted.write(
            out / COMPACTED,
            _sources(parts, out, rebuild),
            _chosen(rows, left_out),
            rows.column_names,
            left_out,
        )
    return Compaction(
        path=out / COMPACTED,
        runs=len(rows),
        cells=len(pc.unique(rows.column("cell_id"))),
        new=sum(one.new for one in parts),
        gone=sum(one.gone for one in parts),
        size=(out / COMPACTED).stat().st_size,
        left_out=left_out,
    )


@contextmanager
def _pieces(out: Path) -> Iterator[str]:
    """A folder for parts of the file that is made, locked while it is used; those that killed
    collections left are swept."""
    for left in out.glob(f"{PIECES}*"):
        with suppress(OSError):
            handle = os.open(left, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
                shutil.rmtree(left, ignore_errors=True)
            finally:
                os.close(handle)
    with explained(out), tempfile.TemporaryDirectory(prefix=PIECES, dir=out) as made:
        handle = os.open(made, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            with suppress(OSError):
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            yield made
        finally:
            os.close(handle)


def _whole(folders: Sequence[Path]) -> list[Path]:
    return list(dict.fromkeys(Path(os.path.abspath(folder)) for folder in folders))


def _sources(parts: Sequence[Part], out: Path, rebuild: bool) -> list[Path]:
    """Files that hold the rows with all columns, the ones to be believed first."""
    stored = dict.fromkeys([*(one.folder for one in parts), out])
    found = [piece for one in parts for piece in one.pieces]
    before = [f / COMPACTED for f in stored if compacted.usable(f / COMPACTED)]
    return found + before if rebuild else before + found


def _chosen(rows: pa.Table, left_out: Sequence[LeftOut]) -> dict[str, tuple[str, int]]:
    """For every record's path its digest and when its folder was changed; 0 where something was
    left out, so that the next reading looks there again and names it again."""
    troubled = {str(one.path.parent) for one in left_out if one.kind != "nan"}
    names = ("folder", "path", "digest", "seen")
    columns = (rows.column(name).to_pylist() for name in names)
    found = {}
    for folder, path, digest, seen in zip(*columns, strict=True):
        whole = f"{folder}/{path}"
        found[whole] = (digest, 0 if os.path.dirname(whole) in troubled else seen)
    return found
