"""A dev cluster for the tests, and what they do with it: submit, watch, break, compare."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from suite.cluster.states import State
from suite.cluster.status import report
from suite.cluster.sweep import Event, Sweep, events, folder, load_sweep, read_progress
from suite.results import Record, Store
from tests.integration.conftest import ENVIRONMENT, lowbit

HERE = Path(__file__).parent
DEVCLUSTER = HERE.parents[2] / "slurm" / "devcluster"
NEEDED = ("slurmctld", "slurmd", "slurmdbd", "munged", "mariadbd")
INSTALL = (
    "apt-get install -y --no-install-recommends slurm-wlm munge slurmdbd mariadb-server, as root"
)
PORTS = "26910"
"""Not start.sh's own, so that a cluster somebody works with stays untouched."""

BRIEF = (
    "--recipe=fp32_recipe=fashion-smoke",
    "--recipe=fp32_seed=0",
    "--recipe=max_steps=20",
    "--recipe=epochs=2",
    "--recipe=batch_size=32",
    "--no-gate",
    "--checkpoint-minutes=0.02",
)
"""Two passes of twenty steps, saved every second or so."""


def missing() -> str:
    """Why there can be no dev cluster here, or nothing."""
    lacking = [name for name in NEEDED if shutil.which(name) is None]
    if lacking or os.geteuid() != 0:
        return f"no SLURM here ({', '.join(lacking) or 'not root'}): {INSTALL}"
    return ""


def run(*command: str, check: bool = True, **environment: str) -> str:
    """What a command of SLURM or the suite prints; fails the test with what it said."""
    done = subprocess.run(
        command,
        capture_output=True,
        text=True,
        timeout=300,
        env={**os.environ, **ENVIRONMENT, **environment},
    )
    assert done.returncode == 0 or not check, f"{command}: {done.stdout}{done.stderr}"
    return done.stdout + done.stderr


@dataclass(frozen=True)
class Watched:
    """A submitted sweep of slow cells. control: the folder that its cells look into."""

    results: Path
    control: Path
    sweep: Sweep

    @property
    def cells(self) -> list[str]:
        return [job.key for job in self.sweep.jobs if job.role == "cell"]

    def state(self, key: str) -> State:
        (line,) = [x for x in report(self.results, self.sweep).lines if x.job.key == key]
        return line.state

    def events(self, key: str) -> list[Event]:
        return events(folder(self.results, self.sweep.id), key)

    def slurm_id(self, key: str) -> str:
        return [e.slurm_id for e in self.events(key) if e.slurm_id][-1]

    def pace(self, seconds: float) -> None:
        """Let the cells sleep before every step; 0: no more."""
        (self.control / "pause").write_text(str(seconds))

    def until(self, what: Callable[[], Any], seconds: float = 300) -> Any:
        """Wait for something to become true; says how everything stands if it does not."""
        end = time.monotonic() + seconds
        while not (found := what()):
            assert time.monotonic() < end, self.told()
            time.sleep(0.3)
        return found

    def until_state(self, key: str, words: str, seconds: float = 300) -> State:
        return self.until(
            lambda: found if (found := self.state(key)).words == words else None, seconds
        )

    def until_training(self, key: str) -> None:
        """Wait until the cell has begun to train."""
        place = folder(self.results, self.sweep.id)
        self.until(lambda: read_progress(place, key))

    def until_saved(self, key: str) -> None:
        """Wait until the cell trains and has a checkpoint."""
        path = self.results / "work" / key / "state" / "checkpoint.pt"
        self.until(path.exists)

    def log(self, key: str) -> str:
        return Path(self.events(key)[-1].log).read_text()

    def starts(self, key: str) -> int:
        return sum(event.kind == "started" for event in self.events(key))

    def retry(self) -> None:
        """What `lowbit status` says to do about everything that ended badly."""
        words = ("retry", self.sweep.id, "--failed", "--results", str(self.results))
        run(*lowbit(*words), PYTHONPATH=str(HERE / "slow"))

    def record(self, key: str) -> Record:
        """The cell's only record: nothing was run twice."""
        (found,) = Store(self.results).records(key)
        return found

    def told(self) -> str:
        """Everything that could explain a state."""
        lines = [f"{x.job.key}: {x.state}" for x in report(self.results, self.sweep).lines]
        for key in self.cells:
            lines += [str(event) for event in self.events(key)]
        for log in sorted(folder(self.results, self.sweep.id).glob("logs/*_log.out")):
            lines += [f"--- {log.name}", log.read_text()[-3000:]]
        return "\n".join([*lines, run("squeue", check=False), run("sacct", "-D", check=False)])


@dataclass(frozen=True)
class Cluster:
    """The running dev cluster; its SLURM_CONF is in the environment."""

    root: Path
    folder: Path

    def profile(self, name: str, **fields: Any) -> Path:
        """A profile like `dev`, with other fields, in a file."""
        given = {
            "partition": "main",
            "mem_gb": 2.0,
            "array_parallelism": 4,
            "signal_seconds": 20,
            **fields,
        }
        path = self.folder / f"{name}.toml"
        path.write_text("".join(f"{key} = {_toml(value)}\n" for key, value in given.items()))
        return path

    def submit(
        self, results: Path, *words: str, seeds: str = "0", pause: float = 0.15, **fields: Any
    ) -> Watched:
        """Submit slow cells with a profile of these fields; `pause` slows every step down."""
        control = results / "control"
        control.mkdir(parents=True, exist_ok=True)
        (control / "pause").write_text(str(pause))
        fields.setdefault("setup", [f"export LOWBIT_TEST='{control}'"])
        profile = self.profile(results.parent.name, **fields)
        known = {path.name for path in (results / "sweeps").glob("*")}
        run(
            *lowbit("submit", str(HERE / "slow.toml"), "--profile", str(profile)),
            *(f"--seed={seeds}", "--allow-dirty", "--results", str(results), *BRIEF, *words),
            PYTHONPATH=str(HERE / "slow"),
        )
        (new,) = {path.name for path in (results / "sweeps").glob("*")} - known
        return Watched(results, control, load_sweep(results, new))

    def pid(self, daemon: str) -> int:
        return int((self.root / f"{daemon}.pid").read_text())

    def start(self) -> None:
        """Start what does not run."""
        run(str(DEVCLUSTER / "start.sh"), str(self.root), PORTS=PORTS, MAX_ARRAY="3")

    def tasks(self, slurm_id: str) -> list[int]:
        """The Python processes of a job."""
        array, _, element = slurm_id.partition("_")
        return [
            pid
            for pid, environment in _environments()
            if environment.get("SLURM_ARRAY_JOB_ID", environment.get("SLURM_JOB_ID")) == array
            and environment.get("SLURM_ARRAY_TASK_ID", "") == element
            and Path(_title(pid).split(" ")[0]).name.startswith("python")
        ]

    def revive(self, node: str) -> None:
        run("slurmd", "-N", node)

    def lose(self, node: str, slurm_id: str) -> None:
        """The node dies: its daemon, the daemons of its steps, and what ran there."""
        raw = _raw(slurm_id)
        stepds = [pid for pid in _pids() if f"slurmstepd: [{raw}." in _title(pid)]
        ran = [pid for pid, found in _environments() if found.get("SLURM_JOB_ID") == raw]
        for pid in (self.pid(f"slurmd-{node}"), *stepds, *ran):
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        (self.root / f"slurmd-{node}.pid").unlink(missing_ok=True)


def _toml(value: Any) -> str:
    if isinstance(value, dict):
        return "{" + ", ".join(f"{k} = {_toml(v)}" for k, v in value.items()) + "}"
    return json.dumps(value)


def _raw(slurm_id: str) -> str:
    """SLURM's plain number of an array element."""
    text = run("scontrol", "show", "job", slurm_id)
    return text.split("JobId=")[1].split()[0]


def _pids() -> list[int]:
    return [int(path.name) for path in Path("/proc").iterdir() if path.name.isdigit()]


def _environments() -> list[tuple[int, dict[str, str]]]:
    found = []
    for pid in _pids():
        try:
            text = Path(f"/proc/{pid}/environ").read_bytes().decode(errors="replace")
        except OSError:
            continue
        pairs = (entry.partition("=") for entry in text.split("\0"))
        found.append((pid, {name: value for name, _, value in pairs}))
    return found


def _title(pid: int) -> str:
    """A process's command line, empty if it has ended."""
    try:
        text = Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return ""
    return text.decode(errors="replace").replace("\0", " ")
