"""Peak memory of a training step, each case in a process of its own.

`python -m suite.measuring.memory CASE PHASE` is that process; it prints one line of JSON.
"""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import dataclass

from suite.errors import LowbitError
from suite.measuring.cases import Case

STEPS = 3
"""Steps within which the peak is taken, after one that allocates the optimizer's state."""

KILLED = (-9, 137)
"""Exit codes of a process that the system ended, most often for want of memory."""


@dataclass(frozen=True)
class Peak:
    """Peak memory in MiB by kind, as in records; phases that the method has; or `lacking`."""

    mib: dict[str, float]
    phases: tuple[str, ...] = ()
    lacking: str = ""


def peak_of(case: Case, phase: str) -> Peak:
    """The peak of `phase`, measured in a new process; `lacking` says that memory ran out.

    Raises LowbitError when the process fails for another reason.
    """
    command = [sys.executable, "-m", "suite.measuring.memory", case.model_dump_json(), phase]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode in KILLED:
        return Peak({}, lacking="out of memory (the process was killed)")
    if done.returncode:
        last = (done.stderr.strip().splitlines() or ["no message"])[-1]
        raise LowbitError(f"{case.name} cannot be measured: {last}")
    found = json.loads(done.stdout.splitlines()[-1])
    return Peak(found["mib"], tuple(found["phases"]), found["lacking"])


def measured(case: Case, phase: str) -> Peak:
    """The peak of `phase` in this process. `cpu_net` is what the resident memory grew by, over
    `cpu_rss_before`, which the interpreter and its libraries take alone."""
    import torch

    from suite.device import set_threads
    from suite.distributed import join
    from suite.measure import peaks, reset_peaks
    from suite.measuring.step import Subject, load_libraries
    from suite.options import Options

    set_threads(Options(threads=case.threads), join(), watch=False)
    device = torch.device(case.device)
    load_libraries(case)
    reset_peaks(device)
    before = peaks(device)["cpu_rss"]
    try:
        subject = Subject(case)
        subject.step(phase)
        subject.wait()
        if case.device == "cuda":
            torch.cuda.empty_cache()
        reset_peaks(device)
        for _ in range(STEPS):
            subject.step(phase)
        subject.wait()
    except torch.OutOfMemoryError as problem:
        return Peak({}, lacking=f"out of memory ({str(problem).splitlines()[0]})")
    found = peaks(device)
    net = {"cpu_rss_before": before, "cpu_net": round(found["cpu_rss"] - before, 1)}
    return Peak({**found, **net}, tuple(subject.phases))


def main() -> None:
    case, phase = Case.model_validate_json(sys.argv[1]), sys.argv[2]
    found = measured(case, phase)
    print(json.dumps({"mib": found.mib, "phases": found.phases, "lacking": found.lacking}))


if __name__ == "__main__":
    main()
