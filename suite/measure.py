"""Time and memory of a training, by one protocol for every cell.

Time of a pass is the sum of its steps, from asking for a batch to the end of the optimizer
step; evaluation, saving and start-up are outside. The wait for data is kept apart as well.
"""

from __future__ import annotations

import resource
import statistics
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch

from suite.cores import reading

MIB = 1024 * 1024
_RESET = Path("/proc/self/clear_refs")
_STATUS = Path("/proc/self/status")


def reset_peaks(device: torch.device) -> None:
    """Start a new reading of peak memory for this process and `device`."""
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
    try:
        _RESET.write_text("5")
    except OSError:
        # Not Linux, or not allowed: the peak is then the whole process's, which `peaks` says.
        return


def peaks(device: torch.device) -> dict[str, float]:
    """Peak memory since `reset_peaks` in MiB: `cpu_rss`, on CUDA also `cuda_allocated`,
    `cuda_reserved`. Where the kernel cannot reset it, `cpu_rss` covers the process's life."""
    found = {"cpu_rss": _peak_rss()}
    if device.type == "cuda":
        found["cuda_allocated"] = torch.cuda.max_memory_allocated(device) / MIB
        found["cuda_reserved"] = torch.cuda.max_memory_reserved(device) / MIB
    return {name: round(value, 1) for name, value in found.items()}


def _peak_rss() -> float:
    if _STATUS.exists():
        for line in _STATUS.read_text().splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) / 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def largest(before: Mapping[str, float], now: Mapping[str, float]) -> dict[str, float]:
    """The larger of two readings, entry by entry (a resumed run keeps its earlier peak)."""
    return {k: max(before.get(k, 0.0), now.get(k, 0.0)) for k in {**before, **now}}


class Load:
    """How busy the machine was in a training: seconds on the clock (`wall`), and of CPU on this
    process's cores, by itself (`own`) and by others (`others`)."""

    def __init__(self) -> None:
        self._last = reading()

    def add(self, before: Mapping[str, float]) -> dict[str, float]:
        """What was counted before, and what has come since the last call."""
        last, now = self._last, reading()
        self._last = now
        wall = now.wall - last.wall
        new = {"wall": wall, "own": now.own - last.own, "others": wall * now.others_since(last)}
        return added(before, new)


def added(one: Mapping[str, float], other: Mapping[str, float]) -> dict[str, float]:
    """The sum of two readings, entry by entry."""
    return {k: one.get(k, 0.0) + other.get(k, 0.0) for k in {**one, **other}}


def per_second(load: Mapping[str, float]) -> dict[str, float]:
    """Cores' worth of CPU that a training and that others used, on average: CPU seconds of each
    to seconds on the clock. Above a few tenths, the others' makes its times those of a busy
    machine (suite.busy)."""
    wall = load.get("wall", 0.0)
    if wall <= 0:
        return {}
    return {f"{name}_cores": round(load[name] / wall, 3) for name in ("own", "others")}


def timing(history: Sequence[Mapping[str, Any]]) -> dict[str, float]:
    """Summary over passes: seconds per nominal epoch (median), images/s, share of data wait.

    A pass with several crops counts as that many nominal epochs, so that numbers of recipes
    with different crops can be set side by side.
    """
    if not history:
        return {}
    seconds = [row["seconds"] / row["crops"] for row in history]
    total = sum(row["seconds"] for row in history)
    return {
        "epoch_seconds_median": round(statistics.median(seconds), 3),
        "epoch_seconds_min": round(min(seconds), 3),
        "epoch_seconds_max": round(max(seconds), 3),
        "train_seconds": round(total, 3),
        "data_seconds": round(sum(row["data_seconds"] for row in history), 3),
        "images_per_second": round(sum(row["images"] for row in history) / total, 1),
    }
