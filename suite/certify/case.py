"""One case of golden values: the arrays under a prefix, its inputs and what is compared."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor


@dataclass(frozen=True)
class Comparison:
    """One array against ours. error and tolerance are relative to the largest golden magnitude
    (absolute where that is zero); a tolerance of 0 asks for equal bits."""

    key: str
    error: float
    tolerance: float

    @property
    def ok(self) -> bool:
        return self.error <= self.tolerance


class LacksInput(Exception):
    """A case cannot be replayed because one of its inputs is not in the files."""


class Case:
    """The golden arrays below `prefix`, their names joined to it by `joint`.

    Reading or comparing an array marks its key as known.
    """

    def __init__(
        self, prefix: str, arrays: Mapping[str, np.ndarray], known: set[str], joint: str = "/"
    ) -> None:
        self.prefix = prefix
        self.joint = joint
        self._arrays = arrays
        self._known = known
        self.compared: list[Comparison] = []

    def has(self, name: str) -> bool:
        return self._key(name) in self._arrays

    def array(self, name: str) -> np.ndarray:
        """The array as stored; raises LacksInput if it is not there."""
        key = self._key(name)
        if key not in self._arrays:
            raise LacksInput(key)
        self._known.add(key)
        return self._arrays[key]

    def tensor(self, name: str) -> Tensor:
        """The array as a new tensor of its own type; raises LacksInput if it is not there."""
        return torch.from_numpy(np.array(self.array(name)))

    def below(self, name: str) -> dict[str, Tensor]:
        """All arrays below `prefix/name/`, keyed by the rest of their names, as tensors."""
        start = self._key(name) + self.joint
        names = [key[len(start) :] for key in self._arrays if key.startswith(start)]
        return {rest: self.tensor(f"{name}{self.joint}{rest}") for rest in names}

    def other(self, prefix: str) -> Case:
        """Another prefix of the same files; what is compared there is counted here."""
        case = Case(prefix, self._arrays, self._known, self.joint)
        case.compared = self.compared
        return case

    def compare(
        self,
        name: str,
        ours: Tensor | np.ndarray | float,
        tolerance: float = 0.0,
        floor: float = 0.0,
    ) -> None:
        """Compare `ours` with the golden array `name`; does nothing if the file lacks it.

        floor: magnitude below which the golden array counts as rounding noise; the error is
        then relative to the floor.
        """
        if not self.has(name):
            return
        mine = ours.detach().cpu().numpy() if isinstance(ours, Tensor) else np.asarray(ours)
        error = difference(mine, self.array(name), floor)
        self.compared.append(Comparison(self._key(name), error, tolerance))

    def _key(self, name: str) -> str:
        return f"{self.prefix}{self.joint}{name}" if self.prefix else name


def difference(mine: np.ndarray, golden: np.ndarray, floor: float = 0.0) -> float:
    """Largest absolute difference over the largest golden magnitude (at least `floor`); infinite
    when the shapes differ or anything is not finite on one side only. One value on a side stands
    for every element of the other: a symmetric weight's zero point is the authors' scalar 0."""
    mine, golden = np.squeeze(mine), np.squeeze(golden)
    single = 1 in (mine.size, golden.size) and mine.size and golden.size
    if mine.shape != golden.shape and not single:
        return float("inf")
    doubles = (np.asarray(v, dtype=np.float64) for v in (mine, golden))
    a, b = (v.ravel() for v in np.broadcast_arrays(*doubles))
    if not np.array_equal(np.isfinite(a), np.isfinite(b)):
        return float("inf")
    finite = np.isfinite(b)
    if not finite.any():
        return 0.0
    a, b = a[finite], b[finite]
    return float(np.abs(a - b).max() / (max(np.abs(b).max(), floor) or 1.0))


@dataclass(frozen=True)
class Replay:
    """How the cases of one group are replayed.

    method: whose numerics the group proves; group: its name in the report; pattern: regular
    expression of the cases' prefixes; run: replays one case, None where the method's code is
    not built yet; joint: what joins a prefix and the names below it.
    """

    method: str
    group: str
    pattern: str
    run: Callable[[Case], None] | None
    joint: str = "/"
