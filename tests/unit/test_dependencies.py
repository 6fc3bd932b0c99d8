"""From a selection to jobs: prerequisites once, finished ones not at all, thousands in seconds."""

from __future__ import annotations

import time
from collections import Counter
from pathlib import Path

from suite.cluster.dependencies import jobs_of
from suite.cluster.profile import load_profile
from suite.cluster.slurm import Limits
from suite.cluster.submit import Request, prepared, scripts
from suite.grid import fp32_cell
from suite.options import Options
from suite.runner import cell_id
from tests.unit.sweeps import cell_of, done


def test_a_prerequisite_is_one_job_however_many_need_it(tmp_path: Path) -> None:
    cells = [cell_of("lsq", bits=bits) for bits in (2, 3, 4)]
    jobs = jobs_of(cells, Options(results=tmp_path))
    assert Counter(job.role for job in jobs) == {"fp32": 1, "cell": 3}
    assert jobs[0].role == "fp32"
    assert {job.needs for job in jobs[1:]} == {(jobs[0].key,)}


def test_soft_labels_are_one_job_a_teacher_and_need_it(tmp_path: Path) -> None:
    cells = [cell_of("variation", seed=seed, bits=bits) for seed in (0, 1) for bits in (2, 3)]
    jobs = {job.key: job for job in jobs_of(cells, Options(results=tmp_path))}
    labels = [job for job in jobs.values() if job.role == "labels"]
    assert len(labels) == 2
    assert {jobs[need].role for job in labels for need in job.needs} == {"fp32"}
    assert {job.resources for job in labels} == {"labels"}
    for cell in cells:
        assert sorted(jobs[need].role for need in jobs[cell_id(cell)].needs) == ["fp32", "labels"]


def test_a_selected_cell_that_others_need_is_a_cell(tmp_path: Path) -> None:
    lsq = cell_of("lsq")
    for cells in ([lsq, fp32_cell(lsq)], [fp32_cell(lsq), lsq]):
        jobs = jobs_of(cells, Options(results=tmp_path))
        assert [job.role for job in jobs] == ["cell", "cell"]
        assert jobs[1].needs == (jobs[0].key,)


def test_a_finished_cell_is_left_out_and_what_rests_on_another_run_is_not(tmp_path: Path) -> None:
    fresh, old = cell_of("lsq", bits=2), cell_of("lsq", bits=3)
    below = done(tmp_path, fp32_cell(fresh))
    done(tmp_path, fresh, needs={"fp32": below.run_id})
    done(tmp_path, old, needs={"fp32": "20200101T000000-00000000"})
    (job,) = jobs_of([fresh, old], Options(results=tmp_path))
    assert job.key == cell_id(old)
    assert job.needs == ()


def test_ten_thousand_cells_are_planned_and_shown_in_ten_seconds(tmp_path: Path) -> None:
    """With prerequisites, some of it done, and every script made; few calls of sbatch."""
    cells = tuple(
        cell_of(method, seed=seed, bits=bits)
        for method in ("lsq", "variation")
        for bits in (2, 3, 4, 5, 8)
        for seed in range(1000)
    )
    for cell in cells[:100]:
        below = done(tmp_path, fp32_cell(cell))
        done(tmp_path, cell, needs={"fp32": below.run_id})
    request = Request(cells, Options(results=tmp_path), load_profile("dev"), allow_dirty=True)
    began = time.process_time()
    sweep = prepared(request, dry=True)
    shown = list(scripts(sweep, tmp_path, Limits(array=1001, jobs=20_000)))
    seconds = time.process_time() - began
    assert Counter(job.role for job in sweep.jobs) == {"cell": 9900, "fp32": 900, "labels": 1000}
    assert len(shown) <= 16
    assert seconds < 10  # of this process, whatever else the machine does
    assert not (tmp_path / "sweeps").exists()
    assert not (tmp_path / "code").exists()
