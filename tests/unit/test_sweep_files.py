"""The files of a sweep: written once, read back whole, found by id."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from suite.cluster.events import (
    Event,
    Progress,
    add_event,
    add_submission,
    all_events,
    events,
    exit_of,
    read_progress,
    write_progress,
)
from suite.cluster.sweep import (
    folder,
    header,
    job_of,
    load_sweep,
    packed,
    save,
    sweeps,
    unpacked,
)
from suite.errors import EnvironmentProblem, UsageError
from suite.options import Options
from tests.unit.sweeps import job, sweep_of


def at(minute: int, kind: str, **more: str) -> Event:
    return Event(kind=kind, at=f"2026-01-01T00:{minute:02d}:00.000+00:00", **more)


def test_a_sweep_comes_back_as_it_was_written(awkward: Path) -> None:
    sweep = sweep_of([job("a"), job("b", "a")], awkward)
    where = save(awkward, sweep)
    assert load_sweep(awkward) == sweep
    assert load_sweep(awkward, "20260101T0") == sweep
    assert sweeps(awkward) == [sweep]
    assert header(where).jobs == ()
    assert job_of(where, "b") == sweep.jobs[1]


def test_an_unknown_sweep_is_answered_with_those_that_there_are(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="There is no sweep under"):
        load_sweep(tmp_path)
    save(tmp_path, sweep_of([job("a")], tmp_path))
    with pytest.raises(UsageError, match="Registered: 20260101T000000-0123abcd"):
        load_sweep(tmp_path, "2027")
    with pytest.raises(UsageError, match="not the id of a sweep"):
        folder(tmp_path, "../elsewhere")
    with pytest.raises(EnvironmentProblem, match="has no job 'z'"):
        job_of(folder(tmp_path, "20260101T000000-0123abcd"), "z")


def test_a_damaged_and_a_newer_sweep_are_named(tmp_path: Path) -> None:
    where = save(tmp_path, sweep_of([job("a")], tmp_path))
    content = json.loads((where / "sweep.json").read_text())
    (where / "sweep.json").write_text(json.dumps({**content, "sweep_schema": 99}))
    with pytest.raises(EnvironmentProblem, match="schema 99"):
        header(where)
    (where / "sweep.json").write_text("{")
    with pytest.raises(EnvironmentProblem, match="cannot be read"):
        header(where)


def test_options_survive_as_plain_values_with_absolute_paths() -> None:
    given = Options(results=Path("here"), data=Path("/data"), threads=3, gate=False)
    values = json.loads(json.dumps(packed(given)))
    assert unpacked(values) == Options(
        results=Path.cwd() / "here", data=Path("/data"), threads=3, gate=False
    )
    assert unpacked({**values, "from_a_newer_suite": 1}) == unpacked(values)


def test_events_of_a_job_are_its_submissions_and_its_own_in_order(tmp_path: Path) -> None:
    where = save(tmp_path, sweep_of([job("a"), job("b")], tmp_path))
    add_event(where, "b", at(2, "started", slurm_id="12_1"))
    add_event(where, "b", at(1, "cancelled"))
    add_submission(where, "12", ("a", "b"))
    add_submission(where, "13", ("b",))
    found = events(where, "b")
    assert [event.kind for event in found] == ["cancelled", "started", "submitted", "submitted"]
    assert [event.slurm_id for event in found[2:]] == ["12_1", "13"]
    assert found[2].log.endswith("logs/12_1_0_log.out")
    assert all_events(where) == {"a": events(where, "a"), "b": found}


def test_progress_is_the_last_that_was_said(tmp_path: Path) -> None:
    assert read_progress(tmp_path, "a") is None
    for step in (1, 2):
        said = Progress(epoch=0, epochs=2, step=step, steps=9, at="2026-01-01T00:00:00+00:00")
        write_progress(tmp_path, "a", said)
    assert read_progress(tmp_path, "a") == said
    assert events(tmp_path, "a") == []


def test_an_exit_code_is_read_if_a_batch_script_left_one(tmp_path: Path) -> None:
    (tmp_path / "exits").mkdir()
    (tmp_path / "exits" / "12_3").write_text("137\n")
    (tmp_path / "exits" / "12_4").write_text("")
    assert [exit_of(tmp_path, name) for name in ("12_3", "12_4", "12_5")] == [137, None, None]
