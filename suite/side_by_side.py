"""What must not differ between runs that are averaged, compared or set side by side."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence

from suite.run_facts import Row

LIBRARIES = ("torch", "transformers", "timm")
COMPARED = ("status", "task", "model", "data_digest", "evaluation", *LIBRARIES)
"""The columns of a run that are looked at."""

NOTHING = "nothing recorded"

Alike = tuple[Row, Sequence[str]]
"""A run, and the ids of all that have the same in COMPARED, its own included."""


def mixtures(groups: Iterable[Alike]) -> list[str]:
    """A sentence for everything in which the runs differ and must not: the data of a task, the
    evaluation transform of a model on a task, the major version of a library. Data or transform
    that one run does not name are a difference, where another does."""
    found: dict[tuple[str, str], dict[str, list[str]]] = defaultdict(lambda: defaultdict(list))
    for row, runs in groups:
        for what, value in _must_agree(row).items():
            found[what][value] += runs
    differing = ((what, values) for what, values in sorted(found.items()) if len(values) > 1)
    return [_sentence(what, values) for what, values in differing]


def _must_agree(row: Row) -> dict[tuple[str, str], str]:
    task, model = str(row.get("task")), str(row.get("model"))
    versions = {library: _text(row, library).split(".")[0] for library in LIBRARIES}
    # A library that was not installed was not used.
    found = {("major version", f"of {name}"): value for name, value in versions.items() if value}
    if row.get("status") == "measured":
        return found
    data, evaluation = _text(row, "data_digest"), _text(row, "evaluation")
    return {
        ("data digest", f"of {task}"): data or NOTHING,
        ("evaluation transform", f"of {model} on {task}"): evaluation or NOTHING,
        **found,
    }


def _text(row: Row, name: str) -> str:
    value = row.get(name)
    return value if isinstance(value, str) else ""


def _sentence(what: tuple[str, str], values: dict[str, list[str]]) -> str:
    parts = []
    for value, runs in sorted(values.items(), key=lambda item: (-len(item[1]), item[0])):
        example = f"run {runs[0]}" if len(runs) == 1 else f"{len(runs)} runs, like {runs[0]}"
        parts.append(f"{value} ({example})")
    return f"the {' '.join(what)} differs: {' and '.join(parts)}"
