"""The state of a running training, saved atomically so that a killed run goes on exactly."""

from __future__ import annotations

import pickle
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from suite.checkpoint_parts import fault_of_moments, fault_of_optimizer, fault_of_state
from suite.errors import EnvironmentProblem
from suite.files import write_atomically

UNREADABLE = (RuntimeError, EOFError, OSError, KeyError, ValueError, pickle.UnpicklingError)
"""What torch.load raises for a file that is truncated, not a checkpoint, or not plain data."""


@dataclass
class State:
    """Where a training stands.

    cell: id of the cell it belongs to; data: digests of its data; rests: digests of what else
    it rests on, by name (starting weights, needed cells, soft labels); number: index of the running
    pass; step: steps done in it; seconds, data_seconds, images, loss: sums over the running pass
    so far; history: one row a finished pass; resumed: how often the run was continued; peaks:
    largest memory readings; threads: of the CPU, with which it began (others give other bits);
    load: seconds of CPU and on the clock so far, see suite.measure.Load.
    """

    cell: str
    data: dict[str, str] = field(default_factory=dict)
    number: int = 0
    step: int = 0
    seconds: float = 0.0
    data_seconds: float = 0.0
    images: int = 0
    loss: float = 0.0
    resumed: int = 0
    history: list[dict[str, Any]] = field(default_factory=list)
    peaks: dict[str, float] = field(default_factory=dict)
    threads: int = 0
    load: dict[str, float] = field(default_factory=dict)
    rests: dict[str, str] = field(default_factory=dict)


def threads_of(paths: Iterable[Path]) -> int:
    """Threads with which a training began whose checkpoint is one of `paths`; 0 where there is
    none, or none that can be read (`load` says so)."""
    for path in paths:
        if path.exists():
            with suppress(EnvironmentProblem):
                state = _read(path, mmap=True)["state"]
                _whole(path, fault_of_state(state))
                return int(state.get("threads", 0))
    return 0


def save(path: Path, state: State, model: nn.Module, optimizer: torch.optim.Optimizer) -> None:
    """Write state, model and optimizer in one file, atomically."""
    content = {
        "state": asdict(state),
        "model": model.state_dict(),
        "optimizer": optimizer.state_dict(),
    }
    write_atomically(path, lambda temporary: torch.save(content, temporary))


def load(
    path: Path,
    cell: str,
    data: dict[str, str],
    model: nn.Module,
    optimizer: torch.optim.Optimizer,
    rests: dict[str, str] | None = None,
) -> State | None:
    """Restore model and optimizer in place; None if there is no checkpoint.

    Raises EnvironmentProblem when the file is damaged or holds NaN, belongs to another cell, model
    or data, or began on other weights, needed cells or soft labels than `rests` has.
    """
    if not path.exists():
        return None
    content = _read(path)
    _whole(path, fault_of_state(content["state"]))
    owner = content["state"]["cell"]
    if owner != cell:
        raise EnvironmentProblem(
            f"The checkpoint {path} belongs to the cell {owner}, not to {cell}; move it away or "
            "start over with --fresh."
        )
    known = content["state"].get("data")
    if known and known != data:
        raise EnvironmentProblem(
            f"The checkpoint {path} is of a training on other data (digests {_told(known)}, here "
            f"{_told(data)}); name the folder that it began with, or start over with --fresh."
        )
    _same_ground(path, content["state"].get("rests"), rests or {})
    _fits(path, content["model"], model.state_dict())
    odd = first_nonfinite(content["model"])
    if odd:
        raise EnvironmentProblem(
            f"The checkpoint {path} holds NaN or infinity in {odd}; its training had diverged: "
            "start over with --fresh, and another learning rate."
        )
    _whole(path, fault_of_optimizer(content["optimizer"], optimizer.state_dict()))
    parameters = [p for group in optimizer.param_groups for p in group["params"]]
    _whole(path, fault_of_moments(content["optimizer"]["state"], parameters))
    model.load_state_dict(content["model"])
    optimizer.load_state_dict(content["optimizer"])
    state = State(**content["state"])
    state.resumed += 1
    return state


def _whole(path: Path, fault: str) -> None:
    if fault:
        raise EnvironmentProblem(
            f"The checkpoint {path} is damaged ({fault}); delete it or start over with --fresh."
        )


def _same_ground(path: Path, known: dict[str, str] | None, rests: dict[str, str]) -> None:
    if known is None:
        raise EnvironmentProblem(
            f"The checkpoint {path} does not say on which weights and labels it rests, as those of "
            "an earlier version; start over with --fresh."
        )
    names = sorted(known.keys() | rests.keys())
    other = [name for name in names if known.get(name) != rests.get(name)]
    if other:
        parts = [f"{n} ({known.get(n, 'none')}, here {rests.get(n, 'none')})" for n in other]
        raise EnvironmentProblem(
            f"The checkpoint {path} began on other files than are here now: {', '.join(parts)}; "
            "name those that it began with, or start over with --fresh."
        )


def first_nonfinite(tensors: dict[str, Tensor]) -> str:
    """Name of the first tensor that holds NaN or infinity; "" if none does."""
    for name, value in tensors.items():
        if value.is_floating_point() and not bool(value.isfinite().all()):
            return name
    return ""


def _told(digests: dict[str, str]) -> str:
    return ", ".join(f"{name} {value[:16]}" for name, value in sorted(digests.items()))


def _read(path: Path, mmap: bool = False) -> dict[str, Any]:
    try:
        content = torch.load(path, weights_only=True, map_location="cpu", mmap=mmap)
    except UNREADABLE as problem:
        raise EnvironmentProblem(
            f"The checkpoint {path} cannot be read ({type(problem).__name__}: damaged or not a "
            "checkpoint); delete it or start over with --fresh."
        ) from problem
    parts = content if isinstance(content, dict) else {}
    if not all(isinstance(parts.get(name), dict) for name in ("state", "model", "optimizer")):
        raise EnvironmentProblem(
            f"The file {path} is not a training checkpoint of this suite; delete it or start "
            "over with --fresh."
        )
    known = {field.name for field in fields(State)}
    if not {"cell"} <= content["state"].keys() <= known:
        raise EnvironmentProblem(
            f"The checkpoint {path} was written by another version of this suite; delete it or "
            "start over with --fresh."
        )
    return content


def _fits(path: Path, found: dict[str, Tensor], wanted: dict[str, Tensor]) -> None:
    wrong = [
        name
        for name in sorted(found.keys() | wanted.keys(), key=str)
        if name not in found or name not in wanted or _shape(found[name]) != _shape(wanted[name])
    ]
    if wrong:
        raise EnvironmentProblem(
            f"The checkpoint {path} is of another model: {len(wrong)} entries differ, first "
            f"{', '.join(map(str, wrong[:3]))}; delete it or start over with --fresh."
        )


def _shape(value: Any) -> Any:
    if isinstance(value, Tensor):
        return tuple(value.shape), value.dtype, value.layout
    return type(value)
