"""A queue on this machine: one scheduler process a sweep, one worker process a job.

The scheduler keeps nothing that it could not read again: a job is done when its record is, and
runs while its lock is held. So a killed scheduler leaves its workers running, and the next one
waits for these; a killed worker's job starts again and goes on from its checkpoint.

python -m suite.cluster.local RESULTS SWEEP WORKERS [LOCK]   LOCK: an inherited descriptor
"""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from suite.cluster.answers import runs_here, scheduler_lock, worker_lock
from suite.cluster.backlog import Backlog
from suite.cluster.locks import take
from suite.cluster.processes import note, terminate
from suite.cluster.slots import Slot, slots
from suite.cluster.start import LOCAL, LOG
from suite.cluster.sweep import Job, Sweep, folder, load_sweep
from suite.errors import EnvironmentProblem
from suite.files import explained
from suite.results import now
from suite.signals import StopFlag

ROOT = Path(__file__).resolve().parents[2]
"""Where this code lies; a sweep without code of its own runs it in place."""

POLL_SECONDS = 0.3
PATIENCE_SECONDS = 3.0
"""How long a second scheduler waits for the first to leave before it leaves itself."""


def start(results: Path, sweep: Sweep, workers: int = 0) -> None:
    """Start the scheduler of a stored sweep in the background and return at once.

    It inherits the lock that says that it runs. Where one runs already, that one takes up what is
    new in the sweep, and the second waits a moment, should the first be about to leave.
    Raises UsageError or EnvironmentProblem for workers that this machine cannot give.
    """
    slots(results, workers, str(sweep.options.get("device", "auto")))
    place = folder(results, sweep.id) / "local"
    place.mkdir(parents=True, exist_ok=True)
    wake_file(results, sweep.id).touch()
    held = take(scheduler_lock(results, sweep.id))
    command = [sys.executable, "-m", "suite.cluster.local", str(results.absolute()), sweep.id]
    try:
        with (place / "scheduler.log").open("ab") as log:
            scheduler = subprocess.Popen(
                [*command, str(workers), "" if held is None else str(held)],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                cwd=place,
                env=environment(sweep),
                pass_fds=() if held is None else (held,),
            )
        if held is not None:
            # It holds its lock from now on, and loads its libraries for seconds before it can say
            # who it is: a `cancel` meanwhile must find it.
            note(owner_file(results, sweep.id), scheduler.pid)
    finally:
        if held is not None:
            os.close(held)


def environment(sweep: Sweep) -> dict[str, str]:
    """This process's environment, with the sweep's own code before any other."""
    own = [sweep.code.path] if sweep.code else []
    given = [p for p in os.environ.get("PYTHONPATH", "").split(os.pathsep) if p]
    paths = [str(Path(path).absolute()) for path in (*(own or [str(ROOT)]), *given)]
    return {**os.environ, "PYTHONPATH": os.pathsep.join(paths), LOCAL: "1"}


def wake_file(results: Path, sweep_id: str) -> Path:
    """Touched when a running scheduler should look at its jobs anew."""
    return folder(results, sweep_id) / "local" / "wake"


def owner_file(results: Path, sweep_id: str) -> Path:
    """Who the scheduler is: pid and host; of interest while its lock is held."""
    return folder(results, sweep_id) / "local" / "scheduler.json"


def pid_file(results: Path, sweep_id: str, key: str) -> Path:
    """Who works on a job: pid and host; of interest while its lock is held."""
    return folder(results, sweep_id) / "local" / f"{key}.json"


class Scheduler:
    """Starts workers for what is ready, and judges those that ended."""

    def __init__(self, results: Path, sweep: Sweep, places: list[Slot]) -> None:
        self.results, self.sweep, self.places = results, sweep, places
        self.jobs = Backlog(results, sweep)
        self.workers: dict[str, subprocess.Popen[bytes]] = {}
        self._looked = 0.0

    def run(self, stop: StopFlag) -> None:
        """Until nothing is left to do, or a signal asks to stop."""
        while not stop:
            try:
                if self._turn():
                    return
            except EnvironmentProblem as problem:
                # A full disk, for instance; what is lost in memory is read again.
                say(str(problem))
                self._looked = 0.0
                time.sleep(PATIENCE_SECONDS)
            time.sleep(POLL_SECONDS)
        self._end(stop)

    def _turn(self) -> bool:
        """Look once at everything; returns whether nothing is left to do."""
        stamp = self._stamp()
        if stamp != self._looked:
            self._looked = stamp
            self.jobs.look(mine=set(self.workers))
        self._judge()
        self._start()
        return not (self.workers or self.jobs.open) and self._stamp() == self._looked

    def _stamp(self) -> float:
        """When somebody last asked to look at the jobs anew."""
        return wake_file(self.results, self.sweep.id).stat().st_mtime

    def _judge(self) -> None:
        """What has become of the workers that ended, of this scheduler and of others."""
        for key, worker in list(self.workers.items()):
            code = worker.poll()
            if code is not None:
                del self.workers[key]
                say(f"{key} ended with {code}: {self.jobs.judge(key, code)}")
        for key in self.jobs.left_elsewhere():
            say(f"{key} ended elsewhere: {self.jobs.judge(key, None)}")

    def _start(self) -> None:
        free = self._free()
        while self.jobs.ready:
            place = next(free, None)
            if place is None:
                return
            slot, held = place
            try:
                self._give(slot, held)
            finally:
                os.close(held)

    def _free(self) -> Iterator[tuple[Slot, int]]:
        """Places that nobody has, of this or another sweep; each held until it is closed."""
        for slot in self.places:
            held = take(slot.lock)
            if held is not None:
                yield slot, held

    def _give(self, slot: Slot, held: int) -> None:
        """Start a worker for the first ready job that no other worker runs or has run."""
        while self.jobs.ready:
            job = self.jobs.ready.popleft()
            own = take(worker_lock(self.results, job.key))
            if own is None:
                self.jobs.elsewhere.add(job.key)
                continue
            try:
                if self.jobs.has_ended(job.key):
                    continue
                self.workers[job.key] = self._worker(job, slot, (held, own))
                return
            finally:
                os.close(own)

    def _worker(self, job: Job, slot: Slot, locks: tuple[int, int]) -> subprocess.Popen[bytes]:
        """The worker inherits both locks, and alone keeps them."""
        place = folder(self.results, self.sweep.id)
        log = place / "logs" / f"{job.key}-{time.time_ns()}.log"
        command = [sys.executable, "-m", "suite.cluster.worker"]
        with explained(log), log.open("wb") as handle:
            worker = subprocess.Popen(
                [*command, job.cell, str(place / "jobs" / job.key)],
                stdin=subprocess.DEVNULL,
                stdout=handle,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                cwd=place / "local",
                env={**environment(self.sweep), **slot.environment, LOG: str(log)},
                pass_fds=locks,
            )
        note(pid_file(self.results, self.sweep.id, job.key), worker.pid)
        say(f"{job.key} runs on {slot.name} as process {worker.pid}")
        return worker

    def _end(self, stop: StopFlag) -> None:
        """Let every worker save and leave, and wait for it; their jobs can go on later."""
        say(f"stopped by {stop.name}; {len(self.workers)} workers save their state")
        for worker in self.workers.values():
            worker.terminate()
        for key in self.jobs.elsewhere:
            if runs_here(self.results, self.sweep.id, key):
                terminate(pid_file(self.results, self.sweep.id, key))
        for worker in self.workers.values():
            worker.wait()


def say(text: str) -> None:
    with suppress(OSError):  # the log may be on a full disk
        print(f"{now()} {text}", flush=True)


def main(results: str, sweep_id: str, workers: str, inherited: str = "") -> int:
    root = Path(results)
    sweep = load_sweep(root, sweep_id)
    places = slots(root, int(workers), str(sweep.options.get("device", "auto")))
    if not inherited and _held_patiently(scheduler_lock(root, sweep_id)) is None:
        say("another scheduler has this sweep; it was told to look again")
        return 0
    note(owner_file(root, sweep_id), os.getpid())
    with StopFlag() as stop:
        Scheduler(root, sweep, places).run(stop)
    say("the scheduler ends")
    return 0


def _held_patiently(path: Path) -> int | None:
    end = time.monotonic() + PATIENCE_SECONDS
    while time.monotonic() < end:
        held = take(path)
        if held is not None:
            return held
        time.sleep(POLL_SECONDS)
    return None


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
