"""The report's records: every run by configuration, with its command, record and log."""

from __future__ import annotations

import json
import os
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from suite import busy
from suite.report.anchors import anchor, digest
from suite.report.figures.configurations import decimals
from suite.report.figures.model import Number
from suite.report.rerun import command
from suite.reservations import reservations

if TYPE_CHECKING:
    import pandas as pd

MOST = 3000
"""Runs that the page lists; of more, only those that something on it links to."""

UNTOLD = ("loss", "samples", "texts")

Row = Mapping[str, Any]


@dataclass(frozen=True)
class Run:
    """One run. numbers: metrics of its group, seconds an epoch, MiB; href, log: links; reserved:
    why it decides nothing."""

    anchor: str
    run_id: str
    seed: int
    status: str
    error: str
    numbers: tuple[Number, ...]
    finished: str
    made_with: str
    href: str
    file: str
    log: str
    reserved: str = ""


@dataclass(frozen=True)
class Group:
    """Runs of one configuration and recipe."""

    anchor: str
    title: str
    command: str
    metrics: tuple[str, ...]
    runs: tuple[Run, ...]

    @property
    def logs(self) -> bool:
        return any(run.log for run in self.runs)


@dataclass
class Appendix:
    """groups: in the order of the page; places: group and run anchor by run id."""

    sentence: str = ""
    groups: list[Group] = field(default_factory=list)
    places: dict[str, tuple[str, str]] = field(default_factory=dict)

    def link(self, run_ids: Collection[str]) -> str:
        """Anchor of the one run, or of the configuration that several have in common; of the
        first one that is listed where they have none; empty if none is listed."""
        known = [self.places[run] for run in run_ids if run in self.places]
        if not known:
            return ""
        return known[0][1] if len(known) == 1 else known[0][0]


def appendix(
    runs: pd.DataFrame, linked: Collection[str], logs: Mapping[str, str], out: Path
) -> Appendix:
    """Runs by configuration. runs: one row each; linked: run ids that the page speaks of; logs:
    file by cell id; out: the report's file, which links are relative to."""
    listed = runs if len(runs) <= MOST else runs[runs["run_id"].isin(linked)]
    groups: dict[tuple[str, str], list[Row]] = {}
    for row in listed.to_dict("records"):
        key = (str(row["configuration"]), str(row["recipe"]))
        groups.setdefault(key, []).append(row)
    made, taken = Appendix(_sentence(len(runs), len(listed))), set[str]()
    for (title, recipe), members in sorted(groups.items()):
        group = _group(title, recipe, members, logs, out, taken)
        made.groups.append(group)
        for run in group.runs:
            made.places.setdefault(run.run_id, (group.anchor, run.anchor))
    return made


def _sentence(all_: int, listed: int) -> str:
    if not all_:
        return "No record was found."
    which = "Every run" if all_ == listed else f"{listed} of {all_} runs, those that are linked to,"
    return (
        f"{which} by configuration, with the command that runs its cells again (stored ones answer "
        "at once; --fresh runs them anew). Links lead to the record’s file where the report was "
        "made; passes, protocol, audit and provenance are in it."
    )


def _group(
    title: str,
    recipe: str,
    rows: Sequence[Row],
    logs: Mapping[str, str],
    out: Path,
    taken: set[str],
) -> Group:
    rows = sorted(rows, key=lambda r: (r["seed"], r["run_id"]))
    metrics = _metrics(rows)
    cells = {row["seed"]: str(row["cell"]) for row in rows}
    return Group(
        anchor=f"runs-{digest(title + recipe)}",
        title=title,
        command=command(list(cells.values())),
        metrics=tuple(name.removeprefix("m.") for name in metrics),
        runs=tuple(_run(row, metrics, logs, out, taken) for row in rows),
    )


def _metrics(rows: Sequence[Row]) -> list[str]:
    """Columns of metrics that some run has, without those that do not say how good it is."""
    names = [name for name in rows[0] if name.startswith("m.")]
    known = [n for n in names if any(_is_number(row[n]) for row in rows)]
    return [n for n in known if n.removeprefix("m.").removesuffix("_best") not in UNTOLD]


def _run(
    row: Row, metrics: Sequence[str], logs: Mapping[str, str], out: Path, taken: set[str]
) -> Run:
    run_id, own = str(row["run_id"]), f"run-{anchor(str(row['run_id']))}"
    own = own if own not in taken else f"{own}-{digest(str(row['cell_id']))}"
    taken.add(own)
    record = Path(str(row["folder"])) / str(row["path"])
    log = logs.get(str(row["cell_id"]), "")
    return Run(
        anchor=own,
        run_id=run_id,
        seed=int(row["seed"]),
        status=str(row["status"]),
        error=_error(row),
        numbers=(
            *(_number(row[name], decimals([row[name]])) for name in metrics),
            _seconds(row),
            _number(_peak(row), 0),
        ),
        finished=str(row["finished"])[:16].replace("T", " "),
        made_with=_made_with(row),
        href=_relative(record, out),
        file=str(row["path"]).rpartition("/")[2],
        log=_relative(Path(log), out) if log else "",
        reserved="; ".join(reservations(row)) if row["status"] == "done" else "",
    )


def _seconds(row: Row) -> Number:
    found = _number(row.get("t.epoch_seconds_median"), 2)
    return replace(found, text=found.text + busy.mark({busy.OTHERS: row.get(f"t.{busy.OTHERS}")}))


def _relative(path: Path, out: Path) -> str:
    """A link to a file from the report, with what may not stand in a link encoded."""
    from urllib.parse import quote

    return quote(Path(os.path.relpath(path, out.parent)).as_posix())


def _error(row: Row) -> str:
    held = row.get("error")
    error = json.loads(held) if isinstance(held, str) and held else {}
    return f"{error.get('type', '')}: {error.get('message', '')}" if error else ""


def _made_with(row: Row) -> str:
    """Device and code: `cpu, 1667008 (changed)`."""
    revision = str(row.get("revision") or "")[:7] or "unknown code"
    return f"{row.get('device') or 'unknown device'}, {revision}" + (
        " (changed)" if row.get("dirty") is True else ""
    )


def _peak(row: Row) -> Any:
    found = row.get("mem.cuda_allocated")
    return found if _is_number(found) else row.get("mem.cpu_rss")


def _number(value: Any, digits: int) -> Number:
    return Number(f"{value:.{digits}f}", float(value)) if _is_number(value) else Number("")


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and value == value
