"""docs/results-embedded.md against the records in docs/measured/errata."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from suite.collect import Collected, collect
from suite.errata import errata
from suite.errata_effects import Effect, effects

DOCS = Path(__file__).parents[2] / "docs"


@pytest.fixture(scope="module")
def collected() -> Collected:
    return collect([DOCS / "measured" / "errata"])


@pytest.fixture(scope="module")
def measured(collected: Collected) -> dict[str, Effect]:
    found = effects(errata(), collected)
    return {name: effect for name, effect in found.items() if effect.measured}


def documented() -> dict[str, list[str]]:
    """Rows of the errata's section, by id."""
    text = (DOCS / "results-embedded.md").read_text(encoding="utf-8")
    section = text.split("\n## Errata\n")[1].split("\n## ")[0]
    rows = [re.split(r" *\| *", line.strip("| ")) for line in section.splitlines() if "|" in line]
    return {row[0]: row[1:] for row in rows if re.fullmatch(r"[a-z]+-[A-Z]?[0-9]+", row[0])}


def test_every_stored_record_can_be_read(collected: Collected) -> None:
    assert collected.whole, [str(one) for one in collected.left_out]
    assert set(collected.runs["status"]) == {"done"}
    assert not collected.runs["dirty"].any()


def test_every_measured_effect_is_documented_as_the_records_give_it(
    measured: dict[str, Effect],
) -> None:
    assert len(measured) >= 25
    shown = documented()
    assert shown.keys() == measured.keys()
    for name, effect in measured.items():
        metric, number, seeds = shown[name][-3:]
        assert seeds == str(len(effect.seeds)), name
        assert effect.text.startswith(f"measured: {number} {metric}, "), (name, effect.text)
