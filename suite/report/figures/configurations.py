"""Runs by configuration: what several trainings or calibration draws have in common."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from statistics import mean
from typing import TYPE_CHECKING, Any

from suite.statistics import t_interval

if TYPE_CHECKING:
    import pandas as pd

FULL = 32
"""Bits of what is not quantized."""

BEST = "_best"


@dataclass(frozen=True)
class Sample:
    """One run: the value of its main metric after the last epoch, and the best epoch's."""

    seed: int
    value: float
    best: float
    run_id: str


@dataclass(frozen=True)
class Configuration:
    """One configuration and its runs, by seed.

    name: label without the seed; series: method and variant (and settings), model and task left
    out; metric: the main metric's name.
    """

    name: str
    series: str
    method: str
    model: str
    task: str
    w_bits: int
    a_bits: int
    metric: str
    samples: tuple[Sample, ...]

    @property
    def tuned(self) -> bool:
        """Whether it has settings of its own, which its series names in brackets."""
        return "[" in self.series

    @property
    def values(self) -> list[float]:
        return [sample.value for sample in self.samples]

    @property
    def mean(self) -> float:
        return mean(self.values)

    @property
    def interval(self) -> tuple[float, float] | None:
        """95 % t-interval of the mean; None with fewer than two runs."""
        return t_interval(self.values) if len(self.values) > 1 else None

    @property
    def run_ids(self) -> tuple[str, ...]:
        return tuple(sample.run_id for sample in self.samples)

    @property
    def bits(self) -> str:
        """`w4a8`, or `FP32`."""
        if self.w_bits == self.a_bits == FULL and "e" not in self.name.rpartition("/")[2]:
            return "FP32"
        return self.name.rpartition("/")[2]


def configurations(newest: pd.DataFrame) -> list[Configuration]:
    """Every configuration with a value, sorted by task, model and name.

    newest: the newest finished run of every cell. Two recipes of one configuration stay apart.
    """
    import pandas as pd

    rows = main_metrics(newest)
    rows = rows[rows["value"].notna()]
    found = []
    for (name, recipe), group in rows.groupby(["configuration", "recipe"], dropna=False, sort=True):
        first = group.iloc[0]
        kept = group.sort_values("seed")
        samples = tuple(
            Sample(int(seed), float(value), float(best), str(run))
            for seed, value, best, run in zip(
                kept["seed"], kept["value"], kept["best"], kept["run_id"], strict=True
            )
        )
        found.append(_configuration(str(name), first, samples, recipe if pd.notna(recipe) else ""))
    return sorted(_told_apart(found), key=lambda c: (c.task, c.model, c.name))


def main_metrics(runs: pd.DataFrame) -> pd.DataFrame:
    """`runs` with the main metric's name, its last value and its best epoch's.

    The main metric is the one whose best epoch a record holds too.
    """
    import numpy as np

    best = sorted(c for c in runs.columns if c.startswith("m.") and c.endswith(BEST))
    rows = runs.assign(metric="", value=float("nan"), best=float("nan"))
    for column in best:
        last = column.removesuffix(BEST)
        if last in runs:
            here = np.isfinite(runs[column].astype(float)) & np.isfinite(runs[last].astype(float))
            rows.loc[here, "metric"] = last.removeprefix("m.")
            rows.loc[here, "value"] = runs.loc[here, last].astype(float)
            rows.loc[here, "best"] = runs.loc[here, column].astype(float)
    return rows


def by_place(found: Iterable[Configuration]) -> dict[tuple[str, str], list[Configuration]]:
    """Configurations by model and task."""
    groups: dict[tuple[str, str], list[Configuration]] = {}
    for one in found:
        groups.setdefault((one.model, one.task), []).append(one)
    return groups


def decimals(values: Iterable[float]) -> int:
    """Four for similarities up to 1, two for percent and the rest."""
    return 4 if all(abs(value) <= 1 for value in values) else 2


def shown(value: float, digits: int) -> str:
    return f"{value:.{digits}f}"


def spread(one: Configuration, digits: int) -> str:
    """`80.87 to 81.61`, or nothing with a single run."""
    if one.interval is None:
        return ""
    low, high = one.interval
    return f"{low:.{digits}f} to {high:.{digits}f}"


def _configuration(
    name: str, first: Any, samples: tuple[Sample, ...], recipe: str
) -> tuple[Configuration, str]:
    made = Configuration(
        name=name,
        series=name.split("/", 1)[0],
        method=str(first["method"]),
        model=str(first["model"]),
        task=str(first["task"]),
        w_bits=int(first["w_bits"]),
        a_bits=int(first["a_bits"]),
        metric=str(first["metric"]),
        samples=samples,
    )
    return made, recipe


def _told_apart(found: Sequence[tuple[Configuration, str]]) -> list[Configuration]:
    """Where a configuration comes with several recipes, its series is named with the recipe's
    digest, at every bit-width: a line over bits has one recipe."""
    from dataclasses import replace

    count = Counter(one.name for one, _ in found)
    several = {_line(one) for one, _ in found if count[one.name] > 1}
    named = []
    for one, recipe in found:
        if _line(one) in several:
            digest = hashlib.sha256(recipe.encode()).hexdigest()[:6]
            one = replace(one, series=f"{one.series} (recipe {digest})")
        named.append(one)
    return named


def _line(one: Configuration) -> tuple[str, str, str]:
    return one.series, one.model, one.task
