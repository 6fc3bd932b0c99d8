"""What is wrong with the parts of a training checkpoint: types, ranges, shapes, NaN.

`torch.load(weights_only=True)` says that a file is plain data, not that it is a training's.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Annotated, Any

import torch
from pydantic import ConfigDict, Field, FiniteFloat, TypeAdapter, ValidationError, with_config
from torch import Tensor
from typing_extensions import TypedDict

Count = Annotated[int, Field(ge=0, strict=True)]
Number = Annotated[float, Field(allow_inf_nan=False, strict=True)]
Digests = dict[str, str]


@with_config(ConfigDict(extra="forbid"))
class _State(TypedDict, total=False):
    """The fields of suite.checkpoint.State as they are stored."""

    cell: str
    data: Digests
    rests: Digests
    number: Count
    step: Count
    seconds: Number
    data_seconds: Number
    images: Count
    loss: Number
    resumed: Count
    history: list[dict[str, FiniteFloat | str]]
    peaks: dict[str, Number]
    threads: Count
    load: dict[str, Number]


_STATE: TypeAdapter[_State] = TypeAdapter(_State)
FREE = {"params", "lr", "step"}
"""Settings of a group that a training changes, or that are compared otherwise."""


def fault_of_state(found: dict[str, Any]) -> str:
    """What is wrong with the state's fields; "" if nothing is."""
    try:
        _STATE.validate_python(found)
    except ValidationError as problem:
        first = problem.errors()[0]
        return f"its {'.'.join(map(str, first['loc']))}: {first['msg']}"
    return ""


def fault_of_optimizer(found: Any, own: dict[str, Any]) -> str:
    """What keeps a stored optimizer's state from continuing `own`, that of the recipe before its
    first step, with its parameters; "" if nothing does. Both as from `state_dict`."""
    return next(_faults(found, own), "")


def _faults(found: Any, own: dict[str, Any]) -> Iterator[str]:
    groups = found.get("param_groups") if isinstance(found, dict) else None
    if not isinstance(groups, list) or not isinstance(found.get("state"), dict):
        yield "its optimizer has no groups and no state"
        return
    if len(groups) != len(own["param_groups"]):
        yield f"its optimizer has {len(groups)} groups, not {len(own['param_groups'])}"
        return
    for number, (group, wanted) in enumerate(zip(groups, own["param_groups"], strict=True)):
        fault = _of_group(group, wanted)
        if fault:
            yield f"its optimizer's group {number + 1} {fault}"


def _of_group(group: Any, wanted: dict[str, Any]) -> str:
    if not isinstance(group, dict) or not wanted.keys() <= group.keys():
        return "lacks settings"
    if not _same(group["params"], wanted["params"]):
        return "is of other parameters"
    odd = [name for name in ("lr", "step") if name in group and not _is_number(group[name])]
    odd += [name for name in wanted.keys() - FREE if not _same(group[name], wanted[name])]
    return f"has another {', '.join(sorted(odd))} than the recipe" if odd else ""


def fault_of_moments(found: dict[Any, Any], parameters: list[Tensor]) -> str:
    """What is wrong with what a stored optimizer keeps of each parameter, in order; "" if nothing
    is: every tensor but the count of steps has its parameter's shape, and none holds NaN."""
    for index, kept in found.items():
        if type(index) is not int or not 0 <= index < len(parameters) or not isinstance(kept, dict):
            return f"its optimizer keeps something of a parameter {index!r}, which there is not"
        for name, value in kept.items():
            shapes = {torch.Size(())} if name == "step" else {parameters[index].shape}
            if not _is_number(value) if name == "step" else not isinstance(value, Tensor):
                return f"its optimizer's {name} of parameter {index} is no number"
            if isinstance(value, Tensor) and value.shape not in shapes:
                return f"its optimizer's {name} of parameter {index} has another shape"
            if isinstance(value, Tensor) and (
                not is_dense_real(value) or not bool(value.isfinite().all())
            ):
                return f"its optimizer's {name} of parameter {index} holds NaN or infinity"
    return ""


def is_dense_real(value: Tensor) -> bool:
    return value.layout == torch.strided and not value.is_complex()


def _is_number(value: Any) -> bool:
    if isinstance(value, Tensor):
        return value.numel() == 1 and is_dense_real(value) and math.isfinite(value.item())
    return type(value) in (int, float) and math.isfinite(value)


def _same(found: Any, wanted: Any) -> bool:
    """Equal, of one type; lists and tuples are one."""
    if isinstance(wanted, list | tuple):
        return (
            isinstance(found, list | tuple)
            and len(found) == len(wanted)
            and all(map(_same, found, wanted))
        )
    return type(found) is type(wanted) and bool(found == wanted)
