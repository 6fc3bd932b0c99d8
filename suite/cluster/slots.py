"""Places for the workers of the local queue: a GPU each, or a share of the cores."""

from __future__ import annotations

import os
import re
import socket
import subprocess
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path

from suite.errors import EnvironmentProblem, UsageError

CORES = "LOWBIT_CORES"
"""Environment variable that names a worker's cores: `0,1`."""

VISIBLE = "CUDA_VISIBLE_DEVICES"


@dataclass(frozen=True)
class Slot:
    """Room for one worker. lock: held while one runs there, whichever sweep it belongs to."""

    name: str
    lock: Path
    environment: dict[str, str] = field(default_factory=dict)


def slots(results: Path, workers: int, device: str) -> list[Slot]:
    """`workers` places (0: one a GPU, or one in all), the cores divided among them.

    Raises UsageError when there are fewer GPUs than workers, EnvironmentProblem when GPUs are
    asked for and there is none.
    """
    gpus = [] if device == "cpu" else visible_gpus()
    if device == "cuda" and not gpus:
        raise EnvironmentProblem(
            "--device cuda was asked for, but nvidia-smi lists no GPU; run `lowbit doctor`."
        )
    if gpus and workers > len(gpus):
        raise UsageError(
            f"--workers {workers} needs as many GPUs, here are {len(gpus)} ({', '.join(gpus)}); "
            "give fewer workers, or --device cpu."
        )
    count = workers or len(gpus) or 1
    shares = divided(sorted(os.sched_getaffinity(0)), count)
    names = [f"gpu{gpu}" for gpu in gpus[:count]] or [f"cpu{n}" for n in range(count)]
    devices = gpus[:count] or [""] * count
    return [
        Slot(name, _lock(results, name), {VISIBLE: gpu, CORES: ",".join(map(str, cores))})
        for name, gpu, cores in zip(names, devices, shares, strict=True)
    ]


def visible_gpus() -> list[str]:
    """The GPUs that this process may use, as CUDA_VISIBLE_DEVICES would name them."""
    named = os.environ.get(VISIBLE)
    if named is not None:
        return [gpu.strip() for gpu in named.split(",") if gpu.strip()]
    command = ["nvidia-smi", "--query-gpu=index", "--format=csv,noheader"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=30)
    except (OSError, subprocess.TimeoutExpired):
        return []
    return done.stdout.split() if done.returncode == 0 else []


def divided(cores: list[int], count: int) -> list[list[int]]:
    """The cores in `count` shares, none empty: with fewer cores than shares they are used again."""
    if count >= len(cores):
        return [[cores[n % len(cores)]] for n in range(count)]
    edges = [n * len(cores) // count for n in range(count + 1)]
    return [cores[a:b] for a, b in pairwise(edges)]


def pin() -> None:
    """Keep this process to the cores of its slot; the suite's thread count follows from them."""
    named = os.environ.get(CORES, "")
    if named:
        os.sched_setaffinity(0, {int(core) for core in named.split(",")})


def _lock(results: Path, name: str) -> Path:
    plain = re.sub(r"[^A-Za-z0-9_-]", "_", f"{socket.gethostname()}-{name}")
    return results / "work" / ".slots" / f"{plain}.lock"
