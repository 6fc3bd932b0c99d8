"""Embedded tables in docs/tables against the records in docs/measured that they were made of."""

from __future__ import annotations

from pathlib import Path

import pytest

from suite.collect import collect
from suite.report.build import build
from suite.report.markdown import render
from suite.report.specs import FOLDER, load_all
from suite.report.write import told

DOCS = Path(__file__).parents[2] / "docs"
RECORDS = {
    "agreement": ("agreement",),
    "agreement-leave-one-out": ("errata",),
    "agreement-peg": ("agreement",),
    "fashion": ("fashion",),
    "fashion-ablation": ("fashion", "parts"),
    "fashion-sensitivity": ("fashion", "parts"),
    "snippets": ("snippets",),
    "snippets-binary": ("snippets",),
}
"""Id of a table -> the results folders that it was made of."""


@pytest.mark.parametrize("name", RECORDS)
def test_a_table_is_what_its_records_give(name: str) -> None:
    specs, _ = load_all(FOLDER)
    (spec,) = (one for one in specs if one.id == name)
    table = build(spec, collect([DOCS / "measured" / folder for folder in RECORDS[name]]))
    assert render(table) == (DOCS / "tables" / f"{name}.md").read_text(encoding="utf-8")
    (line,) = (
        x for x in (DOCS / "tables" / "README.md").read_text().splitlines() if f"({name}.md)" in x
    )
    assert line.endswith(f"| {told(table)} |")
