"""What status, retry, cancel and logs make of a sweep's folder and SLURM's answers."""

from __future__ import annotations

from pathlib import Path

import pytest
from rich.console import Console
from typer.testing import CliRunner

from suite.cli import app
from suite.cluster import submit
from suite.cluster.control import cancel, logs_of, retry
from suite.cluster.locks import is_held, take
from suite.cluster.slots import divided, slots
from suite.cluster.status import Report, duration, in_order, render, report
from suite.cluster.sweep import Job, Sweep, add_event, folder
from suite.commands import sweeps
from suite.errors import EnvironmentProblem, UsageError
from tests.unit.small_sweeps import SWEEP, event, job, record, stored_sweep


@pytest.fixture
def slurm(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Stand-ins for SLURM's commands that answer from files and note their calls."""
    place = tmp_path / "bin"
    place.mkdir()
    for name in ("squeue", "sacct", "scancel"):
        script = place / name
        script.write_text(
            f"#!/bin/sh\necho \"{name} $@\" >> '{place}/calls'\n/bin/cat '{place}/{name}.out'\n"
        )
        script.chmod(0o755)
        (place / f"{name}.out").touch()
    monkeypatch.setenv("PATH", str(place))
    return place


def submitted(results: Path, key: str, slurm_id: str, **more: str) -> None:
    add_event(folder(results, SWEEP), key, event("submitted", 1, slurm_id=slurm_id, **more))


def named(found: Report) -> dict[str, str]:
    return {line.job.key: line.state.words for line in found.lines}


def printed(found: Report, everything: bool = False) -> str:
    console = Console(width=200, highlight=False)
    with console.capture() as capture:
        console.print(render(found, everything))
    return capture.get()


@pytest.fixture
def four(tmp_path: Path, slurm: Path) -> Sweep:
    """A finished, a running, a failed job, and one that needs the failed one."""
    sweep = stored_sweep(
        tmp_path,
        [
            job("done-x"),
            job("running-x"),
            job("fp32-x", role="fp32"),
            job("lsq-x", needs=["fp32-x"]),
        ],
    )
    for number, key in enumerate(("done-x", "running-x", "fp32-x")):
        submitted(tmp_path, key, f"7_{number}")
    submitted(tmp_path, "lsq-x", "8")
    place = folder(tmp_path, SWEEP)
    log = place / "logs" / "7_2_0_log.out"
    log.write_text("began\n")
    log.with_suffix(".err").write_text("Traceback\n")
    add_event(place, "fp32-x", event("started", 2, slurm_id="7_2", log=str(log)))
    record(tmp_path, "done-x")
    (slurm / "squeue.out").write_text("7_1|RUNNING|None|n1|.\n8|PENDING|Dependency||.\n")
    (slurm / "sacct.out").write_text("7_2|OUT_OF_MEMORY|0:125|n2\n")
    return sweep


def test_states_come_from_records_files_and_one_call_each(
    four: Sweep, tmp_path: Path, slurm: Path
) -> None:
    found = report(tmp_path, four)
    assert named(found) == {
        "done-x": "done",
        "running-x": "running",
        "fp32-x": "failed (oom)",
        "lsq-x": "blocked",
    }
    assert not found.over
    calls = (slurm / "calls").read_text().splitlines()
    assert sorted(call.split()[0] for call in calls) == ["sacct", "squeue"]
    assert all(call.endswith("-j 7,8") for call in calls)


def test_the_table_names_reason_log_and_the_command_that_retries(
    four: Sweep, tmp_path: Path
) -> None:
    text = printed(report(tmp_path, four))
    assert "4 job(s): 1 running, 1 blocked, 1 failed, 1 done" in text
    assert "it needed more memory than it was given" in text
    assert f"{folder(tmp_path, SWEEP)}/logs/7_2_0_log.err" in text.replace("\n", "")
    assert f"lowbit retry {SWEEP} --cell fp32-x --results {tmp_path}" in text.replace("\n", "")


def test_a_label_with_brackets_is_shown_as_it_is(tmp_path: Path, slurm: Path) -> None:
    odd = Job(key="peg-x", cell="{}", label="peg[groups=6]/bert/[bold]/w8a8/s0")
    found = report(tmp_path, stored_sweep(tmp_path, [odd]))
    assert "peg[groups=6]/bert/[bold]/w8a8/s0" in printed(found)


def test_a_record_that_rests_on_an_older_fp32_run_is_not_the_result(
    tmp_path: Path, slurm: Path
) -> None:
    sweep = stored_sweep(tmp_path, [job("fp32-x", role="fp32"), job("lsq-x", needs=["fp32-x"])])
    submitted(tmp_path, "lsq-x", "8")
    (slurm / "squeue.out").write_text("8|PENDING|Priority||.\n")
    record(tmp_path, "fp32-x", "r1")
    record(tmp_path, "lsq-x", "r2", needs={"fp32": "r1"})
    assert named(report(tmp_path, sweep))["lsq-x"] == "done"
    record(tmp_path, "fp32-x", "r3")
    assert named(report(tmp_path, sweep))["lsq-x"] == "queued"


def test_a_failed_record_tells_why_where_nothing_else_does(tmp_path: Path, slurm: Path) -> None:
    sweep = stored_sweep(tmp_path, [job("lsq-x")])
    submitted(tmp_path, "lsq-x", "8")
    record(tmp_path, "lsq-x", status="failed", error={"message": "The loss is not finite."})
    (line,) = report(tmp_path, sweep).lines
    assert (line.state.words, line.state.message) == ("failed (code)", "The loss is not finite.")


def test_a_damaged_record_is_named(tmp_path: Path, slurm: Path) -> None:
    sweep = stored_sweep(tmp_path, [job("lsq-x")])
    path = tmp_path / "records" / "lsq-x" / "r1.json"
    path.parent.mkdir(parents=True)
    path.write_text('{"run_id": "r1", "sta')
    with pytest.raises(EnvironmentProblem, match=r"r1\.json cannot be read"):
        report(tmp_path, sweep)


def test_many_jobs_show_only_those_that_are_neither_done_nor_waiting(
    tmp_path: Path, slurm: Path
) -> None:
    jobs = [job(f"cell-{n}") for n in range(300)]
    sweep = stored_sweep(tmp_path, jobs)
    for number in range(300):
        submitted(tmp_path, f"cell-{number}", f"7_{number}")
    (slurm / "squeue.out").write_text("7_0|RUNNING|None|n1|.\n7_[1-299]|PENDING|Priority||.\n")
    found = report(tmp_path, sweep)
    assert "cell/0" in printed(found)
    assert "cell/299" not in printed(found)
    assert "cell/299" in printed(found, everything=True)


def test_retry_takes_a_blocked_job_with_the_need_that_blocks_it(
    four: Sweep, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sent: list[str] = []

    def send(results: Path, sweep: Sweep, jobs: list[Job]) -> list[str]:
        sent.extend(job.key for job in jobs)
        return ["9"]

    monkeypatch.setattr(submit, "send", send)
    assert "2 job(s)" in retry(tmp_path, four, ["lsq-x"], failed=False)
    assert sent == ["fp32-x", "lsq-x"]
    sent.clear()
    retry(tmp_path, four, [], failed=True)
    assert sent == ["fp32-x", "lsq-x"]


def test_retry_refuses_what_did_not_end_badly(four: Sweep, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"'running-x' is not one job .* fp32-x, lsq-x"):
        retry(tmp_path, four, ["running-x"], failed=False)
    with pytest.raises(UsageError, match="--failed"):
        retry(tmp_path, four, [], failed=False)


def test_cancel_is_one_scancel_and_spares_what_has_ended(
    four: Sweep, tmp_path: Path, slurm: Path
) -> None:
    assert "2 job(s)" in cancel(tmp_path, four)
    calls = (slurm / "calls").read_text().splitlines()
    assert [call for call in calls if call.startswith("scancel")] == ["scancel 7 8"]
    assert named(report(tmp_path, four)) == {
        "done-x": "done",
        "running-x": "failed (cancelled)",
        "fp32-x": "failed (oom)",
        "lsq-x": "failed (cancelled)",
    }


def test_logs_are_found_by_key_or_label_in_the_newest_sweep(four: Sweep, tmp_path: Path) -> None:
    paths = logs_of(tmp_path, "fp32", None)
    assert [path.read_text() for path in paths] == ["began\n", "Traceback\n"]
    assert logs_of(tmp_path, "fp32/x", SWEEP) == paths
    with pytest.raises(UsageError, match="'variation' of a sweep has a log"):
        logs_of(tmp_path, "variation", None)


def test_jobs_come_after_their_needs_in_whatever_order_they_are_listed() -> None:
    listed = [job("c", needs=["b"]), job("b", needs=["a"]), job("a")]
    assert [found.key for found in in_order(listed)] == ["a", "b", "c"]


def test_durations_are_readable() -> None:
    assert [duration(s) for s in (12, 300, 11100)] == ["12 s", "5 min", "3 h 05 min"]


def test_a_lock_is_held_until_its_descriptor_is_closed(tmp_path: Path) -> None:
    import os

    path = tmp_path / "a" / "lock"
    assert not is_held(path)
    held = take(path)
    assert held is not None
    assert is_held(path)
    assert take(path) is None
    os.close(held)
    assert not is_held(path)


def test_cores_are_divided_without_a_rest() -> None:
    assert divided([0, 1, 2, 3, 4], 2) == [[0, 1], [2, 3, 4]]
    assert divided([4, 5], 3) == [[4], [5], [4]]


def test_a_worker_gets_its_own_gpu(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "2,GPU-5f")
    places = slots(tmp_path, 0, "auto")
    assert [place.environment["CUDA_VISIBLE_DEVICES"] for place in places] == ["2", "GPU-5f"]
    with pytest.raises(UsageError, match="--workers 3 needs as many GPUs, here are 2"):
        slots(tmp_path, 3, "auto")
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    assert [place.environment["CUDA_VISIBLE_DEVICES"] for place in slots(tmp_path, 2, "auto")] == [
        "",
        "",
    ]
    with pytest.raises(EnvironmentProblem, match="no GPU"):
        slots(tmp_path, 0, "cuda")


def test_watching_asks_once_a_look_and_ends_with_the_sweep(
    tmp_path: Path, slurm: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stored_sweep(tmp_path, [job("lsq-x")])
    submitted(tmp_path, "lsq-x", "8")
    (slurm / "squeue.out").write_text("8|RUNNING|None|n1|.\n")
    waited: list[float] = []

    def sleep(seconds: float) -> None:
        waited.append(seconds)
        if len(waited) == 2:
            record(tmp_path, "lsq-x")

    monkeypatch.setattr(sweeps, "sleep", sleep)
    words = ["status", "--watch", "--every", "0.1", "--results", str(tmp_path)]
    done = CliRunner().invoke(app, words)
    assert done.exit_code == 0, done.output
    assert "1 job(s): 1 done" in done.output
    assert waited == [sweeps.LEAST_SECONDS] * 2  # nobody may press the controller harder
    calls = (slurm / "calls").read_text().split()
    assert (calls.count("squeue"), calls.count("sacct")) == (2, 2)  # of the third, nothing is open


def test_without_a_sweep_status_says_how_to_make_one(tmp_path: Path) -> None:
    done = CliRunner().invoke(app, ["status", "--results", str(tmp_path)])
    assert isinstance(done.exception, UsageError)
    assert "lowbit submit" in str(done.exception)
