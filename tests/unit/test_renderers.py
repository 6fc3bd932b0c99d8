"""Renderers: one table with everything in it, byte for byte, and what must never get through."""

from __future__ import annotations

import csv
import io
import re
import shutil
import subprocess
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import pytest

from suite.report import latex, markdown
from suite.report.csv import COLUMNS
from suite.report.model import Entry, HeaderCell, Note, Row, Table
from suite.report.write import FORMATS

GOLDEN = Path(__file__).resolve().parent.parent / "golden" / "tables"

NASTY = "a_b$^~\\{}%#&|*`<script>alert('x')</script>[link](http://x)--é∅漢"
"""A method's name with everything that Markdown, LaTeX or HTML could take for its own."""


def full(name: str = "LSQ") -> Table:
    """A table with two header rows, blocks, all marks, verdicts, notes and bold numbers."""
    measured = Entry(
        text="81.24 ± 0.37",
        value=81.24,
        low=80.87,
        high=81.61,
        runs=3,
        published=81.8,
        published_text="81.8",
        difference=-0.56,
        difference_text="-0.6",
        verdict="below",
        why="95 % t-interval of 3 runs; tolerance 0.25",
        best=True,
        notes=("a", "b"),
        run_ids=("20260101T000000-00000001", "20260101T000001-00000002"),
        cell="lsq/deit_tiny/imagenet/w2a2",
        column="DeiT-T / top-1",
        metric="top1",
    )
    unknown = Entry(
        text="99.5",
        value=99.5,
        runs=1,
        published_mark="not published",
        verdict="missing",
        column="DeiT-T / top-5",
        metric="top5",
    )
    later = Entry(
        mark="not run",
        published=77.66,
        published_text="77.66",
        published_best=True,
        verdict="missing",
        column="DeiT-T / top-1",
        metric="top1",
    )
    never = Entry(
        mark="cannot run",
        published_mark="not published",
        verdict="missing",
        why="the method ofq is not part of this suite",
        notes=("b",),
        column="DeiT-T / top-5",
        metric="top5",
    )
    return Table(
        id="full",
        title="Everything at once (%)",
        paper="P1",
        caption="With a caption.",
        header=(
            (HeaderCell(""), HeaderCell(""), HeaderCell("DeiT-T", 2)),
            (HeaderCell("method"), HeaderCell("bits"), HeaderCell("top-1"), HeaderCell("top-5")),
        ),
        rows=(
            Row(name, (measured, unknown), group="W2A2", words=("2-2",), notes=("c",)),
            Row("OFQ", (later, never), group="W2A2", words=("2-2",)),
            Row("LSQ+", (later, unknown), group="W3A3", words=("3-3",)),
        ),
        legend=(("–", "not run yet"), ("×", "cannot be run"), ("↓", "below the published value")),
        notes=(
            Note("a", "Quoted by another document."),
            Note("b", "protocol differs: recipe.epochs: 150 published, 12 here"),
            Note("c", f"About {name}."),
            Note("", "Holds for all."),
        ),
        footer=("Verdicts: 1 below, 5 missing.", "Measured: 3 runs of 3 cells."),
    )


@pytest.mark.parametrize("ending", FORMATS)
@pytest.mark.parametrize("name", ["full", "nasty"])
def test_a_rendered_table_is_the_golden_one(name: str, ending: str) -> None:
    text = FORMATS[ending](full(NASTY if name == "nasty" else "LSQ"))
    assert text == (GOLDEN / f"{name}.{ending}").read_text(encoding="utf-8")
    assert text.endswith("\n")


def test_markdown_shows_a_nasty_name_as_it_is() -> None:
    line = next(x for x in markdown.render(full(NASTY)).splitlines() if "script" in x)
    assert "<script" not in line
    assert "&lt;script&gt;" in line
    cells = re.split(r"(?<!\\)\|", line)
    assert len(cells) == 6, "a bar in a name must not open a column"
    assert re.search(r"(?<!\\)[*`\[\]]", cells[1]) is None


def test_every_markdown_row_has_all_columns() -> None:
    lines = [x for x in markdown.render(full()).splitlines() if x.startswith("|")]
    assert {len(re.split(r"(?<!\\)\|", line)) for line in lines} == {6}


def test_latex_leaves_no_special_character_unescaped() -> None:
    text = latex.escape(NASTY)
    assert not re.search(r"(?<!\\)[$&#%_]", text.replace(r"$\emptyset$", ""))
    assert "--" not in text
    assert "(U+6F22)" in text
    assert "é" in text
    assert latex.escape("[x] * y") == "{[}x{]} {*} y"


class Tags(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.links: list[str | None] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.links += [value for key, value in attrs if key in ("href", "src")]


def test_html_runs_and_loads_nothing() -> None:
    page = Tags()
    page.feed(FORMATS["html"](full(NASTY)))
    assert "script" not in page.tags
    assert all(link and link.startswith("#") for link in page.links)


def test_csv_is_tidy_and_keeps_the_name() -> None:
    lines = list(csv.DictReader(io.StringIO(FORMATS["csv"](full(NASTY)))))
    assert len(lines) == 6
    assert tuple(lines[0]) == COLUMNS
    assert lines[0]["row"] == NASTY
    assert (lines[0]["value"], lines[0]["low"], lines[0]["verdict"]) == ("81.24", "80.87", "below")
    assert lines[0]["published"] == "81.8"
    assert lines[0]["run_ids"].split() == ["20260101T000000-00000001", "20260101T000001-00000002"]
    assert lines[3]["mark"] == "cannot run"
    assert lines[3]["why"] == "the method ofq is not part of this suite"


def test_a_refused_table_says_so_and_shows_no_number() -> None:
    refused = Table(id="r", title="R", paper="P1", header=full().header, rows=(), refused="No: 1.")
    for ending in ("md", "tex", "html"):
        assert "No: 1." in FORMATS[ending](refused)
    assert FORMATS["csv"](refused).count("\n") == 1


@pytest.mark.skipif(
    shutil.which("pdflatex") is None,
    reason="needs pdflatex: apt-get install texlive-latex-base texlive-latex-recommended lmodern",
)
def test_the_latex_compiles_with_a_small_tex_live(tmp_path: Path) -> None:
    many = (Note("", "A difference that was tested, with its interval and p."),) * 80
    high = replace(full(), id="high", rows=full().rows * 8, notes=many)
    shown = {"full": full(), "nasty": full(NASTY), "high": high}
    for name, table in shown.items():
        (tmp_path / f"{name}.tex").write_text(latex.render(table), encoding="utf-8")
    (tmp_path / "all.tex").write_text(latex.document(shown), encoding="utf-8")
    command = ["pdflatex", "-interaction=nonstopmode", "-halt-on-error", "all.tex"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, errors="replace")
    assert done.returncode == 0, done.stdout[-2000:]
    assert "Overfull" not in done.stdout
    assert "Float too large" not in done.stdout
