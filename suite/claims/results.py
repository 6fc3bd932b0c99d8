"""All claims against the collected records: what a table, a report or a terminal shows."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from suite.cell import Cell
from suite.claims.judge import HOLDS, MISSING, NOT, UNDECIDED, Judged, judge
from suite.claims.model import Claim, Scale, Test, all_claims
from suite.claims.records import Records, Row, disagreements
from suite.claims.sides import Values, values_of
from suite.comparable import departures
from suite.errors import UsageError
from suite.selectors import selector

if TYPE_CHECKING:
    import pandas as pd

HOW = {
    "value": "{0}",
    "difference": "{0} minus {1}",
    "ratio": "{0} over {1}",
    "recovered": "share of the way from {1} to {2} that {0} goes",
}


class HasRuns(Protocol):
    """What of suite.collect.Collected is needed here."""

    @property
    def runs(self) -> pd.DataFrame: ...


@dataclass(frozen=True)
class ClaimResult:
    """A claim at one scale.

    verdict: one of suite.claims.VERDICTS. effect, interval: in `unit`, to `digits` (None where
    there is none); signed: whether the effect is a difference, shown with its sign. expected: the
    threshold in words. stands_for: at embedded scale, what stands in for what. needs_missing:
    sentences and `lowbit run` commands that would complete it. how: what was compared; seeds:
    over which; run_ids: from which runs.
    """

    id: str
    paper: str
    text: str
    source: str
    scale: str
    verdict: str
    effect: float | None
    interval: tuple[float, float] | None
    unit: str
    digits: int
    expected: str
    stands_for: str
    needs_missing: tuple[str, ...]
    how: str
    seeds: tuple[int, ...] = ()
    run_ids: tuple[str, ...] = ()
    signed: bool = True

    @property
    def key(self) -> str:
        """Unique among all results."""
        return f"{self.id}-{self.scale}"

    @property
    def shown(self) -> str:
        """Effect and interval as text; empty where nothing was measured."""
        if self.effect is None:
            return ""
        form = f"{'+' if self.signed else ''}.{self.digits}f"
        text = f"{self.effect:{form}}{' ' + self.unit if self.unit else ''}"
        if self.interval is None:
            return text
        low, high = (f"{value:{form}}" for value in self.interval)
        return f"{text} ({low} to {high})"


def claims(collected: HasRuns, scale: Scale | None = None) -> list[ClaimResult]:
    """Every claim with its verdict, in the order of the files; of one scale, if named."""
    chosen = [(c, t) for c in all_claims() for t in c.test if scale in (None, t.scale)]
    records = Records(collected.runs, _cells(t for _, t in chosen))
    return [result(claim, test, records) for claim, test in chosen]


def result(claim: Claim, test: Test, records: Records) -> ClaimResult:
    """One claim at one scale."""
    sides = [values_of(side, test.metric, records) for side in test.sides]
    judged = _agreed(Judged(MISSING) if test.needs else judge(test, sides), sides, test, records)
    missing = (*(s for side in sides for s in side.missing), *((test.needs,) if test.needs else ()))
    return ClaimResult(
        id=claim.id,
        paper=claim.paper,
        text=claim.text,
        source=claim.source,
        scale=test.scale,
        verdict=judged.verdict,
        effect=judged.effect,
        interval=judged.interval,
        unit=test.unit,
        digits=test.digits,
        signed=test.kind in ("difference", "ordering"),
        expected=test.expected,
        stands_for=test.stands_for,
        needs_missing=tuple(dict.fromkeys(missing)),
        how=_how(test, sides, judged),
        seeds=judged.seeds,
        run_ids=tuple(dict.fromkeys(str(row["run_id"]) for side in sides for row in side.rows)),
    )


def _agreed(judged: Judged, sides: Sequence[Values], test: Test, records: Records) -> Judged:
    """Undecided, with the reason, where the runs must not be compared or decide nothing."""
    if judged.verdict not in (HOLDS, NOT):
        return judged
    rows = [row for side in sides for row in side.rows]
    found = [*disagreements(rows), *records.reservations(rows)]
    found += _departed(rows) if test.scale == "paper" else ()
    if not found:
        return judged
    return Judged(UNDECIDED, judged.effect, judged.interval, judged.seeds, "; ".join(found))


def _departed(rows: Sequence[Row]) -> list[str]:
    """In what runs are not about the papers' data, models and training."""
    found = dict.fromkeys(
        f"runs of {row['task']} with {phrase}" for row in rows for phrase in departures(row)
    )
    return list(found)


def _how(test: Test, sides: Sequence[Values], judged: Judged) -> str:
    """What was compared, over which seeds, and why it is undecided."""
    names = [side.name for side in sides]
    pattern = HOW.get(test.kind, " over ".join(f"{{{i}}}" for i in range(len(names))))
    parts = [pattern.format(*names)] if names else []
    metrics = dict.fromkeys(side.metric or test.metric for side in test.sides if side.cells)
    parts += [", ".join(metrics)] if metrics else []
    parts += [f"seeds {', '.join(map(str, judged.seeds))}"] if metrics and judged.seeds else []
    parts += [text for text in (judged.why, test.why) if text]
    return "; ".join(parts)


def _cells(tests: Iterator[Test]) -> Iterator[Cell]:
    """All cells that the tests name, as far as they can exist."""
    for name in {side.cells for test in tests for side in test.sides if side.cells}:
        try:
            yield from selector(name).cells().values()
        except UsageError:
            continue
