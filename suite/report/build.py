"""From a spec and collected records to a table: a pure function of both and of the published
numbers."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import groupby
from typing import TYPE_CHECKING

from suite.published import Published, published
from suite.report.annotate import footer, legend, lettered
from suite.report.comparing import comparisons
from suite.report.entries import entry
from suite.report.lookup import Shelf
from suite.report.measured import rows
from suite.report.model import HeaderCell, Note, Row, Table
from suite.report.places import Place, place_of
from suite.report.pool import Pool
from suite.report.ranking import best
from suite.report.spec import Block, RowSpec, Spec
from suite.side_by_side import mixtures

if TYPE_CHECKING:
    from suite.collect import Collected
    from suite.measuring.records import Measurement

NO_BLOCK = Block(title="")


def build(spec: Spec, collected: Collected, mix: bool = False) -> Table:
    """The table of one spec. Where records differ in what must not differ, a table that says so
    and shows nothing; with `mix`, the whole one with a note."""
    return build_all([spec], collected, mix)[0]


def build_all(
    specs: Iterable[Spec],
    collected: Collected,
    mix: bool = False,
    values: Sequence[Published] | None = None,
    timed: Sequence[Measurement] = (),
) -> list[Table]:
    """The tables of all specs, reading the records once. values: the published numbers (those of
    tables/published, if left out); timed: what `lowbit measure` has measured."""
    pool = Pool(collected.runs, rows(timed))
    shelf = Shelf(published() if values is None else values)
    return [_table(spec, pool, shelf, mix) for spec in specs]


def _table(spec: Spec, pool: Pool, shelf: Shelf, mix: bool) -> Table:
    lines = [
        [place_of(pool, shelf, spec, column, block, row) for column in spec.column]
        for block, row in _lines(spec)
    ]
    places = [place for line in lines for place in line]
    used = [run for place in places for run in place.runs]
    mixed = mixtures(pool.compared(used))
    if mixed and not mix:
        return _refused(spec, mixed)
    lettered_rows, notes = lettered(_rows(lines, pool))
    plain = [*spec.notes, *comparisons(places, pool), *(f"Mixed: {one}." for one in mixed)]
    sources = [place.published for place in places if place.published]
    problems = [problem for place in places for problem in place.problems]
    return Table(
        id=spec.id,
        title=spec.title,
        paper=spec.paper,
        scale=spec.scale,
        caption=spec.caption,
        header=header(spec),
        rows=lettered_rows,
        legend=legend(lettered_rows),
        notes=(*notes, *(Note("", text) for text in plain)),
        footer=footer(lettered_rows, list(dict.fromkeys(used)), pool, sources),
        problems=tuple(dict.fromkeys(problems)),
    )


def _lines(spec: Spec) -> list[tuple[Block, RowSpec]]:
    """Block and row of every line, blocks in order."""
    blocks = spec.block or (NO_BLOCK,)
    return [
        (block, row)
        for block in blocks
        for row in spec.row
        if not row.blocks or block.title in row.blocks
    ]


def _rows(lines: Sequence[Sequence[Place]], pool: Pool) -> tuple[Row, ...]:
    rows = [
        Row(
            label=line[0].row.label,
            group=line[0].block.title,
            words=line[0].row.words,
            notes=line[0].row.notes,
            entries=tuple(entry(place, pool) for place in line),
        )
        for line in lines
    ]
    direction = [place.column.best for place in lines[0]]
    return best(rows, direction, [line[0].row.ranked for line in lines])


def header(spec: Spec) -> tuple[tuple[HeaderCell, ...], ...]:
    """Header rows; equal neighbours under the same parent are one cell, and the names of the text
    columns stand in the last row."""
    depth = len(spec.column[0].title)
    found = []
    for level in range(depth):
        last = level == depth - 1
        words = [HeaderCell(label if last else "") for label in spec.labels]
        titles = groupby(spec.column, key=lambda c, n=level: c.title[: n + 1])  # type: ignore[misc]
        cells = [
            cell
            for title, group in titles
            for cell in _joined(title[-1], len(list(group)), apart=last)
        ]
        found.append((*words, *cells))
    return tuple(found)


def _joined(text: str, span: int, apart: bool) -> list[HeaderCell]:
    """One wide cell; in the last header row one for each column."""
    return [HeaderCell(text)] * span if apart else [HeaderCell(text, span)]


def _refused(spec: Spec, mixed: Sequence[str]) -> Table:
    why = (
        f"The table {spec.id} is not shown because its records must not be set side by side: "
        f"{'; '.join(mixed)}. Name the results folders that belong together with --results, or "
        "show it regardless with --mix."
    )
    return Table(
        id=spec.id,
        title=spec.title,
        paper=spec.paper,
        scale=spec.scale,
        caption=spec.caption,
        header=header(spec),
        rows=(),
        refused=why,
        problems=(why,),
    )
