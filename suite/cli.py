"""The command line: `lowbit ...`."""

from __future__ import annotations

import sys

import typer

from suite.commands import cells, claims, cluster, measure, report, store, sweeps, tables
from suite.errors import LowbitError
from suite.markdown import visible

LINES = "\n\t"
"""Control characters that a message may have."""

app = typer.Typer(
    help="Does this paper hold? Cells of the papers' tables, rerun with one command.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)

for group in (cells, claims, cluster, measure, report, store, sweeps, tables):
    group.register(app)


def main() -> None:
    """Entry point: an expected error is one sentence on standard error and its exit code."""
    try:
        app()
    except LowbitError as problem:
        print(f"lowbit: {visible(str(problem), keep=LINES)}", file=sys.stderr)
        sys.exit(problem.exit_code)
