"""What a sweep's queue says of its jobs: SLURM's, or the local one."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from suite.cluster.known import Answer, Seen, life, over, slurm_id
from suite.cluster.locks import is_held
from suite.cluster.slurm_view import Row, View, look
from suite.cluster.sweep import Sweep, events, folder


def answers(
    results: Path, sweep: Sweep, seen: Mapping[str, Seen]
) -> tuple[dict[str, Answer], tuple[str, ...]]:
    """One answer a job, by key, and what should be said about the answers."""
    if sweep.executor == "local":
        return _local(results, sweep, seen)
    ids = {key: slurm_id(found.events) for key, found in seen.items()}
    open_ = [name for key, name in ids.items() if name and not seen[key].recorded]
    view = look(open_)
    return {key: _slurm(name, view) for key, name in ids.items()}, view.notes


def _slurm(name: str, view: View) -> Answer:
    return Answer(
        live=view.queue.rows.get(name),
        past=view.accounts.rows.get(name),
        sure=bool(name) and view.queue.whole,
    )


def scheduler_lock(results: Path, sweep_id: str) -> Path:
    """Held by the local queue's scheduler of a sweep while it lives."""
    return folder(results, sweep_id) / "local" / "scheduler.lock"


def worker_lock(results: Path, key: str) -> Path:
    """Held by the worker that runs a job, whichever sweep it belongs to."""
    return results / "work" / key / "queue.lock"


def runs_here(results: Path, sweep_id: str, key: str) -> bool:
    """Whether a worker of this sweep runs the job: its lock is held, and the sweep's last word
    about it is that it started."""
    if not is_held(worker_lock(results, key)):
        return False
    told = life(events(folder(results, sweep_id), key))
    return bool(told) and told[-1].kind == "started"


def _local(
    results: Path, sweep: Sweep, seen: Mapping[str, Seen]
) -> tuple[dict[str, Answer], tuple[str, ...]]:
    alive = is_held(scheduler_lock(results, sweep.id))
    found = {}
    for key, of_job in seen.items():
        here = is_held(worker_lock(results, key))
        found[key] = Answer(live=_row(key, of_job, here, alive), sure=True, gone="stopped")
    return found, ()


def _row(key: str, seen: Seen, here: bool, alive: bool) -> Row | None:
    told = life(seen.events)
    if seen.recorded or over(told):
        return None
    if here and told and told[-1].kind == "started":
        return Row(key, "RUNNING", node=told[-1].host)
    if here and alive:
        return Row(key, "PENDING", reason="a worker starts, or another sweep runs it")
    return Row(key, "PENDING") if alive else None
