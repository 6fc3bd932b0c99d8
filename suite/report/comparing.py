"""Paired tests between the rows of a block: over seeds, or sample by sample."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from suite.report.places import MACROS, Place
from suite.report.pool import Pool
from suite.statistics import Paired, mcnemar, over_seeds

if TYPE_CHECKING:
    import numpy as np


def comparisons(places: Sequence[Place], pool: Pool) -> list[str]:
    """A sentence for every row of a block against the row that it or its table names in
    `compare`."""
    found = []
    for place in places:
        against = place.row.compare or place.spec.compare
        wanted = against and place.column.compared and place.row.ranked
        if not wanted or place.row.label == against:
            continue
        for other in places:
            same = other.column is place.column and other.block is place.block
            if same and other.row.label == against:
                test = compare(place, other, pool)
                found += [_sentence(place, other, test, pool)] if test else []
    return found


def compare(first: Place, second: Place, pool: Pool) -> Paired | None:
    """Paired t over common seeds; with fewer than two, McNemar on the samples of a common one."""
    if first.column.metric in MACROS or "." in first.column.metric:
        return None
    one, two = _by_seed(first, pool), _by_seed(second, pool)
    seeds = sorted(one.keys() & two.keys())
    values = [
        {s: place.values[runs[s]] for s in seeds} for place, runs in ((first, one), (second, two))
    ]
    over = over_seeds(*values)
    if over or not seeds:
        return over
    maps = [bitmap(pool, runs[seeds[0]]) for runs in (one, two)]
    if maps[0] is None or maps[1] is None or len(maps[0]) != len(maps[1]):
        return None
    return mcnemar(maps[0], maps[1])


def _by_seed(place: Place, pool: Pool) -> dict[int, int]:
    return dict(zip(map(int, pool.values(place.runs, "seed")), place.runs, strict=True))


def bitmap(pool: Pool, run: int) -> np.ndarray | None:
    """Which samples a run has right, in evaluation order; None where its file is not there."""
    name = pool.document(run, "files").get("correct")
    samples = pool.value(run, "m.samples")
    path = Path(str(pool.value(run, "path"))).parent / Path(str(name)).name
    if not name or samples is None or not path.is_file():
        return None
    found = unpacked(path, int(samples))
    return None if found is None or not agrees(found, _share(pool, run)) else found


def _share(pool: Pool, run: int) -> float | None:
    """Percent of all samples that a run has right; None where its metrics do not say (MNLI's
    accuracy is the mean of two)."""
    if pool.value(run, "m.accuracy_matched") is not None:
        return None
    found = (pool.value(run, f"m.{name}") for name in ("top1", "accuracy"))
    return next((float(value) for value in found if value is not None), None)


def unpacked(path: Path, samples: int) -> np.ndarray | None:
    """The bits of a file of one bit a sample; None where it does not hold so many."""
    import numpy as np

    try:
        bits = np.unpackbits(np.load(path, allow_pickle=False))
    except (OSError, ValueError, EOFError, TypeError):
        return None
    return bits[:samples].astype(bool) if 0 <= len(bits) - samples < 8 else None


def agrees(correct: np.ndarray, share: float | None) -> bool:
    """Whether as many samples are right as the record says in percent: otherwise the file beside it
    is another run's, or damaged."""
    return share is None or abs(100 * float(correct.mean()) - share) < 0.01


def _sentence(first: Place, second: Place, test: Paired, pool: Pool) -> str:
    digits = first.column.digits
    where = " ".join(part for part in (first.block.title, first.column.title[-1]) if part)
    pairs = "seeds" if test.test == "paired t" else "samples"
    return (
        f"{first.row.label} minus {second.row.label}, {where}: {test.difference:+.{digits}f} "
        f"({test.low:+.{digits}f} to {test.high:+.{digits}f}; {test.test}, {test.n} {pairs}, "
        f"{_p(test.p)}): {_verdict(first, second, test, pool)}."
    )


def _verdict(first: Place, second: Place, test: Paired, pool: Pool) -> str:
    """The test's verdict; undecided, with the reason, where a run of either decides nothing."""
    reasons = pool.reservations([*first.runs, *second.runs])
    return f"undecided ({'; '.join(reasons)})" if reasons else test.verdict


def _p(value: float) -> str:
    return "p < 0.001" if value < 0.001 else f"p = {value:.3f}"
