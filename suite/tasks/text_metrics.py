"""Metrics of the text tasks, in percent, and GLUE's macro score with its rule."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from statistics import mean, median
from typing import Literal

import numpy as np

from suite.errors import LowbitError

Metrics = dict[str, float]


def matthews(prediction: np.ndarray, target: np.ndarray) -> float:
    """Matthews correlation of class ids [n]; 0 when all predictions are equal."""
    from sklearn.metrics import matthews_corrcoef

    return 100 * float(matthews_corrcoef(target, prediction))


def accuracy(prediction: np.ndarray, target: np.ndarray) -> float:
    """Share of class ids [n] that are right."""
    from sklearn.metrics import accuracy_score

    return 100 * float(accuracy_score(target, prediction))


def f1(prediction: np.ndarray, target: np.ndarray) -> float:
    """F1 of class 1; 0 when nothing is predicted or nothing is there."""
    from sklearn.metrics import f1_score

    return 100 * float(f1_score(target, prediction, pos_label=1, zero_division=0))


def pearson(prediction: np.ndarray, target: np.ndarray) -> float:
    """Pearson correlation of ratings [n]; 0 when either side is constant."""
    from scipy.stats import pearsonr

    return _correlation(pearsonr, prediction, target)


def spearman(prediction: np.ndarray, target: np.ndarray) -> float:
    """Spearman rank correlation of ratings [n]; 0 when either side is constant."""
    from scipy.stats import spearmanr

    return _correlation(spearmanr, prediction, target)


def _correlation(
    function: Callable[..., tuple[float, float]], prediction: np.ndarray, target: np.ndarray
) -> float:
    """A model that quantization drove into one value has learnt no order: 0, not NaN."""
    if not (np.isfinite(prediction).all() and np.isfinite(target).all()):
        raise LowbitError("A rating cannot be scored because it is not finite; look for NaN.")
    if _constant(prediction) or _constant(target):
        return 0.0
    return 100 * float(function(prediction.astype(np.float64), target.astype(np.float64))[0])


def _constant(values: np.ndarray) -> bool:
    """Whether ratings differ by no more than float32's rounding: such an order is noise."""
    largest = np.float32(np.abs(values).max())
    return bool(np.ptp(values) <= np.spacing(largest))


def _matthews(prediction: np.ndarray, target: np.ndarray) -> Metrics:
    return {"matthews": matthews(prediction, target)}


def _accuracy(prediction: np.ndarray, target: np.ndarray) -> Metrics:
    return {"accuracy": accuracy(prediction, target)}


def _accuracy_f1(prediction: np.ndarray, target: np.ndarray) -> Metrics:
    found = {"accuracy": accuracy(prediction, target), "f1": f1(prediction, target)}
    return {**found, "combined": mean(found.values())}


def _correlations(prediction: np.ndarray, target: np.ndarray) -> Metrics:
    found = {"pearson": pearson(prediction, target), "spearman": spearman(prediction, target)}
    return {**found, "combined": mean(found.values())}


Kind = Literal["matthews", "accuracy", "accuracy_f1", "correlations"]

_SCORERS: dict[Kind, Callable[[np.ndarray, np.ndarray], Metrics]] = {
    "matthews": _matthews,
    "accuracy": _accuracy,
    "accuracy_f1": _accuracy_f1,
    "correlations": _correlations,
}

MAIN: dict[Kind, str] = {
    "matthews": "matthews",
    "accuracy": "accuracy",
    "accuracy_f1": "combined",
    "correlations": "combined",
}
"""The metric that stands for the task; `combined` is the plain mean of its two metrics."""


def score(kind: Kind, prediction: np.ndarray, target: np.ndarray) -> Metrics:
    """The metrics of `kind` in percent, rounded to 4 digits; prediction and target are [n]."""
    return _rounded(_SCORERS[kind](prediction, target))


def score_parts(parts: Mapping[str, int], prediction: np.ndarray, target: np.ndarray) -> Metrics:
    """Accuracy of each part and, as `accuracy`, their unweighted mean.

    parts: name -> number of samples, in the order in which the samples lie one after the other
    (P2 code: main.py:748-784 averages MNLI's matched and mismatched accuracy that way).
    """
    edges = np.cumsum(list(parts.values()))[:-1]
    shares = zip(parts, np.split(prediction, edges), np.split(target, edges), strict=True)
    found = {f"accuracy_{name}": accuracy(p, t) for name, p, t in shares}
    return _rounded({**found, "accuracy": mean(found.values())})


def _rounded(metrics: Metrics) -> Metrics:
    return {name: round(value, 4) for name, value in metrics.items()}


COLUMNS: dict[str, str] = {
    "glue-cola": "matthews",
    "glue-sst2": "accuracy",
    "glue-mrpc": "combined",
    "glue-stsb": "combined",
    "glue-qqp": "combined",
    "glue-mnli": "accuracy",
    "glue-qnli": "accuracy",
    "glue-rte": "accuracy",
}
"""The columns of the macro score: task -> metric, in the order of P2's tables."""


@dataclass(frozen=True)
class Macro:
    """value: macro score in percent, None while a task is missing; rule: how it is made, for the
    note under a table; missing: tasks without a run."""

    value: float | None
    rule: str
    missing: tuple[str, ...]


def macro(
    runs: Mapping[str, Sequence[Mapping[str, float]]], mnli: Literal["once", "twice"] = "once"
) -> Macro:
    """GLUE's macro score: the unweighted mean over columns of the median over a task's runs.

    runs: task -> the metrics of each of its runs. `mnli`: P2 counts MNLI once, as the mean of
    matched and mismatched accuracy (eight columns); other papers count both (nine columns).
    """
    columns = _columns(mnli)
    missing = tuple(task for task in COLUMNS if not runs.get(task))
    medians = [median(run[m] for run in runs[t]) for t, m in columns if t not in missing]
    value = None if missing else round(mean(medians), 4)
    return Macro(value, _rule(columns, mnli), missing)


def _columns(mnli: str) -> list[tuple[str, str]]:
    found = []
    for task, metric in COLUMNS.items():
        if task == "glue-mnli" and mnli == "twice":
            found += [(task, "accuracy_matched"), (task, "accuracy_mismatched")]
        else:
            found.append((task, metric))
    return found


def _rule(columns: list[tuple[str, str]], mnli: str) -> str:
    names = ", ".join(f"{task.removeprefix('glue-')} {metric}" for task, metric in columns)
    how = "once, as the mean of matched and mismatched" if mnli == "once" else "twice"
    return (
        f"unweighted mean of {len(columns)} columns ({names}), each the median over its runs; MNLI "
        f"counts {how}; combined is the mean of accuracy and F1 (mrpc, qqp) or of Pearson and "
        "Spearman (stsb); WNLI is left out"
    )
