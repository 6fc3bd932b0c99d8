"""One dev cluster for all SLURM tests, and what their cells give when nothing disturbs them."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.integration.conftest import ENVIRONMENT
from tests.integration.slurm.cluster import DEVCLUSTER, HERE, PORTS, Cluster, missing, run

UNDISTURBED = """
import json, sys
from pathlib import Path
from suite.cell import Cell
from suite.options import Options
from suite.progress import Reporter
from suite.runner import obtain
options = Options(results=Path(sys.argv[1]), threads=1, gate=False)
for text in sys.argv[2:]:
    record = obtain(Cell.from_json(text), options, Reporter(quiet=True)).record
    print(json.dumps([record.cell_id, record.provenance["weights"]]))
"""

SEEDS = 4


@pytest.fixture(scope="session")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """A running dev cluster of its own, ended by its pid files."""
    why = missing()
    if why:
        pytest.skip(why)
    root = Path(tempfile.mkdtemp(prefix="lowbit-slurm-"))
    found = Cluster(root, tmp_path_factory.mktemp("profiles"))
    try:
        found.start()
        os.environ["SLURM_CONF"] = str(root / "slurm.conf")
        yield found
    finally:
        run(str(DEVCLUSTER / "stop.sh"), str(root), check=False, PORTS=PORTS)
        os.environ.pop("SLURM_CONF", None)
        shutil.rmtree(root, ignore_errors=True)


@pytest.fixture(scope="session")
def undisturbed(smoke: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """Digest of the final parameters of every slow cell, by its id, run without a cluster."""
    from suite.cell import make_cell
    from suite.recipes import recipe

    changes = {"epochs": 2, "max_steps": 20, "batch_size": 32, "fp32_seed": 0}
    cells = [
        make_cell(
            method="slow",
            model="deit_pico",
            task="fashion",
            w_bits=2,
            a_bits=2,
            seed=seed,
            recipe=recipe("fashion-qat", fp32_recipe="fashion-smoke", **changes),
        )
        for seed in range(SEEDS)
    ]
    results = tmp_path_factory.mktemp("undisturbed") / "results"
    shutil.copytree(smoke, results)
    done = subprocess.run(
        [sys.executable, "-c", UNDISTURBED, str(results), *(cell.to_json() for cell in cells)],
        capture_output=True,
        text=True,
        timeout=300,
        env={**os.environ, **ENVIRONMENT, "PYTHONPATH": str(HERE / "slow")},
    )
    assert done.returncode == 0, done.stderr
    return dict(json.loads(line) for line in done.stdout.splitlines())
