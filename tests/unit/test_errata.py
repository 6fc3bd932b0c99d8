"""Errata: all of them are there, their switches exist, and effects come from records."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pandas as pd
import pytest
from synthetic_runs import runs
from typer.testing import CliRunner

from suite.cli import app
from suite.errata import Erratum, Switch, errata, erratum
from suite.errata_effects import check, effect, effects
from suite.errors import UsageError
from suite.registry import METHODS
from suite.switches import problems

NUMBERED = {
    "variation-A": 6,
    "variation-B": 19,
    "variation-D": 5,
    "lsq-": 5,
    "lsq_plus-": 2,
    "qvit-": 11,
    "ternarybert-": 2,
    "binarybert-": 15,
    "bit-": 7,
    "bibert-": 1,
    "ofq-": 9,
    "ptq-": 23,
    "published-": 17,
}
"""How many discrepancies of each kind are known."""

FAMILIES = [("released", "corrected", "paper"), ("binarybert", "binarybert-corrected")]
"""Variants of one code: what they do not share is a discrepancy."""

SIBLINGS = [
    pytest.param(method, found, id=f"{method}-{found[0]}")
    for method in METHODS.names()
    for family in FAMILIES
    if len(found := [name for name in family if name in METHODS.get(method).variants]) > 1
]

EXPECTED = {f"{kind}{i}" for kind, count in NUMBERED.items() for i in range(1, count + 1)}

SWITCHED = [pytest.param(e, s, id=e.id) for e in errata() for s in e.switches]

ENTRY = """
[[erratum]]
id = "ptq-1"
paper = "P2"
claimed = "a"
is = "b"
evidence = "c"
effect = "d"
"""


def named(name: str) -> Erratum:
    return erratum(name)


def test_every_known_discrepancy_is_there() -> None:
    assert sorted(EXPECTED - {entry.id for entry in errata()}) == []


def test_a_switch_has_a_paper_with_its_name() -> None:
    assert {e.paper for e in errata() if e.id.startswith("variation-")} == {"P1"}
    assert {e.paper for e in errata() if e.id.startswith("ptq-")} == {"P2"}


@pytest.mark.parametrize(("entry", "switch"), SWITCHED)
def test_a_switch_exists_and_the_variants_have_its_values(entry: Any, switch: Any) -> None:
    assert problems(switch) == []


@pytest.mark.parametrize(("method", "variants"), SIBLINGS)
def test_every_difference_between_variants_has_an_erratum(method: str, variants: list[str]) -> None:
    kind = METHODS.get(method)
    settings = [kind.Settings(**kind.variants[name]).model_dump() for name in variants]
    differing = {name for name in settings[0] if len({repr(s[name]) for s in settings}) > 1}
    named_by = {s.setting for e in errata() for s in e.switches if method in s.methods}
    assert differing
    assert differing - named_by == set()


@pytest.mark.parametrize(
    ("switch", "word"),
    [
        (Switch(methods=("variation",), setting="binz", values={"released": "all"}), "binz"),
        (Switch(methods=("variation",), setting="bins", values={"mended": "some"}), "some"),
        (Switch(methods=("variation",), setting="bins", values={"released": "all"}), "released"),
        (Switch(methods=("variatoin",), setting="bins", values={"a": "all"}), "variation"),
        (Switch(recipe="batch_sise", values={"a": 1}), "batch_size"),
        (Switch(recipe="fp32_recipe", values={"a": "imagenet-p9"}), "imagenet-p9"),
        (Switch(option="weigths", values={"a": "file"}), "weights"),
    ],
)
def test_a_switch_that_is_not_there_is_named(switch: Switch, word: str) -> None:
    assert word in " ".join(problems(switch))


def test_the_cells_of_every_effect_can_exist() -> None:
    assert check(errata()) == []


@pytest.mark.parametrize(
    ("text", "word"),
    [
        (ENTRY + 'clame = "x"\n', "clame"),
        (ENTRY + ENTRY, "twice"),
        (ENTRY.replace('effect = "d"\n', ""), "effect"),
        (ENTRY + 'switch = [{ setting = "bins", values = { a = 1 } }]\n', "methods"),
        (ENTRY + 'switch = [{ recipe = "lr", option = "weights", values = { a = 1 } }]\n', "one"),
        ("[[erratum]\n", "cannot be read"),
        ("", "cannot be read"),
    ],
)
def test_a_damaged_file_is_answered_in_one_sentence(tmp_path: Path, text: str, word: str) -> None:
    (tmp_path / "bad.toml").write_text(text)
    with pytest.raises(UsageError, match=r"bad\.toml") as raised:
        errata(folder=tmp_path)
    assert word in str(raised.value)


def test_one_paper_can_be_named_in_any_case() -> None:
    assert {e.paper for e in errata("ofq")} == {"OFQ"}


@pytest.mark.parametrize("call", [lambda: errata("P3"), lambda: erratum("variation-B99")])
def test_an_unknown_name_is_answered_with_what_there_is(call: Any) -> None:
    with pytest.raises(UsageError, match="Registered"):
        call()


def test_an_effect_is_the_paired_difference_of_two_cells() -> None:
    entry = named("variation-B15")
    with_, without = ("fashion-short-train-calibration", "fashion-short")
    frame = runs({with_: {0: 81.0, 1: 82.0, 2: 83.0}, without: {0: 80.0, 1: 81.5, 2: 81.5}})
    found = effects([entry], SimpleNamespace(runs=frame))[entry.id]
    assert found.measured
    assert found.difference == pytest.approx(1.0)
    assert found.interval is not None
    assert found.interval[0] == pytest.approx(1.0 - 4.302653 * 0.5 / 3**0.5, abs=1e-5)
    assert found.seeds == (0, 1, 2)
    assert len(found.run_ids) == 6
    assert "+1.00 points" in found.text
    assert found.needs_missing == ()


def test_sides_that_differ_in_the_recipe_alone_are_told_apart() -> None:
    start, base = "fashion-short-qvit-from-fp32", "fashion-short-qvit"
    frame = runs({start: {0: 78.0}, base: {0: 74.0}})
    found = effects([named("qvit-2")], SimpleNamespace(runs=frame))
    assert "w2a2 (epochs=4, start=fp32) minus qvit-" in found["qvit-2"].text
    assert "w2a2 (epochs=4), 1 seed" in found["qvit-2"].text


def test_an_effect_without_records_names_the_commands() -> None:
    entry = named("variation-B15")
    found = effects([entry], SimpleNamespace(runs=runs({})))[entry.id]
    assert not found.measured
    assert found.text == entry.effect
    assert any(
        "--set calibration=train --recipe epochs=4 --seed 0,1,2" in need
        for need in found.needs_missing
    )


def test_runs_on_other_data_give_no_effect() -> None:
    entry = named("variation-B15")
    one = runs({"fashion-short-train-calibration": {0: 81.0, 1: 82.0}})
    two = runs({"fashion-short": {0: 80.0, 1: 81.5}}, data_digest="other")
    found = effects([entry], SimpleNamespace(runs=pd.concat([one, two])))[entry.id]
    assert not found.measured
    assert "the data digest of fashion differs: data (2 runs" in found.text


def test_an_erratum_without_cells_keeps_its_text() -> None:
    entry = named("ptq-20")
    assert effect(entry, SimpleNamespace()).text == entry.effect  # type: ignore[arg-type]


def test_the_command_lists_all_and_shows_one(tmp_path: Path) -> None:
    run = CliRunner()
    listed = run.invoke(app, ["errata", "--results", str(tmp_path)])
    assert listed.exit_code == 0
    assert all(f"| {name} |" in listed.stdout for name in EXPECTED)
    one = run.invoke(app, ["errata", "variation-b15", "--results", str(tmp_path)])
    assert one.exit_code == 0
    assert "engine" not in one.stdout
    assert "train_VVTQ.py:363-377" in one.stdout
    assert "setting calibration: paper train, released validation" in one.stdout
