"""Templates of the report: everything is escaped unless it is markup of our own making."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Collection, Mapping
from functools import cache
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from suite.report.anchors import anchor
from suite.report.model import MARKS, MEANINGS, SIGNS, Entry, Table
from suite.report.svg import clean

FOLDER = Path(__file__).parent / "templates"

VERDICTS = {
    "holds": ("✓", "good"),
    "does not hold": ("✗", "bad"),
    "undecided": ("?", "open"),
    "reproduced": (SIGNS["reproduced"], "good"),
    "above": (SIGNS["above"], "up"),
    "below": (SIGNS["below"], "bad"),
    "inconclusive": (SIGNS["inconclusive"], "open"),
    "not comparable": (SIGNS["not comparable"], "none"),
    "missing": ("–", "none"),
}
"""Sign and class of every verdict on a claim and on a number; the word always stands with it."""


@cache
def environment() -> Environment:
    """Jinja with escaping on; text loses the characters that no page can hold."""
    made = Environment(
        loader=FileSystemLoader(FOLDER),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        finalize=_final,
    )
    made.filters["anchor"] = anchor
    made.globals.update(
        kind_of=lambda verdict: VERDICTS.get(verdict, ("", "none"))[1],
        sign_of=lambda verdict: VERDICTS.get(verdict, ("", "none"))[0],
        order_of=lambda verdict: list(VERDICTS).index(verdict) if verdict in VERDICTS else 99,
        averaged=averaged,
        marks=MARKS,
        meanings=MEANINGS,
    )
    return made


def asset(name: str) -> Markup:
    """A style sheet or script of ours as it is."""
    return Markup((FOLDER / name).read_text(encoding="utf-8"))


def script_digest(script: str) -> str:
    """What a content security policy calls this script, so that no other one runs."""
    digest = base64.b64encode(hashlib.sha256(script.encode("utf-8")).digest()).decode()
    return f"'sha256-{digest}'"


def averaged(entry: Entry) -> str:
    """`mean of 3 runs, 80.87 to 81.61`, in the digits of the entry's own text."""
    told = f"mean of {entry.runs} runs"
    if entry.low is None or entry.high is None:
        return told
    digits = len(entry.text.split()[0].partition(".")[2])
    return f"{told}, {entry.low:.{digits}f} to {entry.high:.{digits}f}"


def _final(value: Any) -> Any:
    return clean(value) if isinstance(value, str) and not isinstance(value, Markup) else value


def table_html(table: Table, places: Mapping[str, str] | None = None, level: int = 1) -> Markup:
    """One table as HTML. places: anchors by run id; without them nothing is a link. level: of its
    heading."""
    known = places or {}

    def link(run_ids: Collection[str]) -> str:
        return next((known[run] for run in run_ids if run in known), "")

    module: Any = environment().get_template("table.html.j2").make_module({"link": link})
    return Markup(module.data_table(table, level))
