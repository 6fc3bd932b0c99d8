"""`lowbit submit` before anything is queued: what it makes of its words."""

from __future__ import annotations

from pathlib import Path

import pytest
from typer.testing import CliRunner

from suite.cli import app
from suite.errors import UsageError


def refused(*words: str) -> str:
    """The sentence with which the command refuses these words."""
    found = CliRunner().invoke(app, ["submit", *words])
    assert isinstance(found.exception, UsageError), found.output
    return str(found.exception)


LSQ = ("--task=fashion", "--method=lsq", "--bits=2")


def test_a_profile_must_be_named() -> None:
    assert refused(*LSQ).startswith("Name a profile: --profile a100x1|a100x4|dev|local")


def test_an_unknown_executor_and_grid_are_answered_with_the_known() -> None:
    assert "Registered: local, slurm" in refused(*LSQ, "--profile=dev", "--executor=pbs")
    assert "Did you mean 'embedded'" in refused("embeded", "--profile=dev")


def test_a_file_that_is_no_grid_is_refused(tmp_path: Path) -> None:
    (tmp_path / "mine.toml").write_text("x = 1\n")
    told = refused(str(tmp_path / "mine.toml"), "--profile=dev")
    assert "holds no [[entry]] tables" in told


@pytest.mark.parametrize("words", [("--profile=dev",), ("--executor=local", "--workers=2")])
def test_a_dry_run_writes_nothing(words: tuple[str, ...], tmp_path: Path) -> None:
    results = tmp_path / "results"
    found = CliRunner().invoke(
        app, ["submit", *LSQ, *words, "--dry-run", "--allow-dirty", f"--results={results}"]
    )
    assert found.exit_code == 0, found.output
    assert "1 cell(s), 1 prerequisite cell(s)" in found.output
    assert ("#!/bin/bash" in found.output) == (words == ("--profile=dev",))
    assert not results.exists()
