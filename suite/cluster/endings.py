"""How a job can end, and the exit code that says so where nothing can be written any more."""

from __future__ import annotations

import errno

from suite.errors import EnvironmentProblem, LowbitError, NoSpace

EXITS = {"code": 1, "need": 3, "oom": 12, "space": 28, "restarts": 75}
"""Exit code of a failure's reason (need: blocked); oom and space are ENOMEM and ENOSPC."""

STOPPED = 130
"""Exit code of a job that was stopped with its state saved."""

LONGEST = 500
"""Characters of a message that are kept."""


class Blocked(EnvironmentProblem):
    """What the job needs is not done, and nothing that it waited for is left to do it."""

    exit_code = EXITS["need"]


class Exhausted(LowbitError):
    """The job has been put back into the queue as often as its profile allows."""

    exit_code = EXITS["restarts"]


def reason_of(error: BaseException) -> str:
    """Why a job failed: need, restarts, space, oom or code."""
    if isinstance(error, Blocked):
        return "need"
    if isinstance(error, Exhausted):
        return "restarts"
    chain = list(_chain(error))
    if any(isinstance(e, NoSpace) or _full(e) for e in chain):
        return "space"
    # torch.OutOfMemoryError by name: nothing here imports torch.
    if any(isinstance(e, MemoryError) or type(e).__name__ == "OutOfMemoryError" for e in chain):
        return "oom"
    return "code"


def message_of(error: BaseException) -> str:
    """One line for the status."""
    text = str(error).strip() or type(error).__name__
    known = isinstance(error, LowbitError)
    return (text if known else f"{type(error).__name__}: {text}").splitlines()[0][:LONGEST]


def _full(error: BaseException) -> bool:
    return isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT)


def _chain(error: BaseException | None) -> list[BaseException]:
    found = []
    while error is not None and error not in found:
        found.append(error)
        error = error.__cause__ or error.__context__
    return found
