"""Why a record's number decides nothing, whoever uses it: one list for every reader."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

from suite.originals import originals
from suite.results import Record
from suite.run_facts import Row, RunFacts, facts_of

SHIPPED = {"fashion": 10000, "fashion-full": 10000, "snippets": 989, "snippets-rating": 1040}
"""Validation samples of the tasks whose data ships with the suite."""

SHARES = ("top1", "top5", "accuracy", "accuracy_matched", "accuracy_mismatched", "f1")
CORRELATIONS = ("matthews", "pearson", "spearman", "combined")
RANGES: dict[str, tuple[float, float]] = {
    **dict.fromkeys(SHARES, (0.0, 100.0)),
    **dict.fromkeys(CORRELATIONS, (-100.0, 100.0)),
    "cosine": (-1.0, 1.0),
    "neighbours": (0.0, 1.0),
    "loss": (0.0, math.inf),
    "samples": (1.0, math.inf),
}
"""The smallest and the largest value that a metric can have."""

ROUNDED = 1e-6
"""How far beyond its range a value may lie that is a sum of rounded ones."""

FULL = 32

ITS = "its "
"""Beginning of what is said of a needed run."""

Of = Callable[[str], Record | Row | RunFacts | None]


def reservations(
    source: Record | Row | RunFacts, needed: Of | None = None, above: tuple[str, ...] = ()
) -> list[str]:
    """What is wrong with a finished run, a phrase each; empty for one that may decide a verdict.

    source: a record, a row of many, or their facts. needed: gives the record of a run id, so that
    what is wrong with a needed run is said of the one that rests on it. above: ids of the runs
    that rest on this one; records that name each other in a circle are each looked at once.
    """
    facts = source if isinstance(source, RunFacts) else facts_of(source)
    own = [*of_making(facts), *of_values(facts.metrics)]
    below = _of_needed(facts, needed, (*above, facts.run_id)) if needed else ()
    return list(dict.fromkeys([*own, *below]))


def of_making(facts: RunFacts) -> list[str]:
    """The reservations that do not depend on the run's values, but on how it was made."""
    checks = (_code,) if facts.timed else (_gate, _samples, _passes, _audit, _code)
    return [phrase for check in checks for phrase in check(facts)]


def of_values(metrics: Mapping[str, float]) -> list[str]:
    """A phrase for every metric that is not finite, or that cannot have its value."""
    found = []
    for name, value in metrics.items():
        low, high = range_of(name)
        if not math.isfinite(value):
            found.append(f"{name} is not finite")
        elif not low - ROUNDED <= value <= high + ROUNDED:
            found.append(f"{name} {value:g} lies outside {low:g} to {high:g}")
    return found


def range_of(metric: str) -> tuple[float, float]:
    """The smallest and the largest value of a metric, infinite where there is none."""
    return RANGES.get(metric.removesuffix("_best"), (-math.inf, math.inf))


def of_role(role: str, phrases: Iterable[str]) -> list[str]:
    """What is wrong with a needed run, as it is said of the one that rests on it."""
    return [p if p.startswith(ITS) else f"{ITS}{role} run: {p}" for p in phrases]


def _of_needed(facts: RunFacts, needed: Of, above: tuple[str, ...]) -> Iterator[str]:
    for role, run in facts.needs.items():
        found = None if run in above else needed(run)
        if found is not None:
            yield from of_role(role, reservations(found, needed, above))


def _gate(facts: RunFacts) -> Iterator[str]:
    gate = facts.cell.recipe.gate
    if gate is not None and facts.execution.get("gate") is False:
        yield f"the FP32 gate of {gate:g} % was waived (--no-gate)"


def _samples(facts: RunFacts) -> Iterator[str]:
    """Fewer or more evaluated samples than the run's own data had."""
    found = facts.metrics.get("samples")
    expected = _expected(facts)
    if expected is not None and found is None:
        yield f"it does not say how many of {expected:,} samples were evaluated"
    elif expected is not None and found != expected:
        yield f"{found:,.0f} of {expected:,} samples evaluated"


def _expected(facts: RunFacts) -> int | None:
    """Samples of the data: as they ship, as the run read them, or else as the task has them."""
    if facts.cell.task in SHIPPED:
        return SHIPPED[facts.cell.task]
    own = facts.evaluation.get("samples")
    if isinstance(own, int):
        return own
    rows = facts.evaluation.get("rows")
    if isinstance(rows, dict):
        return sum(n for name, n in rows.items() if name != "train" and isinstance(n, int))
    known = originals().task.get(facts.cell.task)
    return known.samples if known else None


def _passes(facts: RunFacts) -> Iterator[str]:
    wanted, done = facts.cell.recipe.epochs, facts.trained.get("epochs")
    if isinstance(done, int) and done != wanted:
        yield f"trained for {done} of {wanted} epochs"


def _audit(facts: RunFacts) -> Iterator[str]:
    """A quantized model without a coverage audit, or with one that found something."""
    if facts.cell.w_bits == facts.cell.a_bits == FULL and facts.cell.e_bits is None:
        return
    problems = facts.audited.get("problems")
    if not facts.audited.get("places"):
        yield "no coverage audit"
    elif not isinstance(problems, list) or problems:
        count = len(problems) if isinstance(problems, list) else 1
        yield f"the coverage audit found {count} problem{'s' * (count > 1)}"


def _code(facts: RunFacts) -> Iterator[str]:
    if facts.dirty:
        yield "made with uncommitted changes to the code"
    elif facts.dirty is None:
        yield "made by unknown code"
    for what, where in sorted(facts.outside.items()):
        yield f"{what} from outside the suite ({_short(where)})"


def _short(value: Any) -> str:
    return str(value)[:80]
