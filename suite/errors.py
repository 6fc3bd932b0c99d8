"""The errors a person may meet; each message is one sentence that says what to do."""

from __future__ import annotations

from collections.abc import Iterable
from difflib import get_close_matches


class LowbitError(Exception):
    """Base of every expected error; `exit_code` is what the command line returns."""

    exit_code = 1


class CellFailed(LowbitError):
    """A cell ended with an error that is not one of the suite's; where its traceback is kept."""


class UsageError(LowbitError):
    """What was asked for cannot exist: a misspelt name, impossible bits, an unknown setting."""

    exit_code = 2


class EnvironmentProblem(LowbitError):
    """What was asked for is valid but this machine cannot give it: data, weights, disk."""

    exit_code = 3


class NoSpace(EnvironmentProblem):
    """The disk or the quota is full; what was finished before is whole."""


class Missing(EnvironmentProblem):
    """Data, weights or a package that is not here; the message says how to get it."""


def unknown(kind: str, name: str, known: Iterable[str]) -> UsageError:
    """Return the error for a name that is not registered, with the nearest and all valid ones."""
    names = sorted(known)
    near = get_close_matches(name, names, n=1)
    hint = f" Did you mean {near[0]!r}?" if near else ""
    return UsageError(f"Unknown {kind} {name!r}.{hint} Registered: {', '.join(names) or 'none'}.")
