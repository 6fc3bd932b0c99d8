"""Kill commands at random moments, let them go on, and see that nothing is lost or left.

python -m tests.integration.kills COUNT [SEED [TASK ...]]

Every sequence kills one command some times with SIGKILL, at moments drawn over its whole length,
lets it come to its end, and compares what it made with what an undisturbed one made. Training and
label making must end with the same bits, tables and reports with the same bytes, collections with
the same runs; no temporary file or folder may be there afterwards.
"""

from __future__ import annotations

import hashlib
import json
import os
import random
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

FEWER = "from tests.integration import fewer_images; fewer_images.use()"
START = f"{FEWER}; from suite.cli import main; main()"
SMOKE = ("--task=fashion", "--recipe=fp32_recipe=fashion-smoke", "--no-gate", "--threads=1")
BRIEF = (*SMOKE, "--bits=2", "--recipe=epochs=2", "--recipe=max_steps=6", "--recipe=crops=1")
LEFT = re.compile(r"\..+\.[0-9a-f]{32}|\.collect-.+|\..+\.import")
"""Names of what a killed writer leaves."""


@dataclass(frozen=True)
class Task:
    """words: the command, with {out} for its place; made: what it made there, comparable."""

    words: tuple[str, ...]
    made: Callable[[Path], object]


def weights(out: Path) -> object:
    records = [json.loads(p.read_text()) for p in sorted((out / "records").rglob("*.json"))]
    return sorted({r["cell_id"]: r["provenance"]["weights"] for r in records if r["needs"]}.items())


def labels(out: Path) -> object:
    arrays = sorted((out / "soft_labels").glob("*/*.npy"))
    return [(p.parent.name, p.name, hashlib.sha256(p.read_bytes()).hexdigest()) for p in arrays]


def runs(out: Path) -> object:
    import pyarrow.parquet as pq

    (path,) = out.glob("merged/*.parquet")
    return sorted(pq.read_table(path, columns=["run_id"])["run_id"].to_pylist())


def files(out: Path) -> object:
    return {p.name: hashlib.sha256(p.read_bytes()).hexdigest() for p in sorted(out.rglob("made/*"))}


NAMES = ("training", "labels", "collect", "tables", "report")


def tasks(store: Path) -> dict[str, Task]:
    given = ("--results", str(store))
    return {
        "training": Task(
            ("run", "--method=lsq", *BRIEF, "--checkpoint-minutes=0", "--results={out}"), weights
        ),
        "labels": Task(
            ("prepare", "--method=variation", *BRIEF, "--recipe=label_crops=1", "--results={out}"),
            labels,
        ),
        "collect": Task(("collect", *given, "--out={out}/merged"), runs),
        "tables": Task(("tables", *given, "--only=fashion", "--out={out}/made"), files),
        "report": Task(("report", *given, "--out={out}/made/report.html"), files),
    }


def start(task: Task, out: Path) -> subprocess.Popen[bytes]:
    words = [word.format(out=out) for word in task.words]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    return subprocess.Popen(
        [sys.executable, "-c", START, *words],
        env=environment,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )


def finished(task: Task, out: Path) -> float:
    """Run to the end; seconds. Raises where the command fails."""
    begun = time.monotonic()
    code = start(task, out).wait(timeout=600)
    if code:
        raise RuntimeError(f"{task.words[0]} ended with {code} in {out}")
    return time.monotonic() - begun


def leftovers(out: Path) -> list[str]:
    return sorted(str(p.relative_to(out)) for p in out.rglob("*") if LEFT.fullmatch(p.name))


def main(count: int, seed: int, names: Sequence[str] = ()) -> int:
    draw = random.Random(seed)
    root = Path(tempfile.mkdtemp())
    store = root / "store"  # a copy: what is compared must not change meanwhile
    shutil.copytree(Path(__file__).parents[2] / "docs" / "measured" / "fashion", store)
    killed: dict[str, int] = {}
    faults: list[str] = []
    chosen = {name: task for name, task in tasks(store).items() if name in (names or NAMES)}
    whole, seconds = {}, {}
    for name, task in chosen.items():
        (root / name / "made").mkdir(parents=True)
        seconds[name] = finished(task, root / name)
        whole[name] = task.made(root / name)
        assert whole[name], name
    number = 0
    while sum(killed.values()) < count:
        name = list(chosen)[number % len(chosen)]
        task, out, number = chosen[name], root / f"{name}-{number}", number + 1
        (out / "made").mkdir(parents=True)
        for _ in range(draw.randint(1, 3)):
            process = start(task, out)
            time.sleep(draw.uniform(0.05, 0.98) * seconds[name])
            if process.poll() is None:
                process.kill()
                killed[name] = killed.get(name, 0) + 1
            process.wait()
        try:
            finished(task, out)
            if task.made(out) != whole[name]:
                faults.append(f"{name}: another result in sequence {number}")
        except (RuntimeError, subprocess.TimeoutExpired) as problem:
            faults.append(f"{name}: {problem}")
        faults += [f"{name}: left {path}" for path in leftovers(out)]
        shutil.rmtree(out, ignore_errors=True)
    shutil.rmtree(root, ignore_errors=True)
    told = json.dumps(killed, sort_keys=True)
    print(f"{sum(killed.values())} kills in {number} sequences: {told}")
    print("\n".join(faults) or "nothing was lost, nothing was left")
    return 1 if faults else 0


if __name__ == "__main__":
    count, seed = (int(word) for word in (*sys.argv[1:3], "0")[:2])
    sys.exit(main(count, seed, sys.argv[3:]))
