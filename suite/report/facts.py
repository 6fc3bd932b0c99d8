"""What the top of the page says: what there is, what holds, and what is missing."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from suite.report.model import Table

if TYPE_CHECKING:
    import pandas as pd

OUTCOMES = (
    ("What holds", "hold", "holds"),
    ("What does not hold", "do not hold", "does not hold"),
    ("What could not be decided", "could not be decided", "undecided"),
)
"""Headings of the summary, what they are called in a count, and the verdicts under them."""

SCALES = ("paper", "embedded")

CAUTION = (
    "No cell of the papers’ own tables is among these records. Verdicts at embedded scale come "
    "from small models on small data that ship with the suite: they show whether an effect is "
    "there at all. Verdicts at paper scale set published numbers beside each other. Nothing here "
    "says that a published number is right or wrong."
)


@dataclass(frozen=True)
class Facts:
    """runs: records that were read; sentence: what they are; caution: what they cannot say."""

    runs: int
    sentence: str
    caution: str


def facts(runs: pd.DataFrame, claims: Iterable[Any]) -> Facts:
    """What the records are. runs: one row each; claims: with scale and run ids."""
    done = runs[runs["status"] == "done"]
    at_paper_scale = any(claim.scale == "paper" and claim.run_ids for claim in claims)
    return Facts(
        runs=len(runs),
        sentence=_sentence(done, len(runs) - len(done)),
        caution="" if at_paper_scale or done.empty else CAUTION,
    )


def _sentence(done: pd.DataFrame, failed: int) -> str:
    if done.empty and not failed:
        return "There are no records, so nothing is known yet; lowbit run makes some."
    cells = done["cell_id"].nunique()
    text = f"{_many(len(done), 'finished run')} of {_many(cells, 'cell')}"
    text += f" and {_many(failed, 'failed run')}" if failed else ""
    devices = sorted(map(str, done["device"].dropna().unique()))
    text += f", made on {' and '.join(devices)}" if devices else ""
    if len(done):
        first, last = (str(day)[:10] for day in (done["finished"].min(), done["finished"].max()))
        text += f" from {first} to {last}" if first != last else f" on {first}"
    return f"{text}."


def outcomes(claims: Sequence[Any]) -> list[tuple[str, str, str, list[Any]]]:
    """Heading, short name, verdict and claims of every outcome; paper scale before embedded."""
    ordered = sorted(claims, key=lambda claim: SCALES.index(claim.scale))
    return [(*named, [c for c in ordered if c.verdict == named[-1]]) for named in OUTCOMES]


def shelves(tables: Sequence[Table]) -> list[tuple[str, list[Table]]]:
    """Tables by scale under a heading; what can be complete here comes first."""
    groups = (("Embedded counterparts", "embedded"), ("The papers’ own tables", "paper"))
    found = [(title, [t for t in tables if t.scale == scale]) for title, scale in groups]
    return [(title, some) for title, some in found if some]


def decided_first(claims: Sequence[Any]) -> list[Any]:
    """Claims in their order, those that nothing is known of yet at the end."""
    return sorted(claims, key=lambda claim: claim.verdict == "missing")


def verdict_counts(
    tables: Iterable[Table], order: Sequence[str]
) -> list[tuple[str, list[tuple[str, int]]]]:
    """How many numbers of the tables have which verdict, by scale; scales without any left out."""
    found: dict[str, dict[str, int]] = {scale: {} for scale in SCALES}
    for table in tables:
        counts = found[table.scale]
        for verdict, count in table.verdicts().items():
            counts[verdict] = counts.get(verdict, 0) + count
    return [
        (scale, [(word, counts[word]) for word in order if word in counts])
        for scale, counts in found.items()
        if counts
    ]


def _many(count: int, word: str) -> str:
    return f"{count} {word}{'' if count == 1 else 's'}"
