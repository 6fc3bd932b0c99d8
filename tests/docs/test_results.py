"""docs/results-embedded.md against the records in docs/measured."""

from __future__ import annotations

import re
from pathlib import Path
from statistics import fmean, median

import pytest

from suite.claims import ClaimResult, claims
from suite.claims.page import counted
from suite.claims.records import HEAVY
from suite.collect import Collected, collect, newest
from suite.errata import errata
from suite.errata_effects import Effect, effects
from suite.statistics import over_seeds, t_interval

DOCS = Path(__file__).parents[2] / "docs"
FOLDERS = sorted(path.parent for path in (DOCS / "measured").glob("*/records"))


@pytest.fixture(scope="module")
def collected() -> Collected:
    return collect([DOCS / "measured" / "errata"])


@pytest.fixture(scope="module")
def measured(collected: Collected) -> dict[str, Effect]:
    found = effects(errata(), collected)
    return {name: effect for name, effect in found.items() if effect.measured}


def rows_of(section: str) -> list[list[str]]:
    """The cells of every table row of the section whose title begins so, up to the next title."""
    text = (DOCS / "results-embedded.md").read_text(encoding="utf-8")
    (found,) = (part for part in re.split(r"\n##+ ", text) if part.startswith(section))
    lines = found.splitlines()
    return [re.split(r" *\| *", line.strip("| ")) for line in lines if "|" in line]


def documented() -> dict[str, list[str]]:
    """Rows of the errata's section, by id."""
    rows = rows_of("Errata")
    return {row[0]: row[1:] for row in rows if re.fullmatch(r"[a-z]+-[A-Z]?[0-9]+", row[0])}


@pytest.mark.parametrize("folder", FOLDERS, ids=lambda folder: folder.name)
def test_every_stored_record_can_be_read(folder: Path) -> None:
    collected = collect([folder])
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


# Fashion-MNIST


@pytest.fixture(scope="module")
def by_seed() -> dict[str, dict[int, float]]:
    """Top-1 of every seed, by configuration."""
    runs = newest(collect([DOCS / "measured" / "fashion"]).runs)
    groups = runs.groupby("configuration")
    return {str(name): dict(zip(own["seed"], own["m.top1"], strict=True)) for name, own in groups}


def test_the_means_on_fashion_are_the_records(by_seed: dict[str, dict[int, float]]) -> None:
    rows = {row[0]: row[1:] for row in rows_of("Fashion-MNIST") if "/fashion/" in row[0]}
    assert rows.keys() == {name for name in by_seed if not name.startswith("fp32/")}
    for name, row in rows.items():
        values = sorted(by_seed[name].values())
        low, high = t_interval(values)
        numbers = (fmean(values), median(values), values[0], values[-1])
        mean, middle, first, last = (f"{number:.2f}" for number in numbers)
        assert row == ["top1", "3", mean, f"{low:.2f} to {high:.2f}", middle, first, last], name


def test_the_differences_on_fashion_are_the_records(by_seed: dict[str, dict[int, float]]) -> None:
    rows = [row for row in rows_of("Fashion-MNIST") if re.fullmatch(r"W[234]A[234]", row[2:3][0])]
    assert len(rows) >= 20
    for first, second, bits, *told in rows:
        one, two = (side_of(by_seed, side, bits.lower()) for side in (first, second))
        test = over_seeds(one, two)
        assert test is not None
        interval = f"{test.low:+.2f} to {test.high:+.2f}"
        assert told[:3] == [f"{test.difference:+.2f}", interval, test.verdict], (first, bits)


def side_of(by_seed: dict[str, dict[int, float]], method: str, bits: str) -> dict[int, float]:
    (found,) = (n for n in by_seed if n.startswith(f"{method}/") and n.endswith(f"/{bits}"))
    return by_seed[found]


# Claims


@pytest.fixture(scope="module")
def judged() -> dict[str, ClaimResult]:
    """What all kept records together say of every claim at embedded scale, by id."""
    return {one.id: one for one in claims(collect(FOLDERS, heavy=HEAVY), "embedded")}


def test_the_claims_are_what_the_records_give(judged: dict[str, ClaimResult]) -> None:
    assert counted([*judged.values()]) in (DOCS / "results-embedded.md").read_text(encoding="utf-8")
    rows = {row[0]: row[1:] for row in rows_of("Claims") if row[0] in judged}
    assert rows == {one.id: [one.text, one.verdict, one.shown or "–"] for one in judged.values()}


def test_the_claims_about_parts_are_what_the_records_give(judged: dict[str, ClaimResult]) -> None:
    named = [(re.search(r"\((p1-[a-z0-9-]+)\)", row[0]), row) for row in rows_of("What each part")]
    rows = {name[1]: row[1:3] for name, row in named if name}
    assert "p1-attention-sensitive" in rows
    assert rows == {name: [judged[name].shown or "–", judged[name].verdict] for name in rows}
