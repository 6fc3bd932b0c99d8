"""The picture of a text model's outliers: where they are, and what leaving a place out repairs."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.figure import Figure
from safetensors.numpy import load_file

from suite.errors import Missing
from suite.results import Record, Store

SHOWN = "xhy"
"""Letters whose dimensions are shown: the FFN's input, its output and their sum."""

NAMES = {"x": "FFN input x", "h": "FFN output h", "y": "residual sum y"}


def draw(record: Record, store: Store, out: Path) -> list[Path]:
    """Write `outliers-<run>.png` and `.svg` into `out`; returns their paths.

    Raises Missing when the record has no diagnosis.
    """
    path = store.beside(record.cell_id, record.run_id, "outliers.safetensors")
    if "places" not in record.diagnosis or not path.is_file():
        raise Missing(
            f"The run {record.run_id} holds no diagnosis of outliers; only calibrated text cells "
            "(minmax_ptq, mixed_precision, peg, adaround) have one."
        )
    figure = _figure(record, load_file(path))
    out.mkdir(parents=True, exist_ok=True)
    found = [out / f"outliers-{record.run_id}.{ending}" for ending in ("png", "svg")]
    with mpl.rc_context({"svg.hashsalt": "lowbit", "svg.fonttype": "none"}):
        figure.savefig(found[0], dpi=120)
        figure.savefig(found[1], metadata={"Date": None})
    return found


def _figure(record: Record, ranges: dict[str, np.ndarray]) -> Figure:
    figure = Figure(figsize=(11, 7.5), layout="constrained")
    halves: Any = figure.subfigures(2, 1, height_ratios=(3, 2))
    top, bottom = halves
    maps = top.subplots(1, len(SHOWN), sharey=True)
    grids = {letter: _by_layer(ranges, letter) for letter in SHOWN}
    largest = max(grid.max() for grid in grids.values())
    image: Any = None
    for axis, (letter, grid) in zip(maps, grids.items(), strict=True):
        image = axis.imshow(
            grid, aspect="auto", norm=mpl.colors.LogNorm(largest / 300, largest), cmap="magma_r"
        )
        axis.set_title(NAMES[letter])
        axis.set_xlabel("embedding dimension")
    maps[0].set_ylabel("layer")
    maps[0].set_yticks(range(len(next(iter(grids.values())))))
    top.colorbar(image, ax=list(maps), label="range of the dimension")
    ratios, damage = bottom.subplots(1, 2)
    _ratios(ratios, record.diagnosis["places"])
    _damage(damage, record.diagnosis["damage"])
    figure.suptitle(
        f"{Path(record.cell['model']).name}, {record.cell['task']}: {record.cell['method']}"
    )
    return figure


def _by_layer(ranges: dict[str, np.ndarray], letter: str) -> np.ndarray:
    """Range of every dimension, a row a layer."""
    rows = {}
    for name, (low, high) in ranges.items():
        if name[0] == letter and name[1:].isdigit():
            rows[int(name[1:])] = np.maximum(high - low, 1e-6)
    return np.stack([rows[layer] for layer in sorted(rows)])


def _ratios(axis: Any, places: dict[str, Any]) -> None:
    """Largest over median range of a dimension, for every place."""
    names = list(places)
    axis.bar(names, [places[name]["largest_to_median"] for name in names], color="#7a5195")
    axis.set_yscale("log")
    axis.set_ylabel("largest / median range")
    axis.set_title("How much one dimension stands out")
    axis.tick_params(axis="x", rotation=90, labelsize=5)


def _damage(axis: Any, damage: dict[str, float]) -> None:
    """Error of the quantized model, and with each letter's places left in FP32."""
    rest = {letter: value for letter, value in damage.items() if letter}
    colours = ["#ef5675" if value < 0.8 * damage[""] else "#bbbbbb" for value in rest.values()]
    axis.bar(list(rest), list(rest.values()), color=colours)
    axis.axhline(damage[""], color="black", linewidth=1)
    axis.text(
        0.99,
        damage[""],
        "nothing left out",
        ha="right",
        va="bottom",
        size=8,
        transform=axis.get_yaxis_transform(),
    )
    axis.set_ylim(0, 1.15 * max(damage.values()))
    axis.set_ylabel("relative error")
    axis.set_title("Error of the last hidden states with one place left in FP32")
    axis.tick_params(axis="x", rotation=90)
