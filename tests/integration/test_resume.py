"""A run that is killed at any step ends with the same bits as an undisturbed one."""

from __future__ import annotations

import os
import random
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from safetensors.torch import load_file

from suite.cell import Cell, make_cell
from suite.options import Options
from suite.progress import Reporter
from suite.recipes import recipe
from suite.registry import METHODS
from suite.results import Record, Store
from suite.runner import needs, obtain
from tests.integration.conftest import ENVIRONMENT
from tests.unit.embedded_models import embedded_model, embedded_recipe

pytestmark = pytest.mark.usefixtures("fewer")

STEPS = 4
"""Steps of each of the two passes."""


def cell_of(method: str) -> Cell:
    """A cell of two short passes: single crops, or stored crops and their soft labels."""
    base = "fashion-smoke" if method == "fp32" else "fashion-qat"
    changes = {"epochs": 2, "max_steps": STEPS, "batch_size": 32, "label_crops": 2}
    if method != "fp32":
        changes |= {"fp32_recipe": "fashion-smoke", "gate": None}
        changes |= {"optimizer": recipe(embedded_recipe(method)).optimizer}
    bits = 32 if method == "fp32" else 2
    variant = next(iter(METHODS.get(method).variants))
    return make_cell(
        method=method,
        model=embedded_model(method),
        task="fashion",
        w_bits=bits,
        a_bits=bits,
        variant=variant,
        recipe=recipe(base, **changes),
    )


def image_methods() -> list[str]:
    return [name for name in METHODS.names() if "image" in METHODS.get(name).tasks]


def killed_at(cell: Cell, results: Path, step: int) -> int:
    return subprocess.run(
        [sys.executable, "-m", "tests.integration.killed", cell.to_json(), str(results), str(step)],
        env={**os.environ, **ENVIRONMENT},
        capture_output=True,
        timeout=300,
    ).returncode


def finish(cell: Cell, results: Path) -> Record:
    options = Options(results=results, threads=1, gate=False)
    return obtain(cell, options, Reporter(quiet=True)).record


@pytest.mark.parametrize("method", image_methods())
def test_killed_twice_and_resumed_is_bit_identical(
    method: str, results: Path, tmp_path: Path
) -> None:
    cell = cell_of(method)
    alone = tmp_path / "undisturbed"
    for need in needs(cell).values():  # or their steps would be counted too
        finish(need, results)
    shutil.copytree(results, alone)
    undisturbed = finish(cell, alone)
    steps = random.Random(os.urandom(8))
    # Both die after a step that was saved, so that each continuation counts.
    first = steps.randint(2, 2 * STEPS - 2)
    second = steps.randint(2, 2 * STEPS - first)
    print(f"killed in step {first}, then in step {second} after resuming")
    for step in (first, second):
        assert killed_at(cell, results, step) == -9
        assert not list(Store(results).records(undisturbed.cell_id))
    resumed = finish(cell, results)
    assert resumed.execution["resumed"] == 2
    assert resumed.provenance["weights"] == undisturbed.provenance["weights"]
    assert resumed.metrics == undisturbed.metrics
    before, after = (
        load_file(Store(folder).beside(record.cell_id, record.run_id, "safetensors"))
        for folder, record in ((alone, undisturbed), (results, resumed))
    )
    assert all(before[name].equal(after[name]) for name in before)
    losses = [[row["train_loss"] for row in r.history] for r in (undisturbed, resumed)]
    assert losses[1] == losses[0]


def test_a_run_goes_on_with_the_threads_that_it_began_with(results: Path, tmp_path: Path) -> None:
    """Others would give other bits, whatever the machine has free or the user asks for now."""
    cell = cell_of("lsq")
    for need in needs(cell).values():
        finish(need, results)
    shutil.copytree(results, tmp_path / "undisturbed")
    undisturbed = finish(cell, tmp_path / "undisturbed")
    assert killed_at(cell, results, 3) == -9  # with one thread
    options = Options(results=results, threads=2, gate=False)
    resumed = obtain(cell, options, Reporter(quiet=True)).record
    assert (resumed.execution["threads"], resumed.execution["threads_by"]) == (
        1,
        "as the run began",
    )
    assert resumed.provenance["weights"] == undisturbed.provenance["weights"]
    assert {"own_cores", "others_cores"} <= resumed.time.keys()
