"""Processes of the local queue that another process must reach: by a file with pid and host."""

from __future__ import annotations

import json
import os
import signal
import socket
from contextlib import suppress
from pathlib import Path

from suite.errors import EnvironmentProblem
from suite.files import write_text
from suite.results import now

MARK = b"suite.cluster."
"""In the command line of every process of the queue."""


def note(path: Path, pid: int) -> None:
    """Write down that process `pid` of this host is the one that `path` is about."""
    own = {"pid": pid, "host": socket.gethostname(), "since": now()}
    write_text(path, json.dumps(own) + "\n")


def terminate(path: Path) -> None:
    """Send SIGTERM to the process that `path` names; raises EnvironmentProblem on another host.

    A number that now belongs to another program is left alone.
    """
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        pid, host = int(content["pid"]), str(content["host"])
    except (OSError, ValueError, KeyError, TypeError) as problem:
        raise EnvironmentProblem(f"The file {path} does not name a process.") from problem
    if host != socket.gethostname():
        raise EnvironmentProblem(f"The queue runs on {host}; give the command there.")
    with suppress(ProcessLookupError):
        if MARK in _command(pid):
            os.kill(pid, signal.SIGTERM)


def _command(pid: int) -> bytes:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return b""
