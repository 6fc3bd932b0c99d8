"""Cells in stages: the way from FP32 to binary, what is shared, resuming across a boundary."""

from __future__ import annotations

import os
import random
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from safetensors.torch import load_file

from suite import train
from suite.cell import Cell, make_cell
from suite.errors import EnvironmentProblem, UsageError
from suite.options import Options
from suite.progress import Reporter
from suite.recipes import recipe
from suite.results import Record, Store
from suite.runner import cell_id, needs, obtain
from tests.glue_files import BY_KEY, write_tsv
from tests.integration.conftest import ENVIRONMENT, Command, complaint
from tests.integration.text_cells import write_encoder

STEPS = 3
"""Steps of each of the two stages."""

BRIEF: dict[str, Any] = {
    "fp32_recipe": "snippets-smoke",
    "gate": None,
    "epochs": 1,
    "max_steps": STEPS,
    "batch_size": 8,
    "max_length": 24,
    "calibration_images": 4,
}
BEFORE = {"narrow": "snippets-smoke-narrow", "ternary": "snippets-smoke-ternary"}


def cell_of(method: str = "binarybert", **fields: Any) -> Cell:
    known: dict[str, Any] = {
        "w_bits": 1 if method == "binarybert" else 2,
        "a_bits": 8,
        "variant": "released",
        "recipe": recipe("snippets-pico-binarybert", **BRIEF, before=BEFORE),
    }
    return make_cell(method=method, model="bert_pico", task="snippets", **{**known, **fields})


def finish(cell: Cell, results: Path, **more: Any) -> Record:
    options = Options(results=results, threads=1, gate=False, **more)
    return obtain(cell, options, Reporter(quiet=True)).record


@pytest.fixture(scope="module")
def before(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A results folder with everything that the binary cell needs."""
    folder = tmp_path_factory.mktemp("before")
    for need in needs(cell_of()).values():
        finish(need, folder)
    return folder


@pytest.fixture
def results(before: Path, tmp_path: Path) -> Path:
    shutil.copytree(before, tmp_path / "results")
    return tmp_path / "results"


def test_a_binary_cell_tells_what_it_rests_on_and_every_stage(results: Path) -> None:
    record = finish(cell_of(), results)
    assert set(record.needs) == {"fp32", "narrow", "ternary"}
    stored = {r.run_id: r for r in Store(results).records()}
    ternary, fp32 = (stored[record.needs[role]] for role in ("ternary", "fp32"))
    assert ternary.cell["settings"] == {"width": 0.5}
    assert ternary.needs == {role: record.needs[role] for role in ("fp32", "narrow")}
    assert [(row["stage"], row["epoch"]) for row in record.history] == [
        ("intermediate", 0),
        ("prediction", 1),
    ]
    assert set(record.diagnosis["stages"]) == {"intermediate", "prediction"}
    assert record.metrics["accuracy_best"] >= record.metrics["accuracy"]
    assert record.audit["ok"]
    small, full = (r.diagnosis["model_size"]["BiT"]["mb"] for r in (record, fp32))
    assert small * 32 == pytest.approx(full, rel=0.02)  # the pooler alone is twice there
    assert not list(Store(results).work(record.cell_id).glob("state/*.pt"))


def test_the_ternary_model_serves_other_binary_cells(results: Path) -> None:
    first = finish(cell_of(), results)
    other = finish(cell_of(settings={"level": "mean"}), results)
    assert other.cell_id != first.cell_id
    assert other.needs == first.needs


def killed_at(cell: Cell, results: Path, step: int) -> int:
    return subprocess.run(
        [sys.executable, "-m", "tests.integration.killed", cell.to_json(), str(results), str(step)],
        env={**os.environ, **ENVIRONMENT},
        capture_output=True,
        timeout=300,
    ).returncode


@pytest.mark.parametrize("method", ["binarybert", "ternarybert"])
def test_killed_in_both_stages_and_resumed_is_bit_identical(
    method: str, before: Path, results: Path, tmp_path: Path
) -> None:
    variant = "released" if method == "binarybert" else "binarybert"
    width = {} if method == "binarybert" else {"settings": {"width": 0.5}}
    changes = {"epochs": 2, "max_steps": 2}  # of its own, or it would be done already
    own = recipe("snippets-pico-binarybert", **{**BRIEF, **changes}, before=BEFORE)
    cell = cell_of(method, variant=variant, recipe=own, **width)
    alone = tmp_path / "undisturbed"
    shutil.copytree(before, alone)
    undisturbed = finish(cell, alone)
    dice = random.Random(os.urandom(8))
    first = dice.randint(2, 4)  # in the first stage of four steps
    second = dice.randint(6 - first, 8 - first) + 1  # then in the second
    print(f"killed in step {first}, then in step {second} after resuming")
    for step in (first, second):
        assert killed_at(cell, results, step) == -9
    resumed = finish(cell, results)
    assert resumed.execution["resumed"] == 2
    assert resumed.metrics == undisturbed.metrics
    assert resumed.provenance["weights"] == undisturbed.provenance["weights"]
    losses = [[row["train_loss"] for row in r.history] for r in (undisturbed, resumed)]
    assert losses[1] == losses[0]
    states = [
        load_file(Store(folder).beside(r.cell_id, r.run_id, "safetensors"))
        for folder, r in ((alone, undisturbed), (results, resumed))
    ]
    assert all(states[0][name].equal(states[1][name]) for name in states[0])


def stopping_at(last: int) -> Any:
    """A training step that stops the run at its `last` call."""
    inner, calls = train._step, iter(range(1, last))

    def step(*args: Any) -> Any:
        if next(calls, None) is None:
            raise KeyboardInterrupt
        return inner(*args)

    return step


@pytest.mark.parametrize(
    ("source", "target"),
    [("intermediate", "prediction"), ("prediction", "intermediate")],
)
def test_a_checkpoint_of_another_stage_or_recipe_is_refused_and_kept(
    source: str, target: str, results: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cell = cell_of(recipe=recipe("snippets-pico-binarybert", **BRIEF, before=BEFORE, lr=1e-3))
    state = Store(results).work(cell_id(cell)) / "state"
    state.mkdir(parents=True)
    other = cell_of(recipe=recipe("snippets-pico-binarybert", **BRIEF, before=BEFORE, lr=2e-3))
    with monkeypatch.context() as broken:
        broken.setattr(train, "_step", stopping_at(2 if source == "intermediate" else STEPS + 2))
        with pytest.raises(KeyboardInterrupt):
            finish(other, results, checkpoint_minutes=0.0)
    found = Store(results).work(cell_id(other)) / "state" / f"checkpoint-{source}.pt"
    given = state / f"checkpoint-{target}.pt"
    shutil.copy(found, given)
    content = given.read_bytes()
    with pytest.raises(EnvironmentProblem, match=f"belongs to the cell .* stage {source}, not to"):
        finish(cell, results)
    assert given.read_bytes() == content


@pytest.mark.parametrize("method", ["ternarybert", "binarybert"])
def test_glue_and_an_encoder_of_ones_own_with_augmented_texts(method: str, tmp_path: Path) -> None:
    folder = write_tsv(tmp_path / "glue", BY_KEY["rte"])
    lines = (folder / "train.tsv").read_bytes().splitlines(keepends=True)
    (folder / "train_aug.tsv").write_bytes(b"".join([*lines, *lines[1:]]))
    changes = {"fp32_recipe": "snippets-fp32", "fp32_seed": 0, "augment": True, "before": BEFORE}
    own = recipe("glue-binarybert", **{**BRIEF, **changes})
    model = str(write_encoder(tmp_path / "encoder"))
    bits = {"w_bits": 1 if method == "binarybert" else 2, "a_bits": 4}
    cell = make_cell(
        method=method, model=model, task="glue-rte", variant="corrected", recipe=own, **bits
    )
    results = tmp_path / "results"
    record = finish(cell, results, data=tmp_path / "glue")
    assert record.history[0]["images"] == 18
    assert "train_aug.tsv" in record.provenance["data"]
    assert record.protocol["evaluation"]["augmentation"] == "train_aug.tsv, 18 rows"
    assert record.audit["ok"]


def test_the_command_refuses_what_cannot_be(tmp_path: Path, run: Command) -> None:
    base = ("run", "--task=snippets", f"--results={tmp_path}")
    for words, part in (
        (("--method=ternarybert", "--w-bits=1", "--a-bits=8"), "weights to 1 bits, only to 2"),
        (("--method=binarybert", "--bits=2"), "weights to 2 bits, only to 1"),
        (
            ("--method=binarybert", "--w-bits=1", "--a-bits=8", "--recipe=before={}"),
            "does not say by which recipe",
        ),
        (
            ("--method=ternarybert", "--w-bits=2", "--a-bits=8", "--set=width=0.3"),
            "does not say by which recipe",
        ),
    ):
        assert part in complaint(run(*base, *words), UsageError.exit_code)
    assert not list(tmp_path.glob("records/*"))
