"""What SLURM says of a sweep's jobs: one squeue and one sacct, whichever of them answers."""

from __future__ import annotations

import os
import re
import subprocess
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

QUEUE_FORMAT = "%i|%T|%r|%N|."
"""The last column marks a whole line: a truncated one lacks it."""

ACCOUNT_FIELDS = "JobID,State,ExitCode,NodeList"
SECONDS = 60.0
"""How long one call may take."""

WAITING = frozenset(
    (
        "PENDING",
        "CONFIGURING",
        "REQUEUED",
        "REQUEUE_HOLD",
        "REQUEUE_FED",
        "SPECIAL_EXIT",
    )
)
ACTIVE = frozenset(
    (
        "RUNNING",
        "COMPLETING",
        "SUSPENDED",
        "STOPPED",
        "SIGNALING",
        "STAGE_OUT",
        "RESIZING",
        "RESV_DEL_HOLD",
    )
)
ENDED = frozenset(
    (
        "COMPLETED",
        "FAILED",
        "CANCELLED",
        "TIMEOUT",
        "OUT_OF_MEMORY",
        "NODE_FAIL",
        "BOOT_FAIL",
        "DEADLINE",
        "PREEMPTED",
        "REVOKED",
    )
)

_ID = re.compile(r"(\d+)(?:_(\d+))?$")
_PENDING_ARRAY = re.compile(r"(\d+)_\[([\d,\-:]+)(?:%\d+)?\]$")


@dataclass(frozen=True)
class Row:
    """One job or array element as SLURM reports it.

    id: `12` or `12_3`; state: SLURM's word, long form, without a suffix like `by 0`; reason:
    why it waits or ended, if told; exit: `code:signal`, if told.
    """

    id: str
    state: str
    reason: str = ""
    node: str = ""
    exit: str = ""


@dataclass(frozen=True)
class Table:
    """The rows of one answer. whole: it was given, and no line of it was damaged, so that an id
    that is not in it is not known there."""

    rows: Mapping[str, Row] = field(default_factory=dict)
    whole: bool = False


@dataclass(frozen=True)
class View:
    """Both answers. notes: what was wrong with them, a sentence each."""

    queue: Table = Table()
    accounts: Table = Table()
    notes: tuple[str, ...] = ()


def look(ids: Iterable[str]) -> View:
    """Ask about jobs and array elements (`12`, `12_3`): one squeue and one sacct in all."""
    jobs = sorted({name.partition("_")[0] for name in ids}, key=int)
    if not jobs:
        return View()
    listed = ",".join(jobs)
    queue, late = _queue(
        _ask(["squeue", "-h", "-r", "-t", "all", "-o", QUEUE_FORMAT, "-j", listed])
    )
    accounts, also = _accounts(
        _ask(["sacct", "-X", "--noheader", "--parsable2", "-o", ACCOUNT_FIELDS, "-j", listed])
    )
    return View(queue, accounts, tuple(note for note in (late, also) if note))


def parse_queue(text: str) -> Table:
    """Rows of `squeue -h -r -o QUEUE_FORMAT`."""
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    # Asked of a named cluster, squeue says its name in a line of its own, also without a header.
    lines = [line for line in lines if not line.startswith("CLUSTER: ")]
    split = [line.split("|") for line in lines]
    good = [parts for parts in split if len(parts) == 5 and parts[4] == "."]
    rows = [(p[0], _word(p[1]), p[2], p[3], "") for p in good]
    return _table(rows, damaged=len(good) != len(lines))


def parse_accounts(text: str) -> Table:
    """Rows of `sacct -X --noheader --parsable2 -o ACCOUNT_FIELDS`; of several rows of one job
    the last counts, since a requeued job has one for every start."""
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    split = [line.split("|") for line in lines]
    good = [parts for parts in split if len(parts) == 4 and "." not in parts[0]]
    steps = sum(len(parts) == 4 and "." in parts[0] for parts in split)
    rows = [(p[0], _word(p[1]), "", p[3], p[2]) for p in good]
    return _table(rows, damaged=len(good) + steps != len(lines))


@dataclass(frozen=True)
class _Answer:
    out: str = ""
    error: str = ""
    code: int | None = None


def _ask(command: Sequence[str]) -> _Answer:
    # SLURM shortens the list of an array's waiting elements unless told not to.
    environment = {**os.environ, "SLURM_BITSTR_LEN": "0"}
    try:
        done = subprocess.run(
            command, capture_output=True, text=True, timeout=SECONDS, env=environment
        )
    except FileNotFoundError:
        return _Answer(error="it is not installed here")
    except (OSError, subprocess.TimeoutExpired) as problem:
        return _Answer(error=str(problem))
    return _Answer(done.stdout, done.stderr.strip(), done.returncode)


def _queue(answer: _Answer) -> tuple[Table, str]:
    """squeue fails on a single id that the controller has forgotten; that is an answer too."""
    if answer.code == 0:
        return _judged("squeue", parse_queue(answer.out))
    if "Invalid job id" in answer.error:
        return Table(whole=True), ""
    return Table(), f"squeue did not answer ({_first(answer)})."


def _accounts(answer: _Answer) -> tuple[Table, str]:
    if answer.code == 0:
        return _judged("sacct", parse_accounts(answer.out))
    if "accounting storage is disabled" in answer.error:
        return Table(), "Accounting is switched off: endings are known from the jobs themselves."
    return Table(), f"sacct did not answer ({_first(answer)})."


def _judged(name: str, table: Table) -> tuple[Table, str]:
    return (
        table,
        "" if table.whole else f"{name}'s answer was not whole; what it lacks is not sure.",
    )


def _first(answer: _Answer) -> str:
    lines = answer.error.splitlines()
    return lines[0] if lines else f"exit code {answer.code}"


def _word(state: str) -> str:
    """`CANCELLED by 0` and `CANCELLED+` are CANCELLED."""
    words = state.split()
    return words[0].rstrip("+") if words else ""


def _table(rows: Iterable[tuple[str, str, str, str, str]], damaged: bool) -> Table:
    found: dict[str, Row] = {}
    for name, state, reason, node, code in rows:
        ids = list(_elements(name))
        if state not in WAITING | ACTIVE | ENDED or not ids:
            damaged = True
            continue
        reason = "" if reason in ("None", "(null)") else reason
        node = "" if node in ("None assigned", "(null)", "n/a") else node
        found.update({i: Row(i, state, reason, node, code) for i in ids})
    return Table(found, whole=not damaged)


def _elements(name: str) -> Iterator[str]:
    """`12`, `12_3`, or every element of `12_[1,3-9:2%4]`; nothing for what is none of these."""
    if _ID.match(name):
        yield name
        return
    match = _PENDING_ARRAY.match(name)
    for part in match[2].split(",") if match else ():
        span = re.match(r"(\d+)(?:-(\d+)(?::(\d+))?)?$", part)
        if match and span:
            first, last = int(span[1]), int(span[2] or span[1])
            yield from (f"{match[1]}_{n}" for n in range(first, last + 1, int(span[3] or 1)))
