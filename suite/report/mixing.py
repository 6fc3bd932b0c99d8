"""What must not differ between runs that are averaged or set side by side."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable

from suite.report.pool import Pool

LIBRARIES = ("torch", "transformers", "timm")
COMPARED = ("task", "model", "data_digest", "evaluation", *LIBRARIES)

Groups = dict[tuple[str, str], dict[str, list[int]]]
"""What is compared and for whom -> value -> the runs that have it."""


def mixtures(pool: Pool, runs: Iterable[int]) -> list[str]:
    """A sentence for everything in which the runs differ and must not: the data of a task, the
    evaluation transform of a model on a task, the major version of a library."""
    groups: Groups = defaultdict(lambda: defaultdict(list))
    for alike in pool.alike(dict.fromkeys(runs), COMPARED):
        for what, value in _must_agree(pool, alike[0]).items():
            if value is not None:
                groups[what][value] += alike
    differing = ((what, values) for what, values in sorted(groups.items()) if len(values) > 1)
    return [_sentence(what, values, pool) for what, values in differing]


def _must_agree(pool: Pool, run: int) -> dict[tuple[str, str], str | None]:
    task, model = str(pool.value(run, "task")), str(pool.value(run, "model"))
    found: dict[tuple[str, str], str | None] = {
        ("data digest", f"of {task}"): pool.value(run, "data_digest"),
        ("evaluation transform", f"of {model} on {task}"): pool.value(run, "evaluation"),
    }
    for library in LIBRARIES:
        version = pool.value(run, library)
        found["major version", f"of {library}"] = str(version).split(".")[0] if version else None
    return found


def _sentence(what: tuple[str, str], values: dict[str, list[int]], pool: Pool) -> str:
    parts = []
    for value, runs in sorted(values.items(), key=lambda item: (-len(item[1]), item[0])):
        first = pool.value(runs[0], "run_id")
        example = f"run {first}" if len(runs) == 1 else f"{len(runs)} runs, like {first}"
        parts.append(f"{value} ({example})")
    return f"the {' '.join(what)} differs: {' and '.join(parts)}"
