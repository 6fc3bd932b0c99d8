"""docs/cluster.md: its commands exist, its cells can exist, its table of keys is whole."""

from __future__ import annotations

import re
import shlex
from dataclasses import replace
from pathlib import Path

import pytest

from suite.choosing import choice_from
from suite.cluster.profile import Profile
from suite.grid import select
from tests.docs.test_readme import fenced, lookup, parsed

ROOT = Path(__file__).resolve().parents[2]
GUIDE = (ROOT / "docs" / "cluster.md").read_text(encoding="utf-8")


def sweep_commands() -> list[list[str]]:
    """The arguments of every call of `lowbit` in the guide's shell blocks."""
    found = []
    for line in "\n".join(fenced(GUIDE, "sh")).splitlines():
        words = shlex.split(line, comments=True)
        if words and Path(words[0]).name == "lowbit":
            found.append(words[1:])
    return found


@pytest.mark.parametrize("words", sweep_commands(), ids=" ".join)
def test_a_command_of_the_cluster_guide_parses_and_its_cells_can_exist(words: list[str]) -> None:
    name, values = parsed(words)
    if name in ("submit", "plan", "run"):
        grid = values.get("grid") or ""
        choice = choice_from(lookup({**values, "workers": None}))
        assert select(replace(choice, grid=grid, everything=bool(grid))).cells


def test_the_cluster_guide_names_every_key_of_a_profile() -> None:
    table = GUIDE.split("**Profile.**")[1].split("**Data.**")[0]
    named = set(re.findall(r"`\[?(\w+)\]?`", table))
    # The local queue's own keys are told in its section.
    assert set(Profile.model_fields) - named <= {"executor", "workers"}


def test_the_sweep_of_the_cluster_guide_is_twelve_cells() -> None:
    (words,) = [w for w in sweep_commands() if "dev" in w and "fashion" in w and "submit" in w]
    values = parsed(words)[1]
    assert len(select(choice_from(lookup({**values, "workers": None}))).cells) == 12
