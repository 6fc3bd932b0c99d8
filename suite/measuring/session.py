"""Measuring several cases: memory in processes of their own, time in turns within one."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch

from suite.device import set_threads
from suite.distributed import join
from suite.measuring.cases import Case, Conditions
from suite.measuring.memory import Peak, peak_of
from suite.measuring.records import Measurement
from suite.measuring.step import FIRST, LAST, Subject
from suite.options import Options
from suite.provenance import provenance
from suite.results import new_run_id, now

WARM = 1
"""Unmeasured rounds: kernels are chosen, graphs compiled and caches filled in them."""

MADE_OF = {
    "inputs": "random tensors",
    "targets": "random",
    "weights": "random",
    "loading": "not measured",
}
"""Time and memory depend on shapes, not on values."""

Seconds = dict[str, list[float]]


@dataclass(frozen=True)
class _Turn:
    """A case in one of its phases, its peak, and when it was begun."""

    case: Case
    phase: str
    peak: Peak
    started: str

    @property
    def key(self) -> str:
        return f"{self.case.name}/{self.phase}"


def measure(
    cases: Sequence[Case], conditions: Conditions, say: Callable[[str], None]
) -> list[Measurement]:
    """Measure every case; the first one is what ratios refer to.

    A case for which memory runs out is measured no further, and says so.
    """
    set_threads(Options(threads=conditions.threads), join(), watch=False)
    turns = [turn for case in cases for turn in _peaks(case, say)]
    seconds = _seconds([turn for turn in turns if not turn.peak.lacking], conditions, say)
    session = new_run_id()
    base = next(iter(turns))
    shared: dict[str, Any] = {
        "session": session,
        "conditions": _conditions(conditions, base.case),
        "made_of": MADE_OF,
        "provenance": provenance(torch.device(conditions.device)),
    }
    return [_measurement(turn, base, seconds, conditions, shared) for turn in turns]


def _peaks(case: Case, say: Callable[[str], None]) -> list[_Turn]:
    """The phases of a case with their peaks; the last epoch's is asked for first."""
    started = now()
    last = peak_of(case, LAST)
    say(f"{case.name}: {_told(last)}")
    found = [_Turn(case, LAST, last, started)]
    if FIRST in last.phases:
        started = now()
        found.insert(0, _Turn(case, FIRST, peak_of(case, FIRST), started))
    return found


def _told(peak: Peak) -> str:
    kind = "cuda_allocated" if "cuda_allocated" in peak.mib else "cpu_rss"
    return peak.lacking or f"peak {peak.mib[kind]:.0f} MiB"


def _seconds(turns: Sequence[_Turn], conditions: Conditions, say: Callable[[str], None]) -> Seconds:
    """Seconds of a step, one value a round, every case in turn in every round."""
    subjects = {turn.case.name: Subject(turn.case) for turn in turns if turn.phase == LAST}
    seconds: Seconds = {turn.key: [] for turn in turns}
    for number in range(WARM + conditions.rounds):
        for turn in turns:
            subject = subjects[turn.case.name]
            spent = _round(subject, turn.phase, conditions.steps)
            if number >= WARM:
                seconds[turn.key].append(spent)
        say(f"round {number + 1} of {WARM + conditions.rounds} is done")
    return seconds


def _round(subject: Subject, phase: str, steps: int) -> float:
    """Mean seconds of a step over `steps` of them."""
    subject.wait()
    start = time.perf_counter()
    for _ in range(steps):
        subject.step(phase)
    subject.wait()
    return (time.perf_counter() - start) / steps


def _conditions(conditions: Conditions, case: Case) -> dict[str, Any]:
    return {
        "batch": conditions.batch,
        "size": conditions.size,
        "images": conditions.images,
        "steps": conditions.steps,
        "rounds": conditions.rounds,
        "warm_up_rounds": WARM,
        "device": conditions.device,
        "threads": torch.get_num_threads(),
        "compiled": conditions.compiled,
        "precision": "fp32",
    }


def _measurement(
    turn: _Turn, base: _Turn, seconds: Seconds, conditions: Conditions, shared: dict[str, Any]
) -> Measurement:
    own = seconds.get(turn.key, [])
    return Measurement(
        measurement_id=new_run_id(),
        name=turn.case.name,
        cell=turn.case.cell,
        phase=turn.phase,
        started=turn.started,
        finished=now(),
        seconds=[round(value, 6) for value in own],
        time=times(own, seconds.get(base.key, []), conditions.batch, conditions.images),
        memory=_memory(turn.peak.mib, base.peak.mib),
        lacking=turn.peak.lacking,
        **shared,
    )


def times(own: Sequence[float], base: Sequence[float], batch: int, images: int) -> dict[str, float]:
    """Step and epoch seconds with their spread, and the ratio to `base` round by round.

    An epoch has images / batch steps, the last one whole.
    """
    if not own:
        return {}
    steps = -(-images // batch)
    found = {
        "step_seconds_median": statistics.median(own),
        "step_seconds_min": min(own),
        "step_seconds_max": max(own),
        "steps_per_epoch": float(steps),
        "images_per_second": batch / statistics.median(own),
    }
    for name in ("median", "min", "max"):
        found[f"epoch_seconds_{name}"] = steps * found[f"step_seconds_{name}"]
    if len(base) == len(own):
        ratios = [a / b for a, b in zip(own, base, strict=True)]
        found["ratio"] = statistics.median(ratios)
        found["ratio_min"], found["ratio_max"] = min(ratios), max(ratios)
    return {name: round(value, 6) for name, value in found.items()}


def _memory(own: Mapping[str, float], base: Mapping[str, float]) -> dict[str, float]:
    ratios = {
        f"ratio.{kind}": round(value / base[kind], 4)
        for kind, value in own.items()
        if base.get(kind) and not kind.endswith("_before")
    }
    return {**own, **ratios}
