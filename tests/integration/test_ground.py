"""What a cell rests on is what its record says; what is none, or fails, stops that cell alone."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from baselines.lsq import METHOD as LSQ
from suite.results import Store
from tests.integration.conftest import BRIEF, Command, complaint

pytestmark = pytest.mark.usefixtures("fewer")


@pytest.fixture
def begun(smoke: Path, tmp_path: Path) -> Path:
    """A results folder with the FP32 cell that the others start from."""
    return Path(shutil.copytree(smoke, tmp_path / "begun"))


def weights_of(results: Path) -> Path:
    (record,) = Store(results).records()
    return Store(results).beside(record.cell_id, record.run_id, "safetensors")


def asked(results: Path, *more: str) -> tuple[str, ...]:
    return ("run", *BRIEF, "--bits=4", f"--results={results}", *more)


def test_weights_that_are_not_their_records_are_refused(begun: Path, run: Command) -> None:
    """One changed bit of one weight."""
    path = weights_of(begun)
    state = load_file(path)
    state["head.weight"].view(torch.int32)[0, 0] ^= 1
    save_file(state, path)
    said = complaint(run(*asked(begun, "--method=lsq")), 3)
    assert str(path) in said
    assert "are not those of their record" in said
    assert "--fresh" in said


def test_weights_that_are_gone_are_named(begun: Path, run: Command) -> None:
    path = weights_of(begun)
    path.unlink()
    said = complaint(run(*asked(begun, "--method=lsq")), 3)
    assert f"The weights {path} of the finished cell" in said


def test_a_network_of_nan_ends_as_failed(begun: Path, run: Command, tmp_path: Path) -> None:
    state = load_file(weights_of(begun))
    for name, fault in (("a", torch.nan), ("b", torch.inf)):
        state["norm.weight"][0] = fault
        save_file(state, tmp_path / f"{name}.safetensors")
        words = ("--method=fp32", "--model=deit_pico", "--recipe=start=pretrained")
        where = (f"--weights={tmp_path / name}.safetensors", f"--results={tmp_path / name}")
        done = run("run", "--task=fashion", "--threads=1", *words, "--recipe=epochs=0", *where)
        said = complaint(done, done.returncode)
        assert done.returncode in (1, 3)
        assert "NaN" in said
        assert not [r for r in Store(tmp_path / name).records() if r.status == "done"]


def test_a_training_that_diverges_in_its_last_step_ends_as_failed(
    begun: Path, run: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its losses are finite, the weights that its last step leaves are not."""
    from suite import train

    honest = train._step

    def last_step_breaks(job: Any, *rest: Any) -> torch.Tensor:
        loss = honest(job, *rest)
        job.steps = getattr(job, "steps", 0) + 1
        if job.steps == 6:
            with torch.no_grad():
                next(iter(job.model.parameters())).fill_(torch.nan)
        return loss

    monkeypatch.setattr(train, "_step", last_step_breaks)
    said = complaint(run(*asked(begun, "--method=lsq")), 1)
    assert "has diverged by pass 2, step 3" in said
    (failure,) = (r for r in Store(begun).records() if r.status == "failed")
    assert failure.error is not None
    assert failure.error["step"] == [1, 3]


def test_every_cell_has_its_turn_whatever_ends_another(
    begun: Path, run: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An error that is none of the suite's own is one sentence, with where its traceback is."""
    monkeypatch.setattr(LSQ, "place", lambda self, model: model.no_such_thing)
    done = run(*asked(begun, "--method=lsq,lsq_plus"))
    said = complaint(done, 1)
    assert said.startswith("FAILED lsq/deit_pico/fashion/w4a4/s0: AttributeError")
    assert "no_such_thing" in said
    assert "traceback is in the cell's failed record" in said
    assert "| lsq_plus/deit_pico/fashion/w4a4/s0 |" in done.stdout
    (failure,) = (r for r in Store(begun).records() if r.status == "failed")
    assert failure.error is not None
    assert "no_such_thing" in failure.error["traceback"]


def test_what_a_killed_run_left_is_swept_by_the_next(begun: Path, run: Command) -> None:
    assert run(*asked(begun, "--method=lsq")).returncode == 0
    (record,) = (r for r in Store(begun).records() if r.cell["method"] == "lsq")
    store = Store(begun)
    left = [
        store.work(record.cell_id) / "state" / f".checkpoint.pt.{'a' * 32}",
        store.beside(record.cell_id, record.run_id, "json").with_name(f".x.json.{'0f' * 16}"),
    ]
    kept = left[1].with_name(".notes.of.mine")
    for path in (*left, kept):
        path.parent.mkdir(exist_ok=True)
        path.write_text("half")
    assert run(*asked(begun, "--method=lsq", "--fresh")).returncode == 0
    assert [path.exists() for path in (*left, kept)] == [False, False, True]
