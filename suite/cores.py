"""Cores: how many this process may use, how many others use, and how many threads a cell gets.

OpenMP threads spin while they wait for each other. Where one of them is not scheduled, because
another process has its core, the others wait for it at every parallel region: on two cores beside
one busy process a training step of a small model takes ten times as long with two threads as with
one. So threads are given for the cores that are free when a cell starts (docs/performance.md).
"""

from __future__ import annotations

import math
import os
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import psutil

from suite.busy import UNNOTICED

WATCHED_SECONDS = 0.3
"""How long a look at what others use takes; the kernel counts in hundredths of a second."""

WORK_A_THREAD = 1e9
"""Floating-point operations of a step that are worth a thread: with fewer, handing them out and
waiting for each other costs what the thread brings."""

WAITING = ("OMP_WAIT_POLICY", "GOMP_SPINCOUNT", "KMP_BLOCKTIME")
"""Environment variables with which a user says how OpenMP threads wait."""


@dataclass(frozen=True)
class Threads:
    """count: threads of this process. why: what decided. cores: what this process may use; busy:
    of these, what others used when it was looked at (cores' worth; None: nobody looked)."""

    count: int
    why: str
    cores: int
    busy: float | None = None


def allowed(environment: Mapping[str, str] | None = None, local_world: int = 1) -> int:
    """Cores that this process may use, one at the least.

    Of all its machine's processes together (`local_world` of one run): its CPU affinity and its
    cgroup's quota. Of this one alone: SLURM's cpus-per-task and OMP_NUM_THREADS.
    """
    given = os.environ if environment is None else environment
    together = [len(_affinity()), *_quotas(_cgroup())]
    own = [_whole(given.get(name, "")) for name in ("SLURM_CPUS_PER_TASK", "OMP_NUM_THREADS")]
    return max(1, min([min(together) // local_world, *(n for n in own if n)]))


def used_by_others(seconds: float = WATCHED_SECONDS) -> float:
    """Cores' worth that other processes use of this one's cores, watched for some time."""
    before = reading()
    time.sleep(seconds)
    return reading().others_since(before)


@dataclass(frozen=True)
class Reading:
    """Seconds so far: on the clock, of CPU on this process's cores by anybody (stolen time of a
    virtual machine included), and by this process and its children."""

    wall: float
    anybody: float
    own: float

    def others_since(self, before: Reading) -> float:
        """Cores' worth that others used since an earlier reading."""
        others = (self.anybody - before.anybody) - (self.own - before.own)
        return max(0.0, others) / max(self.wall - before.wall, 1e-9)


def reading() -> Reading:
    times = psutil.cpu_times(percpu=True)
    anybody = sum(_worked(times[core]) for core in _affinity() if core < len(times))
    return Reading(time.monotonic(), anybody, _own_seconds())


def chosen_threads(
    asked: int, kept: int, cores: int, work: float, busy: float | None = None
) -> Threads:
    """Threads of a cell on the CPU.

    kept: those with which the run began that is continued: others would give other bits. asked:
    what the user wants (0: no wish). work: floating-point operations of a training step (0: not
    known). busy: cores' worth that others use (None: to be looked at, if it can matter).
    """
    if kept:
        return Threads(kept, "as the run began", cores)
    if asked:
        return Threads(asked, "asked for", cores)
    useful = max(1, math.ceil(work / WORK_A_THREAD)) if work else cores
    if min(cores, useful) == 1:
        return Threads(1, "one core" if cores == 1 else "little work", cores)
    busy = used_by_others() if busy is None else busy
    free = max(1, cores - math.ceil(max(0.0, busy - UNNOTICED)))
    count = min(useful, free)
    why = "others use the cores" if free < min(cores, useful) else "all cores"
    return Threads(count, why if count < useful or count == cores else "little work", cores, busy)


def wait_without_spinning_if_shared() -> None:
    """Let OpenMP threads sleep while they wait, where others use this process's cores.

    It counts only before torch is loaded, which reads these variables once; what the user has set
    stays. With two cores or fewer there is nothing to do: one busy core leaves one thread.
    """
    told = any(name in os.environ for name in WAITING)
    if told or "torch" in sys.modules or allowed() < 3:
        return
    if used_by_others() > UNNOTICED:
        os.environ["OMP_WAIT_POLICY"] = "passive"


def _affinity() -> set[int]:
    return os.sched_getaffinity(0)


def _whole(text: str) -> int:
    """The first number of `4` or `4,2` (OMP_NUM_THREADS may name a number a level); 0: none."""
    first = text.split(",")[0].strip()
    return int(first) if first.isascii() and first.isdigit() and len(first) < 7 else 0


def _worked(times: object) -> float:
    """Busy seconds of one core. A guest's time is counted in its user's already."""
    counted = ("user", "nice", "system", "irq", "softirq", "steal")
    return sum(float(getattr(times, name, 0.0)) for name in counted)


def _own_seconds() -> float:
    """CPU seconds of this process and of its children, living and reaped."""
    me = psutil.Process()
    total = sum(me.cpu_times()[:4])
    for child in me.children(recursive=True):
        try:
            total += sum(child.cpu_times()[:4])
        except psutil.Error:
            continue  # it has ended meanwhile and is counted when it is reaped
    return total


def _cgroup() -> list[Path]:
    """Folders of this process's CPU cgroup and of those above it, innermost first."""
    try:
        lines = Path("/proc/self/cgroup").read_text(encoding="utf-8").splitlines()
    except OSError:
        return []
    found = []
    for line in lines:
        number, controllers, place = line.split(":", 2)
        if number == "0" or "cpu" in controllers.split(","):
            root = Path("/sys/fs/cgroup", "" if number == "0" else "cpu")
            inner = root / place.lstrip("/")
            found += [f for f in (inner, *inner.parents) if f == root or root in f.parents]
    return found


def _quotas(folders: list[Path]) -> list[int]:
    """Whole cores that each cgroup's quota allows, one at the least; nothing where it has none."""
    found = []
    for folder in folders:
        quota, period = _quota(folder)
        if quota > 0 and period > 0:
            found.append(max(1, math.ceil(quota / period)))
    return found


def _quota(folder: Path) -> tuple[int, int]:
    """Microseconds of CPU in a period, and the period; zeros where there is no limit."""
    try:
        if (folder / "cpu.max").exists():
            words = (folder / "cpu.max").read_text().split()
        else:
            names = ("cpu.cfs_quota_us", "cpu.cfs_period_us")
            words = [(folder / name).read_text().strip() for name in names]
        return int(words[0]), int(words[1])
    except (OSError, ValueError, IndexError):
        return 0, 0
