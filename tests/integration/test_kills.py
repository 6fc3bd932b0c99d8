"""A few kills at random moments; tests.integration.kills makes as many as are asked for."""

from __future__ import annotations

import os

import pytest

from tests.integration.kills import main


def test_killed_collections_and_tables_lose_nothing_and_leave_nothing(
    capsys: pytest.CaptureFixture[str],
) -> None:
    seed = int.from_bytes(os.urandom(4), "big")
    code = main(4, seed, ("collect", "tables"))
    said = capsys.readouterr().out
    print(f"seed {seed}: {said}")
    assert code == 0, said
    assert said.startswith(("4 kills", "5 kills", "6 kills"))
