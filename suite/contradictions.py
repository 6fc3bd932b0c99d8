"""Published numbers for one and the same thing: pairs that agree, and pairs that do not."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Literal

from suite.names import canonical
from suite.published import Published, published


@dataclass(frozen=True)
class Clash:
    """Two published numbers for one thing: `duplicate` where they agree in the digits that both
    print, `contradiction` where they do not. Both stay."""

    kind: Literal["duplicate", "contradiction"]
    first: Published
    second: Published

    def __str__(self) -> str:
        first, second = self.first, self.second
        return (
            f"{first.printed} ({first.name}, {first.confidence}) and "
            f"{second.printed} ({second.name}, {second.confidence})"
        )


def contradictions(values: Iterable[Published] | None = None) -> list[Clash]:
    """Pairs of published numbers for the same thing, by registered names; the first of a group
    is paired with each other one."""
    groups: dict[tuple[Any, ...], Published] = {}
    found = []
    for value in published() if values is None else values:
        first = groups.setdefault(_thing(value), value)
        if first is not value:
            digits = max(first.half_unit, value.half_unit)
            same = abs(first.value - value.value) <= digits * (1 + 1e-9)
            found.append(Clash("duplicate" if same else "contradiction", first, value))
    return found


def _thing(value: Published) -> tuple[Any, ...]:
    """What a number is about, whoever prints it and however it is spelt. Best and last epoch are
    two things; `as in paper` and a delta are never merged with anything else."""
    when = value.when if value.metric.endswith(("_best", "_last")) else ""
    return (
        canonical("models", value.model),
        canonical("methods", value.method),
        value.dataset,
        value.task,
        value.metric,
        when,
        value.w_bits,
        value.a_bits,
        value.e_bits,
        augmented(value),
    )


def augmented(value: Published) -> bool:
    """Whether a number rests on augmented training data."""
    return "with data augmentation" in value.table
