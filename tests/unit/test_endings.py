"""Why a job ended, from what was raised."""

from __future__ import annotations

import errno
from pathlib import Path

import pytest

from suite import files
from suite.cluster.endings import EXITS, Blocked, Exhausted, message_of, reason_of
from suite.errors import EnvironmentProblem, NoSpace
from suite.files import write_atomically


def caused(error: Exception, cause: BaseException) -> Exception:
    error.__cause__ = cause
    return error


class OutOfMemoryError(RuntimeError):
    """Named as torch's own."""


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (ValueError("x"), "code"),
        (EnvironmentProblem("x"), "code"),
        (MemoryError(), "oom"),
        (OutOfMemoryError("CUDA out of memory"), "oom"),
        (OSError(errno.ENOSPC, "full"), "space"),
        (OSError(errno.EDQUOT, "quota"), "space"),
        (OSError(errno.EACCES, "no"), "code"),
        (NoSpace("x"), "space"),
        (caused(RuntimeError("x"), NoSpace("y")), "space"),
        (Blocked("x"), "need"),
        (Exhausted("x"), "restarts"),
    ],
)
def test_a_failure_has_a_reason_and_an_exit_code(error: Exception, reason: str) -> None:
    assert reason_of(error) == reason
    assert EXITS[reason] > 0


def test_torchs_own_error_is_recognised() -> None:
    import torch

    assert reason_of(torch.OutOfMemoryError("CUDA out of memory")) == "oom"


def test_a_message_is_one_line_that_names_foreign_errors() -> None:
    assert message_of(ValueError("a\nb")) == "ValueError: a"
    assert message_of(EnvironmentProblem("It is so.")) == "It is so."
    assert message_of(MemoryError()) == "MemoryError: MemoryError"


@pytest.fixture
def full(monkeypatch: pytest.MonkeyPatch) -> None:
    """A file system without space, as far as the suite asks it."""
    usage = files.shutil.disk_usage("/")
    monkeypatch.setattr(files.shutil, "disk_usage", lambda _: usage._replace(free=0))


def refuse(_: Path) -> None:
    raise RuntimeError("PytorchStreamWriter failed writing file")


def test_a_librarys_own_error_on_a_full_disk_is_for_want_of_space(
    tmp_path: Path, full: None
) -> None:
    with pytest.raises(NoSpace, match="No space left on device"):
        write_atomically(tmp_path / "file", refuse)


def test_the_same_error_with_space_left_stays_what_it_is(tmp_path: Path) -> None:
    with pytest.raises(RuntimeError, match="PytorchStreamWriter"):
        write_atomically(tmp_path / "file", refuse)
