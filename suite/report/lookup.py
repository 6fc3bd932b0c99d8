"""From a place in a table to its published number."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from typing import Any

from suite.names import names, paper, spellings, task_of
from suite.protocols import words
from suite.published import Published
from suite.report.spec import ANY, Lookup, Select

Wanted = dict[str, tuple[Any, ...]]
"""Field of a published number -> the values that it may have."""


class Shelf:
    """Published numbers by paper; `find` gives those of one place, the chosen one first."""

    def __init__(self, values: Iterable[Published]) -> None:
        self._papers: dict[str, list[Published]] = defaultdict(list)
        self._metrics: dict[tuple[str, tuple[str, ...]], list[Published]] = {}
        for value in values:
            self._papers[value.paper].append(value)

    def find(self, lookup: Lookup, select: Select, metric: str) -> list[Published]:
        """All that fit: papers in the order of the lookup, within one primary sources first, then
        tables in the order of the lookup, then as in results.csv."""
        wanted = _wanted(lookup, select, metric)
        if not all(wanted.values()):
            return []
        papers = wanted.pop("paper", tuple(self._papers))
        tables = wanted.get("table", ())

        def rank(value: Published) -> tuple[bool, int]:
            listed = value.table in tables
            return value.confidence != "primary", tables.index(value.table) if listed else 0

        found = []
        for name in papers:
            fitting = (v for v in self._of(name, wanted.get("metric", ())) if _fits(v, wanted))
            found += sorted(fitting, key=rank)
        return found

    def _of(self, paper: str, metrics: tuple[str, ...]) -> list[Published]:
        """The paper's numbers of these metrics, which are few of them; all where none is named."""
        own = self._papers.get(paper, [])
        if metrics and (paper, metrics) not in self._metrics:
            self._metrics[paper, metrics] = [value for value in own if value.metric in metrics]
        return self._metrics[paper, metrics] if metrics else own


def _fits(value: Published, wanted: Wanted) -> bool:
    return all(getattr(value, field) in allowed for field, allowed in wanted.items())


def _wanted(lookup: Lookup, select: Select, metric: str) -> Wanted:
    """What the spec says, and for what it leaves out what the selected cell is called."""
    found: Wanted = {}
    for field, said in lookup.model_dump(exclude_none=True).items():
        found[field] = tuple(said) if isinstance(said, (tuple, list)) else (said,)
    if "paper" in found:
        found["paper"] = tuple(paper(short) for short in found["paper"])
    for field, implied in _implied(select, metric).items():
        found.setdefault(field, implied)
    return {field: allowed for field, allowed in found.items() if allowed != (ANY,)}


def _implied(select: Select, metric: str) -> Wanted:
    task = names()["nearest_task"].get(select.task, select.task or "")
    datasets, tasks = task_of(task)
    bits = _bits(select.w_bits), _bits(select.a_bits)
    found: Wanted = {
        "method": spellings("methods", select.method or ""),
        "model": tuple(word for model in words(select.model or ()) for word in _spelt(model)),
        "dataset": datasets,
        "task": tasks,
        "metric": spellings("metrics", metric),
        "w_bits": bits[0],
        "a_bits": bits[1],
    }
    if select.e_bits is not None:
        found["e_bits"] = (select.e_bits,)
    return found


def _spelt(model: str) -> tuple[str, ...]:
    """How a model, or the one it stands for, is written."""
    return spellings("models", model) or tuple(names()["nearest"].get(model, ()))


def _bits(bits: int | None) -> tuple[int, ...]:
    return (32,) if bits is None else (bits,)


def others(values: Sequence[Published]) -> list[str]:
    """A note for every further published number that does not agree with the chosen first."""
    found = []
    for other in values[1:]:
        chosen = values[0]
        if abs(other.value - chosen.value) > max(other.half_unit, chosen.half_unit) * (1 + 1e-9):
            found.append(f"Published elsewhere: {other.printed} ({other.paper}, {other.table}).")
    return found
