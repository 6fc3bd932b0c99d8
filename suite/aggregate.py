"""Several records together: over seeds, method against method, GLUE as a whole."""

from __future__ import annotations

from collections.abc import Sequence
from statistics import mean, median

from suite.cell import Cell
from suite.markdown import table
from suite.registry import TASKS
from suite.reservations import Of, reservations
from suite.results import Record
from suite.statistics import Paired, t_interval
from suite.statistics import over_seeds as paired_over_seeds

UNTOLD = ("loss", "samples", "texts")
"""Metrics that do not say how good a model is."""

MARK = "*"
"""Follows a number that decides nothing (suite/reservations.py)."""

Runs = dict[int, Record]
"""The newest record of each seed."""


def over_seeds(records: Sequence[Record], needed: Of | None = None) -> list[str]:
    """Mean with its t-interval, median and range, if a configuration has several seeds."""
    rows = []
    for name, runs in _configurations(records).items():
        for metric in _told(next(iter(runs.values()))) if len(runs) > 1 else ():
            values = [record.metrics[metric] for record in runs.values()]
            shown = (mean(values), *t_interval(values), median(values), min(values), max(values))
            digits = _digits(next(iter(runs.values())))
            m, low, high, *rest = (f"{value:.{digits}f}" for value in shown)
            m += MARK if any(reservations(run, needed) for run in runs.values()) else ""
            rows.append([name, metric, str(len(values)), m, f"{low} to {high}", *rest])
    header = (
        "over seeds",
        "metric",
        "seeds",
        "mean",
        "95 % interval",
        "median",
        "lowest",
        "highest",
    )
    return [table(header, rows, words=2)] if rows else []


def paired(records: Sequence[Record], needed: Of | None = None) -> list[str]:
    """Differences of main metrics from the first configuration of the same model, task and
    bit-width, seed by seed, with the t-interval of the mean difference."""
    rows = []
    firsts: dict[str, tuple[str, Runs]] = {}
    for two, second in _configurations(records).items():
        one, first = firsts.setdefault(_place(two), (two, second))
        any_run = next(iter(first.values()))
        metric, digits = TASKS.get(cell_of(any_run).task).metric, _digits(any_run)
        ours, theirs = _values(first, metric), _values(second, metric)
        test = None if one == two else paired_over_seeds(ours, theirs)
        if test is None:
            continue
        rows.append(
            [
                one,
                two,
                str(test.n),
                f"{test.difference:+.{digits}f}",
                f"{test.low:+.{digits}f} to {test.high:+.{digits}f}",
                _verdict(test, [*first.values(), *second.values()], needed),
            ]
        )
    header = ("first", "second", "seeds", "first - second", "95 % interval", "first is")
    return [table(header, rows, words=2)] if rows else []


def _verdict(test: Paired, runs: Sequence[Record], needed: Of | None) -> str:
    """What the first is against the second; nothing where a run of theirs decides nothing."""
    found = dict.fromkeys(phrase for run in runs for phrase in reservations(run, needed))
    return f"undecided: {'; '.join(found)}" if found else test.verdict


def _values(runs: Runs, metric: str) -> dict[int, float]:
    """A metric of every seed that has it."""
    return {seed: run.metrics[metric] for seed, run in runs.items() if metric in run.metrics}


def glue(records: Sequence[Record], needed: Of | None = None) -> list[str]:
    """GLUE's macro score of every configuration that ran on a GLUE task, or what it lacks."""
    from suite.tasks.text_metrics import COLUMNS, macro

    groups: dict[str, dict[str, list[dict[str, float]]]] = {}
    marked = set()
    for record in records:
        cell = cell_of(record)
        if cell.task in COLUMNS:
            name = cell.configuration.replace(f"/{cell.task}/", "/glue/")
            groups.setdefault(name, {}).setdefault(cell.task, []).append(record.metrics)
            marked |= {name} if reservations(record, needed) else set()
    found = []
    for name, runs in groups.items():
        score = macro(runs)
        lacks = f"needs {', '.join(score.missing)} as well"
        shown = lacks if score.value is None else f"{score.value:.2f}"
        found.append(f"{name}: {shown}{MARK if name in marked and score.value is not None else ''}")
    return [f"GLUE macro score ({macro({}).rule}):\n" + "\n".join(found)] if found else []


def cell_of(record: Record) -> Cell:
    return Cell.model_validate(record.cell)


def _configurations(records: Sequence[Record]) -> dict[str, Runs]:
    found: dict[str, Runs] = {}
    for record in records:
        cell = cell_of(record)
        found.setdefault(cell.configuration, {})[cell.seed] = record
    return found


def _place(configuration: str) -> str:
    """Model, task and bit-width of a configuration."""
    return configuration.split("/", 1)[1]


def _told(record: Record) -> list[str]:
    return [m for m in record.metrics if m not in UNTOLD and not m.endswith("_best")]


def _digits(record: Record) -> int:
    digits: int = getattr(TASKS.get(cell_of(record).task), "digits", 2)
    return digits
