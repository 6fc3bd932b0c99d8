"""Golden values from the authors' code, replayed against the code that the methods run."""

from __future__ import annotations

import re
import zipfile
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from suite.certify.case import Case, Comparison, LacksInput, Replay
from suite.errors import EnvironmentProblem, Missing
from suite.places import place

DAMAGED = (
    OSError,
    ValueError,
    EOFError,
    NotImplementedError,
    zipfile.BadZipFile,
    zlib.error,
)
"""What numpy raises for an archive that is truncated or damaged."""

GOLDEN = place("tests", "golden")


@dataclass(frozen=True)
class Result:
    """One group's outcome. lacking: inputs that its cases miss; unbuilt: keys of a group whose
    code is not written yet."""

    method: str
    group: str
    compared: tuple[Comparison, ...]
    lacking: tuple[str, ...] = ()
    unbuilt: int = 0

    @property
    def ok(self) -> bool:
        return all(c.ok for c in self.compared)


@dataclass(frozen=True)
class Report:
    """All groups found in a folder, and the keys that nobody recognised."""

    folder: Path
    files: tuple[str, ...]
    results: tuple[Result, ...]
    unrecognised: tuple[str, ...]

    @property
    def compared(self) -> int:
        return sum(len(r.compared) for r in self.results)

    @property
    def ok(self) -> bool:
        return self.compared > 0 and all(r.ok for r in self.results)


def certify(folder: Path | None = None, only: str = "") -> Report:
    """Replay every array of the folder's npz files whose key is known.

    only: a regular expression of group names to replay (empty: all). Raises Missing when the
    folder holds no npz file, EnvironmentProblem when one cannot be read.
    """
    folder = folder or GOLDEN
    arrays, files = _read(folder)
    known: set[str] = set()
    found = [
        result
        for replay in replays()
        if re.fullmatch(only or ".*", replay.group)
        for result in _replayed(replay, arrays, known)
    ]
    return Report(folder, files, tuple(found), tuple(k for k in arrays if k not in known))


def replays() -> tuple[Replay, ...]:
    """Every group of golden values, in the order of the report."""
    from suite.certify import (
        binarybert,
        binarybert_models,
        lsq_plus,
        ptq,
        ptq_models,
        qvit,
        unbuilt,
        variation,
        variation_models,
    )

    return (
        *variation.REPLAYS,
        *variation_models.REPLAYS,
        *ptq.REPLAYS,
        *ptq_models.REPLAYS,
        *lsq_plus.REPLAYS,
        *qvit.REPLAYS,
        *binarybert.REPLAYS,
        *binarybert_models.REPLAYS,
        *unbuilt.REPLAYS,
    )


def _replayed(replay: Replay, arrays: Mapping[str, np.ndarray], known: set[str]) -> list[Result]:
    prefixes = _cases(replay.pattern, arrays)
    if not prefixes:
        return []
    if replay.run is None:
        mine = [k for k in arrays if any(k == p or k.startswith(f"{p}/") for p in prefixes)]
        known.update(mine)
        return [Result(replay.method, replay.group, (), unbuilt=len(mine))]
    compared: list[Comparison] = []
    lacking: list[str] = []
    for prefix in prefixes:
        case = Case(prefix, arrays, known, replay.joint)
        try:
            replay.run(case)
        except LacksInput as missing:
            lacking.append(str(missing))
        compared += case.compared
    return [Result(replay.method, replay.group, tuple(compared), tuple(lacking))]


def _cases(pattern: str, arrays: Mapping[str, np.ndarray]) -> list[str]:
    """The distinct prefixes of keys that the pattern matches up to a slash or the key's end."""
    rule = re.compile(f"({pattern})(?:[/_]|$)")
    found = (rule.match(key) for key in arrays)
    return list(dict.fromkeys(m.group(1) for m in found if m))


def _read(folder: Path) -> tuple[dict[str, np.ndarray], tuple[str, ...]]:
    files = sorted(folder.glob("*.npz"))
    if not files:
        raise Missing(
            f"No golden values: {folder} has no .npz file; name a folder that has some with "
            "--golden DIR, or leave it out in a checkout of the suite."
        )
    arrays: dict[str, np.ndarray] = {}
    for path in files:
        try:
            with np.load(path, allow_pickle=False) as content:
                arrays.update({name: content[name] for name in content.files})
        except DAMAGED as problem:
            raise EnvironmentProblem(
                f"The golden file {path} cannot be read ({problem}); copy it again."
            ) from problem
    return arrays, tuple(path.name for path in files)
