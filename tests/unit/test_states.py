"""The state of a job from recorded answers of squeue and sacct (SLURM 22.05) and its files."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest

from suite.cluster.known import Answer, Seen, State
from suite.cluster.slurm_view import Table, View, look, parse_accounts, parse_queue
from suite.cluster.states import state_of
from suite.cluster.sweep import Event, Job, Progress

QUEUE = """\
21_0|RUNNING|None|node1|.
21_1|COMPLETING|None|node1|.
21_2|PENDING|Resources||.
21_3|PENDING|JobArrayTaskLimit||.
22|PENDING|Dependency||.
23|PENDING|DependencyNeverSatisfied||.
24|PENDING|BeginTime||.
25|CANCELLED|None|node2|.
26|TIMEOUT|TimeLimit|node2|.
"""
ACCOUNTS = """\
21_0|RUNNING|0:0|node1
21_1|COMPLETED|0:0|node1
21_[2-3%2]|PENDING|0:0|None assigned
22|PENDING|0:0|None assigned
24|NODE_FAIL|0:0|node3
24|PENDING|0:0|None assigned
25|CANCELLED by 0|0:0|node2
26|TIMEOUT|0:0|node2
27|OUT_OF_MEMORY|0:125|node2
28|FAILED|0:9|node4
29|FAILED|1:0|node4
30|NODE_FAIL|1:0|node3
31|FAILED|28:0|node4
32|FAILED|75:0|node4
33|CANCELLED by 1001|0:15|None assigned
34|DEADLINE|0:0|None assigned
35|BOOT_FAIL|0:0|node1
36|FAILED|3:0|node1
37|FAILED|12:0|node1
38|COMPLETED|0:0|node1
"""


def row(table: Table, name: str) -> str:
    return table.rows[name].state


def test_squeue_rows_are_read_and_the_answer_is_whole() -> None:
    table = parse_queue(QUEUE)
    assert table.whole
    assert len(table.rows) == 9
    assert row(table, "21_0") == "RUNNING"
    assert table.rows["21_0"].node == "node1"
    assert table.rows["21_0"].reason == ""
    assert table.rows["23"].reason == "DependencyNeverSatisfied"


def test_sacct_rows_are_read_without_suffixes_and_the_last_of_a_job_counts() -> None:
    table = parse_accounts(ACCOUNTS)
    assert table.whole
    assert row(table, "25") == row(table, "33") == "CANCELLED"
    assert row(table, "24") == "PENDING"
    assert row(table, "21_2") == row(table, "21_3") == "PENDING"
    assert table.rows["28"].exit == "0:9"
    assert table.rows["22"].node == ""


def test_steps_in_sacct_are_not_jobs() -> None:
    table = parse_accounts("21_1|RUNNING|0:0|node1\n21_1.batch|RUNNING|0:0|node1\n")
    assert table.whole
    assert list(table.rows) == ["21_1"]


def test_an_empty_answer_is_whole_and_knows_nothing() -> None:
    assert parse_queue("") == Table(whole=True)
    assert parse_accounts("\n") == Table(whole=True)


@pytest.mark.parametrize("cut", [3, 8, 12, 17, 23])
def test_a_truncated_squeue_line_is_dropped_and_the_answer_not_whole(cut: int) -> None:
    text = "21_0|RUNNING|None|node1|.\n" + "21_1|RUNNING|None|node1|."[:cut]
    table = parse_queue(text)
    assert list(table.rows) == ["21_0"]
    assert not table.whole


@pytest.mark.parametrize("line", ["21_1|RUNN", "21_1|COMPL|0:0|node1", "21_1|COMPLETED|0:0", "|||"])
def test_a_damaged_sacct_line_is_dropped_and_the_answer_not_whole(line: str) -> None:
    table = parse_accounts(f"21_0|COMPLETED|0:0|node1\n{line}\n")
    assert list(table.rows) == ["21_0"]
    assert not table.whole


def test_an_unknown_word_is_no_state() -> None:
    table = parse_accounts("21|UNKNOWN|0:0|\n22|RUNNING|0:0|node1\n")
    assert list(table.rows) == ["22"]
    assert not table.whole


@pytest.mark.parametrize(
    ("name", "elements"),
    [
        ("7_[0-3]", [0, 1, 2, 3]),
        ("7_[1,4,6-8%2]", [1, 4, 6, 7, 8]),
        ("7_[0-8:4]", [0, 4, 8]),
    ],
)
def test_waiting_elements_of_an_array_are_named_one_by_one(name: str, elements: list[int]) -> None:
    table = parse_queue(f"{name}|PENDING|Priority||.\n")
    assert sorted(table.rows) == sorted(f"7_{n}" for n in elements)


def test_a_shortened_list_of_elements_makes_the_answer_not_whole() -> None:
    assert not parse_queue("7_[0-3,5,...]|PENDING|Priority||.\n").whole


# --- asking ----------------------------------------------------------------------------------


@pytest.fixture
def slurm(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder that is the whole PATH, for commands that stand in for SLURM's and note calls."""
    monkeypatch.setenv("PATH", str(tmp_path))
    return tmp_path


def command(folder: Path, name: str, out: str = "", error: str = "", code: int = 0) -> None:
    (folder / f"{name}.out").write_text(out)
    (folder / f"{name}.err").write_text(error)
    script = folder / name
    script.write_text(
        f"#!/bin/sh\necho \"$@\" >> '{folder}/calls'\n/bin/cat '{folder}/{name}.out'\n"
        f"/bin/cat '{folder}/{name}.err' >&2\nexit {code}\n"
    )
    script.chmod(0o755)


def test_one_squeue_and_one_sacct_whatever_the_number_of_jobs(slurm: Path) -> None:
    command(slurm, "squeue", QUEUE)
    command(slurm, "sacct", ACCOUNTS)
    view = look([f"21_{n}" for n in range(1000)] + [str(n) for n in range(22, 39)])
    calls = (slurm / "calls").read_text().splitlines()
    assert len(calls) == 2
    assert all(call.endswith("-j " + ",".join(map(str, range(21, 39)))) for call in calls)
    assert view.notes == ()
    assert view.queue.whole
    assert view.accounts.rows["27"].state == "OUT_OF_MEMORY"


def test_no_jobs_ask_nothing(slurm: Path) -> None:
    command(slurm, "squeue", QUEUE)
    assert look([]) == View()
    assert not (slurm / "calls").exists()


def test_an_absent_slurm_is_said_once_each(slurm: Path) -> None:
    view = look(["21"])
    assert not view.queue.whole
    assert [note.split(" (")[0] for note in view.notes] == [
        "squeue did not answer",
        "sacct did not answer",
    ]
    assert "not installed" in view.notes[0]


def test_accounting_that_is_switched_off_is_named_so(slurm: Path) -> None:
    command(slurm, "squeue", QUEUE)
    command(slurm, "sacct", error="Slurm accounting storage is disabled\n", code=1)
    view = look(["21_0"])
    assert view.queue.whole
    assert view.notes == (
        "Accounting is switched off: endings are known from the jobs themselves.",
    )


def test_a_forgotten_job_is_an_answer_and_a_dead_controller_is_none(slurm: Path) -> None:
    command(slurm, "sacct")
    command(slurm, "squeue", error="slurm_load_jobs error: Invalid job id specified\n", code=1)
    assert look(["21"]).queue == Table(whole=True)
    told = "slurm_load_jobs error: Unable to contact slurm controller (connect failure)\n"
    command(slurm, "squeue", error=told, code=1)
    view = look(["21"])
    assert not view.queue.whole
    assert "Unable to contact" in view.notes[0]


def test_output_that_is_cut_off_is_not_whole_and_said_so(slurm: Path) -> None:
    command(slurm, "squeue", QUEUE[:100])
    command(slurm, "sacct", ACCOUNTS)
    view = look(["21_0"])
    assert not view.queue.whole
    assert view.notes == ("squeue's answer was not whole; what it lacks is not sure.",)


def test_squeue_is_asked_for_whole_lists_of_elements(slurm: Path) -> None:
    (slurm / "squeue").write_text(f"#!/bin/sh\necho $SLURM_BITSTR_LEN > '{slurm}/length'\n")
    (slurm / "squeue").chmod(0o755)
    look(["7"])
    assert (slurm / "length").read_text() == "0\n"


# --- judging ---------------------------------------------------------------------------------

JOB = Job(key="lsq-x", cell="{}", label="lsq/x")
LABELS = Job(key="labels-x", cell="{}", label="soft labels/x", role="labels")


def event(kind: str, second: int = 0, **more: str) -> Event:
    return Event(kind=kind, at=f"2026-11-25T00:00:{second:02d}.000+00:00", **more)  # type: ignore[arg-type]


SUBMITTED = event("submitted", 0, slurm_id="21")
STARTED = event("started", 1, slurm_id="21", host="node1")


def ended(state: str, reason: str = "", message: str = "", second: int = 2) -> Event:
    return event("ended", second, state=state, reason=reason, message=message)


def judged(
    *events: Event,
    queue: str | None = "",
    accounts: str = "",
    needs: dict[str, State] | None = None,
    job: Job = JOB,
    **seen: object,
) -> State:
    """The state by recorded texts about job 21; queue None: squeue did not answer."""
    live = parse_queue(queue) if queue is not None else Table()
    answer = Answer(live.rows.get("21"), parse_accounts(accounts).rows.get("21"), live.whole)
    return state_of(job, Seen(events=list(events), **seen), answer, needs or {})  # type: ignore[arg-type]


def words(found: State) -> tuple[str, str]:
    return found.name, found.reason


@pytest.mark.parametrize(
    ("events", "queue", "accounts", "expected"),
    [
        ([SUBMITTED], "21|PENDING|Priority||.", "", ("queued", "")),
        ([SUBMITTED, STARTED], "21|RUNNING|None|node1|.", "21|RUNNING|0:0|node1", ("running", "")),
        ([SUBMITTED, STARTED], "21|SUSPENDED|None|node1|.", "", ("running", "")),
        (
            [SUBMITTED, STARTED],
            "21|PENDING|BeginTime||.",
            "21|NODE_FAIL|0:0|node1",
            ("requeued", ""),
        ),
        (
            [SUBMITTED, STARTED, ended("requeued")],
            "21|COMPLETING|None|node1|.",
            "",
            ("requeued", ""),
        ),
        ([SUBMITTED, STARTED, ended("requeued")], "21|PENDING|None||.", "", ("requeued", "")),
        ([SUBMITTED], "21|PENDING|DependencyNeverSatisfied||.", "", ("blocked", "")),
        ([SUBMITTED, STARTED], "", "21|TIMEOUT|0:0|node1", ("failed", "timeout")),
        ([SUBMITTED, STARTED], "", "21|OUT_OF_MEMORY|0:125|node1", ("failed", "oom")),
        ([SUBMITTED, STARTED], "", "21|NODE_FAIL|0:0|node1", ("failed", "node")),
        ([SUBMITTED, STARTED], "", "21|CANCELLED by 0|0:0|node1", ("failed", "cancelled")),
        ([SUBMITTED], "", "21|CANCELLED by 1001|0:0|None assigned", ("failed", "cancelled")),
        ([SUBMITTED, STARTED], "", "21|FAILED|0:9|node1", ("failed", "code")),
        ([SUBMITTED, STARTED], "", "21|FAILED|28:0|node1", ("failed", "space")),
        ([SUBMITTED, STARTED], "", "21|FAILED|75:0|node1", ("failed", "restarts")),
        ([SUBMITTED, STARTED], "", "21|FAILED|12:0|node1", ("failed", "oom")),
        ([SUBMITTED], "", "21|FAILED|3:0|node1", ("blocked", "")),
        ([SUBMITTED, STARTED], "", "21|COMPLETED|0:0|node1", ("failed", "code")),
        ([SUBMITTED, STARTED], "21|TIMEOUT|TimeLimit|node1|.", "", ("failed", "timeout")),
        ([SUBMITTED, STARTED, ended("failed", "oom")], "", "21|FAILED|12:0|n", ("failed", "oom")),
        ([SUBMITTED, STARTED, ended("blocked", "need")], "", "21|FAILED|3:0|n", ("blocked", "")),
        (
            [SUBMITTED, STARTED, ended("stopped")],
            "",
            "21|CANCELLED by 0|0:0|",
            ("failed", "cancelled"),
        ),
        ([SUBMITTED, STARTED, ended("done")], "", "21|COMPLETED|0:0|node1", ("lost", "")),
        ([], "", "", ("stopped", "")),
    ],
)
def test_recorded_answers_give_the_state(
    events: Sequence[Event], queue: str, accounts: str, expected: tuple[str, str]
) -> None:
    if not events:  # nothing was asked about a job without a SLURM id
        assert words(judged(queue=None)) == expected
    else:
        assert words(judged(*events, queue=queue, accounts=accounts)) == expected


def test_a_record_outweighs_everything() -> None:
    found = judged(SUBMITTED, STARTED, accounts="21|FAILED|1:0|node1", recorded=True)
    assert found.name == "done"
    barred = judged(SUBMITTED, recorded=True, needs={"fp32": State("failed", "code")})
    assert barred.name == "done"


def test_soft_labels_are_done_when_their_job_says_so() -> None:
    assert judged(SUBMITTED, STARTED, ended("done"), job=LABELS).name == "done"


def test_node_fail_is_final_only_when_squeue_is_sure() -> None:
    accounts = "21|NODE_FAIL|0:0|node1"
    assert judged(SUBMITTED, STARTED, queue=None, accounts=accounts).name == "requeued"
    assert judged(SUBMITTED, STARTED, queue="21|PENDI", accounts=accounts).name == "requeued"
    assert words(judged(SUBMITTED, STARTED, accounts=accounts)) == ("failed", "node")


def test_a_stale_sacct_row_is_not_believed_against_a_whole_squeue() -> None:
    found = judged(SUBMITTED, STARTED, accounts="21|RUNNING|0:0|node1")
    assert found.name == "lost"


def test_without_accounting_the_exit_code_of_the_batch_script_tells() -> None:
    assert words(judged(SUBMITTED, STARTED, exit=28)) == ("failed", "space")
    killed = judged(SUBMITTED, STARTED, exit=137)
    assert words(killed) == ("failed", "code")
    assert "signal 9" in killed.message
    assert judged(SUBMITTED, STARTED, exit=137, queue="21|RUNNING|None|n|.").name == "running"


def test_an_exit_code_is_taken_from_where_it_is_told_best() -> None:
    queue = "21|FAILED|NonZeroExitCode|node1|."
    assert words(judged(SUBMITTED, STARTED, queue=queue, accounts="21|FAILED|28:0|node1")) == (
        "failed",
        "space",
    )
    # srun's 137 for a task that was killed arrives in the accounts as 9:0.
    killed = judged(SUBMITTED, STARTED, queue=queue, accounts="21|FAILED|9:0|node1", exit=137)
    assert "signal 9" in killed.message


def test_without_accounting_a_vanished_job_is_lost_or_what_its_record_says() -> None:
    assert judged(SUBMITTED, STARTED).name == "lost"
    told = judged(SUBMITTED, STARTED, error="The loss is not finite.")
    assert words(told) == ("failed", "code")
    assert told.message == "The loss is not finite."
    assert words(judged(SUBMITTED, STARTED, ended("stopped"))) == ("failed", "cancelled")


def test_a_queue_that_does_not_answer_leaves_the_last_word_of_the_files() -> None:
    assert judged(SUBMITTED, queue=None).name == "queued"
    assert judged(SUBMITTED, STARTED, queue=None).name == "running"
    assert judged(SUBMITTED, STARTED, ended("requeued"), queue=None).name == "requeued"
    assert "did not answer" in judged(SUBMITTED, queue=None).message


@pytest.mark.parametrize("need", [State("failed", "oom"), State("blocked"), State("lost")])
def test_a_bad_need_blocks_what_has_not_ended_itself(need: State) -> None:
    needs = {"fp32-x": need}
    waiting = judged(SUBMITTED, queue="21|PENDING|Dependency||.", needs=needs)
    assert waiting.name == "blocked"
    assert f"fp32-x {need.words}" in waiting.message
    assert judged(SUBMITTED, accounts="21|CANCELLED by 0|0:0|", needs=needs).name == "blocked"
    own = judged(SUBMITTED, STARTED, ended("failed", "code"), needs=needs)
    assert words(own) == ("failed", "code")
    assert judged(SUBMITTED, STARTED, queue="21|RUNNING|None|n|.", needs=needs).name == "running"


def test_a_cancelled_job_is_cancelled_whatever_it_wrote_while_it_left() -> None:
    cancelled = event("cancelled", 2)
    found = judged(SUBMITTED, STARTED, cancelled, ended("requeued", second=3))
    assert words(found) == ("failed", "cancelled")
    leaving = judged(SUBMITTED, STARTED, cancelled, queue="21|COMPLETING|None|node1|.")
    assert words(leaving) == ("failed", "cancelled")


def test_a_new_submission_forgets_how_the_last_one_ended() -> None:
    again = event("submitted", 5, slurm_id="21")
    past = [event("submitted", 0, slurm_id="20"), STARTED, ended("failed", "oom")]
    found = judged(*past, again, queue="21|PENDING|Priority||.")
    assert words(found) == ("queued", "")


def test_a_job_put_back_from_outside_after_its_failure_is_requeued() -> None:
    found = judged(SUBMITTED, STARTED, ended("failed", "code"), queue="21|PENDING|None||.")
    assert found.name == "requeued"


def test_progress_gives_epoch_time_left_and_restarts() -> None:
    progress = Progress(
        epoch=2, epochs=10, step=50, steps=100, seconds_per_epoch=60.0, at="2026-11-25T00:00:09"
    )
    again = event("started", 3, slurm_id="21", host="node2")
    found = judged(
        SUBMITTED,
        STARTED,
        ended("requeued"),
        again,
        queue="21|RUNNING|None|node2|.",
        progress=progress,
    )
    assert (found.epoch, found.epochs, found.eta) == (2.5, 10, 450.0)
    assert found.restarts == 1
    assert found.host == "node2"
    unpaced = progress.model_copy(update={"seconds_per_epoch": 0.0})
    assert judged(SUBMITTED, STARTED, queue="21|RUNNING|None|n|.", progress=unpaced).eta is None
