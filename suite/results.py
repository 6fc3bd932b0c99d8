"""The record store: one JSON a run, written once and never edited, and what lies beside it."""

from __future__ import annotations

import json
import math
import os
import re
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Literal
from uuid import uuid4

import numpy as np
from filelock import FileLock, Timeout
from pydantic import BaseModel, ConfigDict, ValidationError

from suite.cell import Cell
from suite.errors import EnvironmentProblem, LowbitError, UsageError
from suite.files import explained, sweep_temporaries, write_atomically, write_text
from suite.record_files import NoRecord, content_of

SCHEMA = 1
"""Version of the record's layout; a reader refuses records of a newer one."""


class Record(BaseModel):
    """What came out of one run of one cell.

    status: `done` or `failed`. metrics: percent unless their name says otherwise. history: one
    row a pass. needs: ids of the runs that this one rests on. error: type, message, step.
    files: names of the files beside the record. Times are UTC, ISO 8601.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    record_schema: int = SCHEMA
    cell_id: str
    run_id: str
    cell: dict[str, Any]
    status: Literal["done", "failed"]
    started: str
    finished: str
    metrics: dict[str, float] = {}
    history: list[dict[str, Any]] = []
    time: dict[str, float] = {}
    memory: dict[str, float] = {}
    execution: dict[str, Any] = {}
    protocol: dict[str, Any] = {}
    audit: dict[str, Any] = {}
    diagnosis: dict[str, Any] = {}
    needs: dict[str, Any] = {}
    provenance: dict[str, Any] = {}
    files: dict[str, str] = {}
    error: dict[str, Any] | None = None


def now() -> str:
    return datetime.now(UTC).isoformat(timespec="milliseconds")


def new_run_id(after: str = "") -> str:
    """Sortable by time and unique: `20260131T235959-1a2b3c4d`; five of the eight digits behind the
    second are its microsecond, three are random.

    after: the newest id of the same cell. Where the clock does not say a later time, because it was
    set back or that one was made by a clock that was fast, the new id is a microsecond after it:
    the newest run of a cell is the one that was made last.
    """
    time, known = datetime.now(UTC), RUN_ID.fullmatch(after)
    if known:
        second = datetime.strptime(known[1], "%Y%m%dT%H%M%S").replace(tzinfo=UTC)
        time = max(time, second + timedelta(microseconds=int(known[2], 16) + 1))
    return f"{time:%Y%m%dT%H%M%S}-{time.microsecond:05x}{uuid4().hex[:3]}"


PLAIN = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]*")
"""A name that is safe in a path."""

RUN_ID = re.compile(r"([0-9]{8}T[0-9]{6})-([0-9a-f]{5})[0-9a-f]{3}")
"""Time to the second, and its microsecond."""


class Store:
    """Records and working files under one results folder.

    records/<cell id>/<run id>.json and the files beside it; work/<cell id>/ holds the lock and
    the checkpoint of a running cell; soft_labels/<key>/ holds labels that cells share.
    """

    def __init__(self, root: Path) -> None:
        self.root = root
        self.damaged: dict[Path, str] = {}

    def prepare(self) -> None:
        """Make sure the folder can be written, before anything is paid for."""
        write_text(self.root / ".writable", now())

    def work(self, cell_id: str) -> Path:
        return self.root / "work" / _plain(cell_id)

    def beside(self, cell_id: str, run_id: str, ending: str) -> Path:
        """Path of a file that belongs to one record."""
        return self.root / "records" / _plain(cell_id) / f"{_plain(run_id)}.{ending}"

    def sweep(self, cell_id: str) -> None:
        """Remove what killed runs left behind of a cell; for whoever holds its lock."""
        own = (self.work(cell_id), self.work(cell_id) / "state")
        for folder in (*own, self.root / "records" / _plain(cell_id)):
            sweep_temporaries(folder)

    def write(self, record: Record) -> Path:
        """Write a record for good; raises FileExistsError rather than touch an old one, and
        LowbitError for a finished run with a number that is none."""
        odd = nonfinite(record)
        if record.status == "done" and odd:
            raise LowbitError(
                f"{record.cell_id} ended with numbers that are none ({', '.join(odd)}); it is "
                "recorded as failed: try a smaller learning rate, or look for NaN in its weights."
            )
        path = self.beside(record.cell_id, record.run_id, "json")
        if path.exists():
            raise FileExistsError(f"The record {path} exists; records are never edited.")
        write_text(path, record.model_dump_json(indent=1) + "\n")
        return path

    def records(self, cell_id: str | None = None) -> Iterator[Record]:
        """All records (of one cell, if named), oldest first. What cannot be read is passed over,
        and stands in `damaged`, a sentence each."""
        for path in self._paths(cell_id):
            try:
                yield read(path)
            except EnvironmentProblem as problem:
                self.damaged[path] = str(problem)

    def _paths(self, cell_id: str | None) -> list[Path]:
        pattern = f"{_plain(cell_id)}/*.json" if cell_id else "*/*.json"
        return sorted((self.root / "records").glob(pattern), key=lambda p: p.name)

    def next_run_id(self, cell_id: str) -> str:
        """An id for a new run of a cell, behind all that it has."""
        names = [path.stem for path in self._paths(cell_id) if RUN_ID.fullmatch(path.stem)]
        return new_run_id(after=max(names, default=""))

    def latest(self, cell_id: str, status: str = "done") -> Record | None:
        """The newest record of a cell with that status, if any."""
        found = None
        for record in self.records(cell_id):
            if record.status == status:
                found = record
        return found

    def write_bitmap(self, record_id: tuple[str, str], correct: np.ndarray) -> str:
        """Store one bit a sample (packed, in evaluation order); returns the file's name."""
        path = self.beside(*record_id, "correct.npy")

        def save(temporary: Path) -> None:
            with temporary.open("wb") as handle:
                np.save(handle, np.packbits(correct.astype(bool)))

        write_atomically(path, save)
        return path.name

    def write_values(self, record_id: tuple[str, str], values: np.ndarray) -> str:
        """Store one predicted rating a sample (float32, in order); returns the file's name."""
        path = self.beside(*record_id, "values.npy")

        def save(temporary: Path) -> None:
            with temporary.open("wb") as handle:
                np.save(handle, values.astype(np.float32))

        write_atomically(path, save)
        return path.name

    def read_bitmap(self, record: Record) -> np.ndarray:
        """One bool a sample, in evaluation order."""
        path = self.beside(record.cell_id, record.run_id, "correct.npy")
        bits = np.unpackbits(np.load(path, allow_pickle=False))
        return bits[: int(record.metrics["samples"])].astype(bool)

    @contextmanager
    def lock(self, cell_id: str, tell: Any = None) -> Iterator[None]:
        """Hold the cell: one writer at a time; a second process waits and says for whom."""
        folder = self.work(cell_id)
        with explained(folder):
            folder.mkdir(parents=True, exist_ok=True)
        lock = FileLock(folder / "lock")
        owner = folder / "owner.json"
        try:
            lock.acquire(timeout=0)
        except Timeout:
            if tell:
                tell(f"{cell_id}: {_owner(owner)} works on this cell; waiting for it.")
            lock.acquire()
        try:
            who = {"pid": os.getpid(), "host": socket.gethostname(), "since": now()}
            write_text(owner, json.dumps(who))
            yield
        finally:
            owner.unlink(missing_ok=True)
            lock.release()


def nonfinite(record: Record) -> list[str]:
    """Names of metrics, times and memory readings that are NaN or infinite, as `metrics.top1`; the
    one rule of the writer and of everybody who reads."""
    return [
        f"{part}.{name}"
        for part in ("metrics", "time", "memory")
        for name, value in getattr(record, part).items()
        if not math.isfinite(value)
    ]


def read(path: Path) -> Record:
    """Read one record; raises EnvironmentProblem if it is damaged or of a newer schema."""
    try:
        content = content_of(path)
    except NoRecord as problem:
        raise EnvironmentProblem(
            f"The record {path} {problem}; move it out of the results folder."
        ) from problem
    schema = content.get("record_schema")
    if isinstance(schema, int) and schema > SCHEMA:
        raise EnvironmentProblem(
            f"The record {path} has schema {schema}, this lowbit-suite reads up to {SCHEMA}; "
            "upgrade it, or use another results folder with --results."
        )
    try:
        return Record.model_validate(content)
    except ValidationError as problem:
        first = problem.errors()[0]
        raise EnvironmentProblem(
            f"The record {path} is not valid ({'.'.join(map(str, first['loc']))}: {first['msg']}); "
            "move it out of the results folder."
        ) from problem


def failed(
    cell: Cell, cell_id: str, started: str, error: dict[str, Any], run_id: str = "", **more: Any
) -> Record:
    """The record of a run that did not come to its end."""
    return Record(
        cell_id=cell_id,
        run_id=run_id or new_run_id(),
        cell=cell.delta(),
        status="failed",
        started=started,
        finished=now(),
        error=error,
        **more,
    )


def _plain(name: str) -> str:
    if not PLAIN.fullmatch(name):
        raise UsageError(f"{name!r} is not an id: letters, digits, '-' and '_' only.")
    return name


def _owner(path: Path) -> str:
    try:
        who = json.loads(path.read_text())
        return f"process {who['pid']} on {who['host']}"
    except (OSError, ValueError, KeyError):
        return "another process"
