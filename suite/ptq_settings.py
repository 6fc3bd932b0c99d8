"""Settings and variants of P2's range-based methods, and bit-widths by place."""

from __future__ import annotations

from typing import Any, Literal

from suite.errors import UsageError
from suite.method import Settings
from suite.quant.affine import MAX_BITS

FULL = 32

WeightRange = Literal["mse_golden", "mse_grid", "current_minmax"]
ActivationRange = Literal[
    "current_minmax", "all_minmax", "running_minmax", "mse_golden", "mse_grid"
]


class RangeSettings(Settings):
    """weights, activations: range estimators; candidates: thresholds of a grid search.

    per_channel: a range for every output row of a weight.
    percentile: share in percent of an activation's values that current_minmax cuts off (0: none);
        two_sided: on both ends.
    logits: `quantized` like any activation, left in `fp32`, or their range by `mse` or
        `cross_entropy`.
    places: bit-widths by place, `x=16,h=16,P=fp32`; a place is a letter of suite/models/bert.py
        (all layers), a place in one layer (`y11`), a role, or `L`, `L3` for a whole layer.
    relative_margin: how far a search goes beyond the largest value: by a share of it, or by 0.5.
    stale_shift: in an asymmetric search at a place of other bits keep the shift limit of the
        cell's activation bits, which the released searches are built for.
    search_axis: search a range for every group of an activation with groups, or one in all.
    clamp_ratings: clamp a quantized BERT's rating to 0..5, which FP32 is not.
    joint_norms: let the one range of a NoNorm's weight and bias (MobileBERT) cover both, not the
        bias alone.
    """

    weights: WeightRange = "mse_golden"
    candidates: int = 100
    per_channel: bool = False
    activations: ActivationRange = "current_minmax"
    percentile: float = 0.0
    two_sided: bool = False
    logits: Literal["quantized", "fp32", "mse", "cross_entropy"] = "quantized"
    places: str = ""
    relative_margin: bool = False
    stale_shift: bool = True
    search_axis: bool = False
    clamp_ratings: bool = True
    joint_norms: bool = False


CORRECTED: dict[str, Any] = {
    "two_sided": True,
    "relative_margin": True,
    "stale_shift": False,
    "search_axis": True,
    "clamp_ratings": False,
    "joint_norms": True,
}
VARIANTS: dict[str, dict[str, Any]] = {
    "released": {},
    "corrected": CORRECTED,
    "paper": {**CORRECTED, "relative_margin": False},
}


def parse_places(text: str) -> dict[str, int]:
    """`x=16,h=fp32` as bits by place; raises UsageError for anything else."""
    found = {}
    for part in filter(None, (word.strip() for word in text.split(","))):
        word, equals, value = part.partition("=")
        bits = FULL if value.strip() == "fp32" else _bits(value)
        if not equals or not word.strip() or bits is None:
            raise UsageError(
                f"The places cannot be {part!r}; write PLACE=BITS with bits from 2 to {MAX_BITS} "
                "or fp32, like x=16,h=16,P=fp32."
            )
        found[word.strip()] = bits
    return found


def _bits(value: str) -> int | None:
    word = value.strip()
    valid = word.isascii() and word.isdigit() and 2 <= int(word) <= MAX_BITS
    return int(word) if valid else None
