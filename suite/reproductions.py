"""Third parties' runs of published methods: beside a published number, never in its place.

tables/published/reproductions.csv has the columns of results.csv and two more: `reproduces`, the
paper whose number was run again, and `remark`, how.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from suite.contradictions import augmented
from suite.markdown import table
from suite.names import FOLDER, canonical
from suite.published import COLUMNS, Published, checked, published, value_of

MORE = ("reproduces", "remark")


@dataclass(frozen=True)
class Reproduction:
    """value: what the third party got; its `paper` and `table` say who and where. reproduces: the
    paper; remark: how it was run."""

    value: Published
    reproduces: str
    remark: str

    @property
    def note(self) -> str:
        """One sentence for a reader of the published number."""
        one = self.value
        return f"A third party got {one.printed} ({one.paper}, {one.table}: {self.remark})."


@dataclass(frozen=True)
class Loaded:
    """Reproductions, and a sentence for every line that could not be taken."""

    values: tuple[Reproduction, ...]
    problems: tuple[str, ...]


def read(path: Path) -> Loaded:
    """Read a reproductions.csv; errors as suite.published.read."""
    lines, problems = checked(path, (*COLUMNS, *MORE))
    found = [Reproduction(value_of(line), line["reproduces"], line["remark"]) for line in lines]
    return Loaded(tuple(found), tuple(problems))


@cache
def _shipped() -> Loaded:
    return read(FOLDER / "reproductions.csv")


def reproductions() -> tuple[Reproduction, ...]:
    """All of tables/published/reproductions.csv, in its order."""
    return _shipped().values


def problems() -> tuple[str, ...]:
    """What was wrong with the file, a sentence a line."""
    return _shipped().problems


def of(value: Published, known: Iterable[Reproduction] | None = None) -> list[Reproduction]:
    """The third parties' runs of exactly this published number's row and column."""
    found = reproductions() if known is None else known
    return [one for one in found if _same(one, value)]


def _same(one: Reproduction, value: Published) -> bool:
    own = one.value
    return (
        one.reproduces == value.paper
        and augmented(own) == augmented(value)
        and canonical("models", own.model) == canonical("models", value.model)
        and canonical("methods", own.method) == canonical("methods", value.method)
        and (own.dataset, own.task, own.metric) == (value.dataset, value.task, value.metric)
        and (own.w_bits, own.a_bits) == (value.w_bits, value.a_bits)
        and (own.e_bits is None or own.e_bits == value.e_bits)
    )


def original(one: Reproduction) -> Published | None:
    """The published number that was run again; None where it is not known."""
    return next((value for value in published() if _same(one, value)), None)


HEADER = ("paper", "what", "published", "third party", "difference", "how", "where")


def listed() -> list[tuple[str, ...]]:
    """A line a reproduction, as HEADER names it; the difference only where both are known."""
    return [_line(one) for one in reproductions()]


def _line(one: Reproduction) -> tuple[str, ...]:
    own, theirs = one.value, original(one)
    digits = max(len(v.printed.partition(".")[2]) for v in (own, theirs or own))
    return (
        one.reproduces,
        f"{own.row}, {own.column}",
        theirs.printed if theirs else "not known",
        own.printed,
        f"{own.value - theirs.value:+.{digits}f}" if theirs else "",
        one.remark,
        own.source,
    )


def told() -> str:
    """All reproductions as Markdown, with what they are."""
    what = (
        "Third parties' reproductions, shown beside published numbers; no verdict is judged "
        "against them."
    )
    return f"{what}\n\n{table(HEADER, listed(), words=len(HEADER))}"
