"""Forecasts scale what records showed, say what they rest on, and name what nobody knows."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from suite.cell import Cell, Recipe, make_cell
from suite.cluster.forecasts import Forecast, Pace, forecast, known
from suite.cluster.planning import Part, Plan, gpus_of, plan, render
from suite.cluster.profile import Profile
from suite.grid import fp32_cell
from suite.options import Options
from suite.recipes import recipe
from suite.runner import cell_id
from tests.unit.small_sweeps import record

FOUR = Profile(gres="gpu:a100:4", tasks_per_node=4, mem_gb=2.0, time_minutes=60, max_array=500)


@pytest.fixture(autouse=True)
def no_slurm(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Plans do not depend on a cluster that happens to be here."""
    (tmp_path / "empty").mkdir()
    monkeypatch.setenv("PATH", str(tmp_path / "empty"))


def lsq(seed: int = 0, bits: int = 2, **changes: Any) -> Cell:
    return make_cell(
        method="lsq",
        model="deit_pico",
        task="fashion",
        w_bits=bits,
        a_bits=bits,
        seed=seed,
        recipe=recipe("fashion-qat", **changes),
    )


def ran(results: Path, cell: Cell, run: str = "r1", **more: Any) -> None:
    """A record of two epochs of 16,000 images, 40 s each, with 20 s around them."""
    row = {"epoch": 0, "crops": 1, "steps": 125, "images": 16000, "seconds": 40.0}
    fields: dict[str, Any] = {
        "cell": cell.delta(),
        "finished": "2026-11-25T00:11:40.000+00:00",
        "history": [row, row],
        "time": {"epoch_seconds_median": 40.0, "train_seconds": 80.0},
        "memory": {"cpu_rss": 1000.0},
        "execution": {"threads": 1, "processes": 1, "resumed": 0},
        "provenance": {"device": "cpu", "cpu": "EPYC"},
    }
    record(results, cell_id(cell), run, **{**fields, **more})


def cost(results: Path, cell: Cell) -> Forecast:
    found = forecast(cell.recipe, known(results).like(cell))
    assert found is not None
    return found


def test_a_forecast_scales_with_epochs(tmp_path: Path) -> None:
    ran(tmp_path, lsq(epochs=2))
    assert cost(tmp_path, lsq(epochs=2)).seconds == pytest.approx(100.0)
    assert cost(tmp_path, lsq(epochs=12)).seconds == pytest.approx(600.0)


def test_a_forecast_scales_with_images_and_crops(tmp_path: Path) -> None:
    ran(tmp_path, lsq(epochs=2))
    # 10 steps of 128 images an epoch: 40 s / 16,000 * 1,280 = 3.2 s, and 10 s around it.
    assert cost(tmp_path, lsq(epochs=1, max_steps=10)).seconds == pytest.approx(13.2)
    # Two passes with four crops, then two single-crop ones: ten nominal epochs, four evaluations.
    assert cost(tmp_path, lsq(epochs=10, crops=4)).seconds == pytest.approx(440.0)


def test_another_seed_is_the_same_forecast_and_other_bits_are_not(tmp_path: Path) -> None:
    ran(tmp_path, lsq(epochs=2))
    assert known(tmp_path).like(lsq(seed=7))
    assert not known(tmp_path).like(lsq(bits=3))


def test_another_variant_forecasts_where_the_own_one_never_ran(tmp_path: Path) -> None:
    cells = {
        variant: make_cell(
            method="variation",
            model="deit_pico",
            task="fashion",
            w_bits=2,
            a_bits=2,
            variant=variant,
            recipe=recipe("fashion-qat", epochs=2),
        )
        for variant in ("released", "paper")
    }
    ran(tmp_path, cells["released"])
    assert cost(tmp_path, cells["released"]).rests_on.endswith("(250 steps)")
    assert cost(tmp_path, cells["paper"]).rests_on.endswith("(250 steps), variants of variation")


def test_a_forecast_says_what_it_rests_on(tmp_path: Path) -> None:
    for number in range(3):
        ran(tmp_path, lsq(seed=number, epochs=2))
    found = cost(tmp_path, lsq())
    assert found.rests_on == "3 records on EPYC, 1 threads (750 steps)"
    assert found.memory == {"cpu_rss": 1000.0}


def test_the_newest_hardware_counts_and_failed_runs_do_not(tmp_path: Path) -> None:
    ran(tmp_path, lsq(epochs=2), "r1")
    gpu = {"provenance": {"device": "NVIDIA A100"}, "memory": {"cuda_allocated": 5.0}}
    ran(tmp_path, lsq(epochs=2), "r2", **gpu)
    ran(tmp_path, lsq(epochs=2), "r3", status="failed", error={"message": "x"})
    assert cost(tmp_path, lsq()).rests_on == "1 record on NVIDIA A100 (250 steps)"


def test_a_run_that_was_cut_short_forecasts_only_what_is_cut_short_too(tmp_path: Path) -> None:
    ran(tmp_path, lsq(epochs=2, max_steps=125))
    assert forecast(lsq(epochs=2).recipe, known(tmp_path).like(lsq())) is None
    assert cost(tmp_path, lsq(epochs=2, max_steps=125)).seconds == pytest.approx(100.0)


def test_a_cell_that_only_calibrates_takes_as_long_as_it_took(tmp_path: Path) -> None:
    ran(tmp_path, lsq(epochs=0), history=[], time={})
    assert cost(tmp_path, lsq(epochs=0)).seconds == pytest.approx(100.0)
    assert forecast(lsq(epochs=1).recipe, known(tmp_path).like(lsq())) is None


def test_the_pace_of_one_hardware_is_the_median() -> None:
    same = [Pace("A100", 4, sample=s, epoch_samples=100.0, rest=0.0) for s in (1.0, 2.0, 9.0)]
    found = forecast(Recipe(epochs=3), same)
    assert found is not None
    assert found.seconds == pytest.approx(600.0)
    assert found.rests_on == "3 records on A100 x 4 processes"


@pytest.mark.parametrize(
    ("gres", "nodes", "expected"),
    [("", 2, 0), ("gpu:a100:4", 1, 4), ("gpu:4", 2, 8), ("gpu", 1, 1), ("gpu:a100", 1, 1),
     ("license:3,gpu:2", 1, 2)],
)  # fmt: skip
def test_gpus_are_those_of_the_generic_resources(gres: str, nodes: int, expected: int) -> None:
    assert gpus_of(Profile(gres=gres, nodes=nodes)) == expected


def printed(found: Plan) -> str:
    console = Console(width=250, highlight=False)
    with console.capture() as capture:
        console.print(render(found))
    return capture.get()


def test_a_plan_counts_jobs_and_names_what_is_unknown(tmp_path: Path) -> None:
    ran(tmp_path, lsq(seed=9, epochs=2))
    cells = [lsq(seed=seed, bits=bits) for bits in (2, 3) for seed in (0, 1)]
    found = plan(cells, Options(results=tmp_path), FOUR)
    assert (found.cells, found.finished, len(found.jobs)) == (4, 0, 6)
    text = printed(found)
    assert "4 cell(s), 0 of them finished; 6 job(s) (4 cell(s), 2 that they need" in text
    # 12 epochs of 40 s with 10 s around each: 600 s in one process, 150 s in four.
    assert "2  lsq/deit_pico/fashion/w2a2" in text
    assert "0.042" in text
    assert "scaled to 4 processes" in text
    assert "unknown: 4 job(s)" in text
    (row,) = [line for line in text.splitlines() if "lsq/deit_pico/fashion/w3a3" in line]
    assert "unknown" in row
    assert "--probe" in row


def test_finished_cells_are_not_planned(tmp_path: Path) -> None:
    cell = lsq(epochs=2)
    ran(tmp_path, fp32_cell(cell), "r0")
    ran(tmp_path, cell, "r1", needs={"fp32": "r0"})
    found = plan([cell], Options(results=tmp_path), FOUR)
    assert (found.finished, found.jobs) == (1, [])
    assert "1 cell(s), 1 of them finished; 0 job(s)" in printed(found)


def test_a_plan_warns_of_too_little_memory_and_of_many_starts(tmp_path: Path) -> None:
    part = Part(
        "lsq",
        lsq(),
        1,
        Forecast(5 * 3600.0, 4, {"cpu_rss": 1024.0, "cuda_allocated": 9.0}, "a run"),
    )
    found = Plan(FOUR, cells=1, finished=0, jobs=[], arrays=1, largest=500, parts=[part])
    text = printed(found)
    assert "needs about 4.0 GB, the profile asks for 2" in text
    assert "goes on over about 6 starts" in text
    assert "5.0 hours, 20.0 GPU-hours" in text
