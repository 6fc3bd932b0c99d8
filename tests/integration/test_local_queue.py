"""The local queue runs real cells, and loses nothing when its processes are killed."""

from __future__ import annotations

import json
import os
import signal
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from suite.cell import Cell, make_cell
from suite.cluster.answers import scheduler_lock
from suite.cluster.control import cancel, logs_of, retry
from suite.cluster.dependencies import jobs_of
from suite.cluster.events import Event, events
from suite.cluster.local import owner_file, pid_file, start
from suite.cluster.locks import is_held
from suite.cluster.probe import STEPS, probe
from suite.cluster.profile import Profile
from suite.cluster.status import report
from suite.cluster.sweep import Sweep, folder, packed, save
from suite.errors import EnvironmentProblem
from suite.options import Options
from suite.progress import Reporter
from suite.recipes import recipe
from suite.results import Store, new_run_id, now
from suite.runner import cell_id, obtain
from tests.integration.conftest import ENVIRONMENT, recipe_cell

BRIEF = {"fp32_recipe": "fashion-smoke", "epochs": 1, "max_steps": 3, "gate": None}


def lsq(**changes: Any) -> Cell:
    return make_cell(
        method="lsq",
        model="deit_pico",
        task="fashion",
        w_bits=2,
        a_bits=2,
        recipe=recipe("fashion-qat", **{**BRIEF, **changes}),
    )


def options(results: Path) -> Options:
    return Options(results=results, threads=1, checkpoint_minutes=0.0, device="cpu")


def sweep_of(results: Path, *cells: Cell, **profile: Any) -> Sweep:
    how = options(results)
    return Sweep(
        id=new_run_id(),
        created=now(),
        executor="local",
        profile=Profile(executor="local", **profile).model_dump(mode="json"),
        options=packed(how),
        jobs=tuple(jobs_of(cells, how)),
    )


Queue = Callable[..., Sweep]


@pytest.fixture
def queue(monkeypatch: pytest.MonkeyPatch) -> Iterator[Queue]:
    """Queue cells in a results folder; what still runs at the end is stopped."""
    for name, value in ENVIRONMENT.items():
        monkeypatch.setenv(name, value)
    made: list[tuple[Path, Sweep]] = []

    def submit(results: Path, *cells: Cell, **profile: Any) -> Sweep:
        sweep = sweep_of(results, *cells, **profile)
        save(results, sweep)
        start(results, sweep, profile.get("workers", 1))
        made.append((results, sweep))
        return sweep

    yield submit
    for results, sweep in made:
        cancel(results, sweep)
        until(lambda: not is_held(scheduler_lock(results, sweep.id)))  # noqa: B023


def until(true: Callable[[], Any], seconds: float = 120.0) -> None:
    end = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < end, f"not within {seconds} s"
        time.sleep(0.3)


def states(results: Path, sweep: Sweep) -> dict[str, str]:
    return {line.job.key: line.state.words for line in report(results, sweep).lines}


def ended(results: Path, sweep: Sweep) -> None:
    """Wait until the sweep's queue has nothing left to do."""
    until(lambda: report(results, sweep).over and not is_held(scheduler_lock(results, sweep.id)))


def told(results: Path, sweep: Sweep, key: str) -> list[Event]:
    return events(folder(results, sweep.id), key)


def kill(path: Path, which: signal.Signals = signal.SIGKILL) -> None:
    os.kill(int(json.loads(path.read_text())["pid"]), which)


def training(results: Path, cell: Cell) -> Callable[[], bool]:
    return (results / "work" / cell_id(cell) / "state" / "checkpoint.pt").exists


def records(results: Path, cell: Cell) -> list[Any]:
    return [r for r in Store(results).records(cell_id(cell)) if r.status == "done"]


def test_prerequisites_run_first_and_once_and_the_command_returns_at_once(
    queue: Queue, tmp_path: Path
) -> None:
    cells = [lsq(), lsq(lr=2e-3)]
    began = time.monotonic()
    sweep = queue(tmp_path, *cells, workers=2)
    assert time.monotonic() - began < 5.0
    fp32 = cell_id(recipe_cell("fashion-smoke"))
    assert [job.key for job in sweep.jobs] == [fp32, *map(cell_id, cells)]
    ended(tmp_path, sweep)
    assert set(states(tmp_path, sweep).values()) == {"done"}
    assert len(list(Store(tmp_path).records())) == 3
    ends = [told(tmp_path, sweep, fp32)[-1].at, *(told(tmp_path, sweep, k)[0].at for k in
            map(cell_id, cells))]  # fmt: skip
    assert ends[0] < min(ends[1:])
    (log,) = logs_of(tmp_path, cell_id(cells[0]), None)
    assert "is stored" in log.read_text()


def test_a_killed_worker_and_a_killed_scheduler_cost_nothing(
    queue: Queue, results: Path, tmp_path: Path
) -> None:
    cell = lsq(max_steps=25)
    undisturbed = obtain(cell, options_elsewhere(results, tmp_path), Reporter(quiet=True)).record
    sweep = queue(results, cell)
    key = cell_id(cell)
    until(training(results, cell))
    kill(pid_file(results, sweep.id, key))
    until(lambda: len([e for e in told(results, sweep, key) if e.kind == "started"]) == 2)
    kill(owner_file(results, sweep.id))
    until(lambda: not is_held(scheduler_lock(results, sweep.id)))
    assert states(results, sweep)[key] in ("running", "done")
    start(results, sweep, 1)
    ended(results, sweep)
    assert states(results, sweep) == {key: "done"}
    starts = [event for event in told(results, sweep, key) if event.kind == "started"]
    assert len(starts) == 2  # the worker that lost its scheduler was waited for
    (found,) = records(results, cell)
    assert found.execution["resumed"] == 1
    assert found.provenance["weights"] == undisturbed.provenance["weights"]
    assert found.metrics == undisturbed.metrics


def options_elsewhere(results: Path, tmp_path: Path) -> Options:
    import shutil

    shutil.copytree(results, tmp_path / "undisturbed")
    return replace(options(tmp_path / "undisturbed"), checkpoint_minutes=10.0)


def test_a_stopped_queue_saves_and_goes_on_and_a_cancelled_one_stays_down(
    queue: Queue, results: Path
) -> None:
    cell = lsq(max_steps=2000, crop_scale=[0.7, 1.0])
    sweep, key = queue(results, cell), cell_id(cell)
    until(training(results, cell))
    kill(owner_file(results, sweep.id), signal.SIGTERM)
    until(lambda: states(results, sweep)[key] == "stopped")
    assert not records(results, cell)
    assert "1 job(s)" in retry(results, sweep, [], failed=True)
    until(lambda: states(results, sweep)[key] == "running")
    until(lambda: "goes on at pass 1" in logs_of(results, key, sweep.id)[-1].read_text())
    assert "1 job(s)" in cancel(results, sweep)
    until(lambda: not is_held(scheduler_lock(results, sweep.id)))
    assert states(results, sweep) == {key: "failed (cancelled)"}


def test_restarts_are_bounded(queue: Queue, results: Path) -> None:
    cell = lsq(max_steps=2000, crop_scale=[0.6, 1.0])
    sweep, key = queue(results, cell, max_restarts=0), cell_id(cell)
    until(training(results, cell))
    kill(pid_file(results, sweep.id, key))
    ended(results, sweep)
    assert states(results, sweep) == {key: "failed (restarts)"}


def test_two_sweeps_that_share_a_cell_run_it_once(queue: Queue, results: Path) -> None:
    shared = lsq(max_steps=20)
    first, second = queue(results, shared), queue(results, shared)
    ended(results, first)
    ended(results, second)
    assert set(states(results, first).values()) == set(states(results, second).values()) == {"done"}
    assert len(records(results, shared)) == 1
    both = [told(results, sweep, cell_id(shared)) for sweep in (first, second)]
    assert sum(bool(several) for several in both) == 1  # the other found it done


def test_a_failed_prerequisite_blocks_and_does_not_fail_its_dependents(
    queue: Queue, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("LOWBIT_IMAGENET", raising=False)
    fields = {"method": "lsq", "model": "deit_tiny", "task": "imagenet"}
    cell = make_cell(**fields, w_bits=2, a_bits=2, recipe=recipe("imagenet-lsq"))
    sweep = queue(tmp_path, cell)
    fp32, key = (job.key for job in sweep.jobs)
    ended(tmp_path, sweep)
    assert states(tmp_path, sweep) == {fp32: "failed (code)", key: "blocked"}
    assert not told(tmp_path, sweep, key)
    failed = report(tmp_path, sweep).lines[0].state
    assert "no ImageNet" in failed.message


def test_a_probe_measures_steps_and_leaves_nothing_behind(results: Path) -> None:
    before = sorted(path.name for path in results.rglob("*"))
    several = make_cell(
        method="variation",
        model="deit_pico",
        task="fashion",
        w_bits=2,
        a_bits=2,
        variant="released",
        recipe=recipe("fashion-qat-multicrop"),
    )
    pace = probe(several, options(results))
    assert pace is not None
    assert pace.steps == STEPS
    assert 0 < pace.sample < 1
    assert pace.epoch_samples == 16000
    assert pace.memory["cpu_rss"] > 100
    assert sorted(path.name for path in results.rglob("*")) == before
    assert probe(lsq(epochs=0), options(results)) is None


def test_workers_that_cannot_be_given_are_refused_before_anything_starts(
    results: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    sweep = sweep_of(results, lsq())
    on_gpu = sweep.model_copy(update={"options": {**sweep.options, "device": "cuda"}})
    with pytest.raises(EnvironmentProblem, match="no GPU"):
        start(results, on_gpu, 1)
    assert not folder(results, sweep.id).exists()
