"""What the controller prints, read."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta

import pytest

from suite.cluster import slurm
from suite.cluster.slurm import Limits, View, parse_limits, parse_view
from suite.errors import EnvironmentProblem

CONFIG = """Configuration data as of 2026-11-25T01:02:03
MaxArraySize            = 9
MaxDBDMsgs              = 20024
MaxJobCount             = 10000
MaxJobId                = 67043328
"""

JOB = """JobId=7 ArrayJobId=5 ArrayTaskId=1 JobName=lowbit-0123abcd-cell
   UserId=root(0) GroupId=root(0) MCS_label=N/A
   JobState={state} Reason=None Dependency=(null)
   Requeue=1 Restarts={restarts} BatchFlag=1 Reboot=0 ExitCode=0:0
   RunTime=00:00:05 TimeLimit=01:00:00 TimeMin=N/A
   StartTime=2026-11-25T01:02:03 EndTime=2026-11-25T02:02:03 Deadline=N/A
   PreemptEligibleTime=2026-11-25T01:02:03 PreemptTime={preempt}
"""


def text(state: str = "RUNNING", restarts: int = 0, preempt: str = "None") -> str:
    return JOB.format(state=state, restarts=restarts, preempt=preempt)


def test_the_limits_are_the_controllers_own() -> None:
    assert parse_limits(CONFIG) == Limits(array=9, jobs=10000)


def test_a_limit_that_is_not_named_is_slurms_default() -> None:
    assert parse_limits("") == Limits()


@pytest.mark.parametrize(
    ("told", "view", "over"),
    [
        (text(), View("RUNNING", 0, False), False),
        (text(preempt="2026-11-25T01:03:00"), View("RUNNING", 0, True), False),
        (text("COMPLETING", 1), View("COMPLETING", 1, False), True),
        (text("CANCELLED"), View("CANCELLED", 0, False), True),
        ("", View(), False),
    ],
)
def test_a_job_is_seen_as_the_controller_sees_it(told: str, view: View, over: bool) -> None:
    found = parse_view(told)
    assert replace(found, left=None) == view
    assert found.over == over


@pytest.mark.parametrize(
    ("view", "why"),
    [
        (View("RUNNING", preempted=True, left=10), "preempted"),
        (View("RUNNING", left=70), "time limit"),
        (View("RUNNING", left=3000), "told to leave"),
        (View("RUNNING"), "told to leave"),
    ],
)
def test_why_a_job_was_told_to_leave_is_guessed_from_the_time_it_has_left(
    view: View, why: str
) -> None:
    assert view.why(lead=20) == why


def test_the_time_left_is_read() -> None:
    end = datetime.now() + timedelta(minutes=5)
    told = text().replace("EndTime=2026-11-25T02:02:03", f"EndTime={end:%Y-%m-%dT%H:%M:%S}")
    assert 250 < (parse_view(told).left or 0) < 310


def test_a_restarted_controller_is_asked_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """Guards the retries of slurm.requeue and slurm.view."""
    answers = [None, None, text()]
    monkeypatch.setattr(slurm, "asked", lambda command: answers.pop(0))
    assert slurm.view("7", pause=0.0).state == "RUNNING"
    answers = [None, None, ""]
    assert slurm.requeue("7", pause=0.0)
    answers = [None, None]
    assert not slurm.requeue("7", attempts=2, pause=0.0)


def test_no_controller_is_one_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(slurm, "asked", lambda command: None)
    with pytest.raises(EnvironmentProblem, match=r"slurm/devcluster/README\.md"):
        slurm.limits()
    assert slurm.reachable_limits() == Limits()
