"""Published accuracies at one bit-width for weights and activations."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from suite.names import canonical
from suite.published import Published
from suite.report.figures.configurations import FULL

DATASET, METRIC = "ImageNet-1K", "top1_acc"

Points = Mapping[str, Sequence[Published]]
"""Published values by the registered (or published) name of their model."""


def published_points(published: Iterable[Published]) -> dict[str, list[Published]]:
    """Top-1 accuracies on ImageNet at one bit-width for weights and activations, by model; only
    models for which P1 itself prints two or more, the first printed value where there are two."""
    groups: dict[str, dict[tuple[str, int], Published]] = {}
    own: dict[str, set[int]] = {}
    for p in published:
        if p.metric == METRIC and p.dataset == DATASET and isinstance(p.w_bits, int):
            if p.w_bits != p.a_bits:
                continue
            model = canonical("models", p.model)
            groups.setdefault(model, {}).setdefault((method_of(p), p.w_bits), p)
            if p.paper.startswith("P1") and p.w_bits != FULL:
                own.setdefault(model, set()).add(p.w_bits)
    return {m: list(group.values()) for m, group in groups.items() if len(own.get(m, ())) > 1}


def method_of(point: Published) -> str:
    return canonical("methods", point.method)
