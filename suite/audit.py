"""The coverage audit: does every operand of a matrix product have the levels that were promised?

While the finished model runs once, tensors are followed from slots through views into products. An
operand that comes from no slot, and a tensor with more distinct levels than its bits allow, are
problems; both are found in what the model computes, not in how it is written.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from suite.models.slot import Slot, slots

Where = tuple[int, str]
_FIRST, _OTHER = (0, "input"), (1, "other")
_MATS, _BATCHES = ((1, "mat1"), (2, "mat2")), ((1, "batch1"), (2, "batch2"))
_LAYER = (_FIRST, (1, "weight"))

PRODUCTS: dict[Callable[..., Any], tuple[Where, ...]] = {
    **dict.fromkeys((torch.matmul, Tensor.matmul), (_FIRST, _OTHER)),
    **dict.fromkeys((Tensor.__matmul__, Tensor.__rmatmul__), (_FIRST, _OTHER)),
    **dict.fromkeys((torch.mm, Tensor.mm, torch.bmm, Tensor.bmm), (_FIRST, (1, "mat2"))),
    **dict.fromkeys((torch.mv, Tensor.mv), (_FIRST, (1, "vec"))),
    **dict.fromkeys((torch.dot, Tensor.dot), (_FIRST, (1, "tensor"))),
    **dict.fromkeys((torch.inner, Tensor.inner), (_FIRST, _OTHER)),
    **dict.fromkeys((torch.addmm, Tensor.addmm), _MATS),
    **dict.fromkeys((torch.baddbmm, Tensor.baddbmm), _BATCHES),
    **dict.fromkeys((torch.addbmm, Tensor.addbmm), _BATCHES),
    torch.addmv: ((1, "mat"), (2, "vec")),
    torch.tensordot: ((0, "a"), (1, "b")),
    torch.einsum: ((1, "operands"), (2, "")),
    **dict.fromkeys((F.linear, torch.conv1d, torch.conv2d, torch.conv3d), _LAYER),
    **dict.fromkeys((F.conv1d, F.conv2d, F.conv3d), _LAYER),
    **dict.fromkeys((F.conv_transpose1d, F.conv_transpose2d), _LAYER),
    F.bilinear: ((0, "input1"), (1, "input2"), (2, "weight")),
    F.scaled_dot_product_attention: ((0, "query"), (1, "key"), (2, "value")),
}
"""Functions that multiply and sum, and where their operands are: position and keyword."""

VIEWS: frozenset[Callable[..., Any]] = frozenset(
    getattr(Tensor, name)
    for name in (
        "transpose",
        "permute",
        "reshape",
        "view",
        "flatten",
        "unflatten",
        "contiguous",
        "__getitem__",
        "chunk",
        "split",
        "unbind",
        "squeeze",
        "unsqueeze",
        "expand",
        "t",
        "float",
        "to",
        "swapaxes",
    )
) | {
    Tensor.T.__get__,  # type: ignore[attr-defined]
    Tensor.mT.__get__,  # type: ignore[attr-defined]
    Tensor.tanh,
    torch.tanh,
    F.dropout,
    torch.dropout,
    torch.cat,
    F.pad,
    torch.transpose,
    torch.flatten,
    torch.reshape,
    torch.permute,
    torch.chunk,
    torch.split,
}
"""Functions whose result holds the same levels as their input."""


SAMPLE = 50_000

MANY = 8
"""From so many groups on they are short, and sorted together."""

TOLERANCE = 1e-6
"""Share of a group's largest value within which two values are one level."""


@dataclass(frozen=True)
class Place:
    """One quantized place. levels: the most distinct values among the tensor's groups; negative:
    whether any value is below zero; groups: how many groups have steps of their own."""

    bits: int
    levels: int
    negative: bool
    groups: int


@dataclass
class Audit:
    """places: by slot name; full_precision: slots left empty; problems: sentences."""

    places: dict[str, Place] = field(default_factory=dict)
    full_precision: list[str] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)

    @property
    def ok(self) -> bool:
        return not self.problems

    def to_dict(self) -> dict[str, Any]:
        """Plain values for the record."""
        return {**asdict(self), "ok": self.ok}


@torch.no_grad()
def audit(model: nn.Module, inputs: Any) -> Audit:
    """Run `model` once in eval mode on `inputs` and audit every product; restores the mode."""
    training, watch = model.training, _Watch()
    names = {slot: name for name, slot in slots(model).items()}
    hooks = [slot.register_forward_hook(watch.leaving(name)) for slot, name in names.items()]
    model.eval()
    try:
        with watch:
            model(inputs)
    finally:
        for hook in hooks:
            hook.remove()
        model.train(training)
    unseen = [
        n for s, n in names.items() if s.quantizer is not None and n not in watch.found.places
    ]
    watch.found.problems += [f"{name} holds a quantizer that no data passes" for name in unseen]
    return watch.found


class _Watch(TorchFunctionMode):
    """Follows tensors from slots to products."""

    def __init__(self) -> None:
        super().__init__()
        self.found = Audit()
        self._origin: dict[int, tuple[str, int]] = {}
        self._kept: list[Tensor] = []
        self._inside = False

    def leaving(self, name: str) -> Callable[[nn.Module, Any, Tensor], None]:
        """A hook that notes a slot's output and counts its levels."""

        def hook(slot: nn.Module, _: Any, out: Tensor) -> None:
            assert isinstance(slot, Slot)
            self._inside = True
            self._note(name, slot, out)
            self._inside = False
            self._mark(out, name)

        return hook

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        out = func(*args, **(kwargs or {}))
        if self._inside:
            return out
        if func in PRODUCTS:
            self._check(func, args, kwargs or {})
        elif func is F.embedding and (source := self._source(args[1])):
            self._mark(out, source)
        elif func in VIEWS and (source := self._source(_first(args, kwargs or {}))):
            for part in out if isinstance(out, Sequence) else [out]:
                self._mark(part, source)
        return out

    def _source(self, given: Any) -> str | None:
        """The slot that all of a view's input comes from, if there is one."""
        parts = given if isinstance(given, Sequence) else [given]
        names = [self._known(part) for part in parts]
        return names[0] if names and all(names) else None

    def _mark(self, tensor: Tensor, name: str) -> None:
        self._origin[id(tensor)] = name, tensor._version
        self._kept.append(tensor)  # or its id could come back as another tensor's

    def _note(self, name: str, slot: Slot, out: Tensor) -> None:
        quantizer = slot.quantizer
        if quantizer is None:
            self.found.full_precision.append(name)
            return
        rows = quantizer.per_group(out)
        levels = most_levels(rows)
        bits = int(quantizer.bits)
        before = self.found.places.get(name)
        place = Place(bits, levels, bool((out < 0).any()), len(rows))
        self.found.places[name] = place if before is None or levels > before.levels else before
        if levels > getattr(quantizer, "allowed_levels", 2**bits):
            self.found.problems.append(
                f"{name} has {levels} levels where {bits} bits allow {2**bits}"
            )

    def _known(self, tensor: Any) -> str | None:
        """The slot that a tensor comes from, unless it was changed in place since."""
        name, version = self._origin.get(id(tensor), (None, 0))
        return name if name and tensor._version == version else None

    def _check(self, func: Any, args: Any, kwargs: Any) -> None:
        for operand in _operands(PRODUCTS[func], args, kwargs):
            if self._known(operand) is None:
                self.found.problems.append(
                    f"an operand {tuple(operand.shape)} of {func.__name__} passes no quantizer"
                )


def _first(args: Any, kwargs: Any) -> Any:
    return args[0] if args else kwargs.get("input", kwargs.get("tensors"))


def _operands(places: tuple[Where, ...], args: Any, kwargs: Any) -> list[Tensor]:
    given = [args[i] if i < len(args) else kwargs.get(name) for i, name in places]
    flat = [part for g in given for part in (g if isinstance(g, (list, tuple)) else [g])]
    return [part for part in flat if isinstance(part, Tensor)]


def most_levels(rows: Tensor) -> int:
    """The most distinct values that a row of `rows` [groups, elements] has."""
    if len(rows) < MANY:
        return max(distinct(row) for row in rows)
    ordered = rows.sort(dim=1).values
    gap = TOLERANCE * rows.abs().amax(dim=1, keepdim=True)
    return 1 + int((ordered.diff(dim=1) > gap).sum(dim=1).max())


def distinct(values: Tensor, tolerance: float = TOLERANCE) -> int:
    """Distinct values of a flat tensor; values nearer than `tolerance` of the largest are one.

    Some quantizers compute a level in more than one way, so that it comes with two last bits.
    """
    flat = values.flatten().contiguous()
    # Most levels are in any sample; what it lacks is looked up, so that nothing is sorted whole.
    sample = flat[:: max(1, len(flat) // SAMPLE)].unique()
    place = torch.searchsorted(sample, flat).clamp_(max=len(sample) - 1)
    ordered = torch.cat([sample, flat[sample[place] != flat]]).unique()
    if len(ordered) < 2:
        return len(ordered)
    gap = tolerance * float(ordered.abs().max())
    return 1 + int((ordered.diff() > gap).sum())
