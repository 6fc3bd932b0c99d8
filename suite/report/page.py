"""The report: one HTML file with summary, claims, tables, figures, errata and records."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import suite
from suite.files import write_text
from suite.report.appendix import appendix
from suite.report.facts import decided_first, facts, outcomes, shelves, verdict_counts
from suite.report.figures.model import Figure
from suite.report.logs import logs_of
from suite.report.model import Table
from suite.report.templating import VERDICTS, asset, environment, script_digest
from suite.reproductions import HEADER

if TYPE_CHECKING:
    from suite.collect import Collected

SECTIONS = (
    ("summary", "Summary"),
    ("claims", "Claims"),
    ("tables", "Tables"),
    ("figures", "Figures"),
    ("errata", "Errata"),
    ("records", "Records"),
)


OWN = ("P1", "P2")
"""The papers whose tables the suite reruns; others are baselines."""


@dataclass(frozen=True)
class Noted:
    """An erratum with its effect. switches: a line of text each."""

    id: str
    paper: str
    claimed: str
    actual: str
    evidence: str
    switches: tuple[str, ...]
    effect: str
    run_ids: tuple[str, ...] = ()


@dataclass(frozen=True)
class Content:
    """All that the page shows. claims: results of suite.claims; reproductions: lines as
    suite.reproductions.listed gives them; problems: sentences about what could not be read or
    made."""

    collected: Collected
    tables: Sequence[Table] = ()
    figures: Sequence[Figure] = ()
    claims: Sequence[Any] = ()
    errata: Sequence[Noted] = ()
    reproductions: Sequence[Sequence[str]] = ()
    problems: Sequence[str] = ()


def write_report(content: Content, out: Path) -> None:
    """Write the page atomically; the same content gives the same bytes at the same place."""
    write_text(out, page(content, out))


def page(content: Content, out: Path) -> str:
    """The whole page. out: where it will lie, which links to records are relative to."""
    runs = content.collected.runs
    logs = logs_of(sorted(map(str, runs["folder"].unique())))
    listed = appendix(runs, linked(content), logs, out)
    script = asset("report.js")
    return (
        environment()
        .get_template("page.html.j2")
        .render(
            version=suite.__version__,
            sections=SECTIONS,
            style=asset("report.css"),
            script=script,
            script_digest=script_digest(script),
            link=listed.link,
            appendix=listed,
            **_summary(content),
            tables=content.tables,
            shelves=shelves(content.tables),
            figures=content.figures,
            claims=decided_first(content.claims),
            errata=by_paper(content.errata),
            reproductions=content.reproductions,
            reproductions_header=HEADER,
        )
    )


def _summary(content: Content) -> dict[str, Any]:
    claims = content.claims
    return {
        "facts": facts(content.collected.runs, claims),
        "outcomes": outcomes(claims),
        "missing": [claim for claim in claims if claim.verdict == "missing"],
        "verdict_counts": verdict_counts(content.tables, list(VERDICTS)),
        "problems": [*content.problems, *map(str, content.collected.left_out)],
    }


def linked(content: Content) -> set[str]:
    """Ids of all runs that something on the page rests on."""
    found: set[str] = set()
    for table in content.tables:
        for row in table.rows:
            found.update(run for entry in row.entries for run in entry.run_ids)
    for figure in content.figures:
        found.update(run for line in figure.rows for number in line for run in number.run_ids)
    for one in (*content.claims, *content.errata):
        found.update(one.run_ids)
    return found


def by_paper(errata: Iterable[Noted]) -> list[tuple[str, list[Noted]]]:
    """Errata by paper, the two papers' own first."""
    groups: dict[str, list[Noted]] = {}
    for one in errata:
        groups.setdefault(one.paper, []).append(one)
    return sorted(groups.items(), key=lambda group: (group[0] not in OWN, group[0]))
