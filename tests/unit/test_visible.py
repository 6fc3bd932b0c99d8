"""What a record holds is shown, and does nothing."""

from __future__ import annotations

import csv
import io

import pytest

from suite.markdown import row, visible
from suite.report.csv import render
from suite.report.markdown import escape
from suite.report.model import Entry, HeaderCell, Row, Table

ESCAPES = ["\x1b[31mred", "a\x07b", "\u202eright to left", "\u2066a", "a\x9b2J", "a\u2028b"]


@pytest.mark.parametrize("text", ESCAPES)
def test_what_is_not_seen_is_spelt_out(text: str) -> None:
    for shown in (visible(text), row([text]), escape(text)):
        assert shown.isprintable(), shown
        assert "\\" in shown or text == "a\u2028b"
    assert visible("naïve “quotes”, 中文, é\u0301") == "naïve “quotes”, 中文, é\u0301"
    assert visible("two\nlines", keep="\n") == "two\nlines"


@pytest.mark.parametrize("text", ["=1+1", "+1", "-lsq", "@sum", "\t=1", "\r=1"])
def test_a_cell_of_a_spreadsheet_is_text(text: str) -> None:
    entry = Entry(text="-1.50", value=-1.5, runs=1, cell=text, why=text, column=text)
    header = ((HeaderCell("method"), HeaderCell(text)),)
    table = Table("t", "t", "P1", header, (Row(text, (entry,), group=text),))
    (line,) = csv.DictReader(io.StringIO(render(table), newline=""))
    for column in ("row", "block", "configuration", "why", "column"):
        assert line[column] == (f"'{text}" if text.isprintable() else visible(text))
    assert line["value"] == "-1.5"
