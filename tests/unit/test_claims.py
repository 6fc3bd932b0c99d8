"""Claims: the data is whole, and a verdict follows from what the records say."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pandas as pd
import pytest
from synthetic_runs import runs
from typer.testing import CliRunner

from suite.claims import HOLDS, MISSING, NOT, UNDECIDED, all_claims, claims
from suite.claims.judge import decide, judge
from suite.claims.measures import measure
from suite.claims.model import Test
from suite.claims.page import counted, told
from suite.claims.results import ClaimResult
from suite.claims.sides import Values, printed
from suite.cli import app
from suite.errors import UsageError
from suite.selectors import Selector, selector, selectors

SIDES = [(c.id, t, s) for c in all_claims() for t in c.test for s in t.sides]

NOT_BUILT = ("swin_tiny", "sret_tiny")
"""Models that claims name and that are not registered yet."""


def claim(name: str, frame: pd.DataFrame, scale: Any = "embedded") -> ClaimResult:
    found = {r.key: r for r in claims(SimpleNamespace(runs=frame), scale)}
    return found[f"{name}-{scale}"]


def made(**fields: Any) -> Test:
    return Test(scale="paper", **{"kind": "difference", "sides": (1, 2), **fields})


# The data


def test_every_claim_of_the_papers_abstracts_is_tested_at_both_scales() -> None:
    scales = {c.id: {t.scale for t in c.test} for c in all_claims()}
    for name in (
        *("p1-beats-lsq-2", "p1-binary-bert", "p1-half-epochs", "p1-half-time"),
        *("p1-mdq", "p1-mckd", "p1-obr", "p1-attention-sensitive", "p1-obr-oscillation"),
        *("p2-naive-loses", "p2-activations-cause", "p2-residual-sums"),
        *("p2-outliers-structured", "p2-mixed-repairs", "p2-peg-repairs"),
        *("p2-adaround", "p2-2bit-embeddings", "p2-qat-w4a8"),
    ):
        assert scales[name] == {"paper", "embedded"}, name
    assert scales["p1-swin-2bit-gain"] == {"paper"}


@pytest.mark.parametrize(("name", "of", "side"), SIDES)
def test_every_side_names_cells_or_numbers_that_are_there(name: str, of: Any, side: Any) -> None:
    if side.published is not None:
        assert printed(side.published).value > 0
    if side.cells:
        chosen = selector(side.cells)
        if chosen.model in NOT_BUILT:
            pytest.skip(f"{chosen.model} is not registered; goes away when it is")
        cells = chosen.cells()
        assert set(cells) == {(task, seed) for task in chosen.tasks for seed in chosen.seeds}


@pytest.mark.parametrize("name", [n for n in selectors() if selectors()[n].model not in NOT_BUILT])
def test_the_command_of_named_cells_selects_these_cells(name: str) -> None:
    import shlex

    from suite.choosing import choice_from
    from suite.grid import select

    cells = selector(name).cells()
    words = shlex.split(selector(name).command(cells))[2:]
    given: dict[str, list[str]] = {}
    for option, value in zip(words[::2], words[1::2], strict=True):
        given.setdefault(option.removeprefix("--"), []).append(value)
    found = select(choice_from(given.get)).cells
    assert {c.to_json() for c in found} == {c.to_json() for c in cells.values()}


@pytest.mark.parametrize(
    ("text", "word"),
    [
        ('[a]\nlike = "b"\n', "named cell 'b'"),
        ('[a]\nlike = "b"\n[b]\nlike = "a"\n', "circle"),
        ('[a]\nmethod = "lsq"\n', "model"),
        ('[a]\nmethodd = "lsq"\n', "methodd"),
        ("[a\n", "cannot be read"),
    ],
)
def test_damaged_named_cells_are_answered(tmp_path: Path, text: str, word: str) -> None:
    path = tmp_path / "cells.toml"
    path.write_text(text)
    with pytest.raises(UsageError) as raised:
        selectors(path)
    assert word in str(raised.value)


CLAIM = """
[[claim]]
id = "p1-a"
paper = "P1"
text = "b"
source = "c"
[[claim.test]]
scale = "paper"
kind = "difference"
sides = ["fashion-lsq-2", 3]
metric = "top1"
more_than = 0
"""


@pytest.mark.parametrize(
    ("change", "word"),
    [
        (("more_than = 0", "more_than = 0\nless_than = 1"), "exactly one"),
        (("more_than = 0", ""), "exactly one"),
        (('sides = ["fashion-lsq-2", 3]', "sides = [3]"), "2 sides"),
        (('metric = "top1"', ""), "metric"),
        (('scale = "paper"', 'scale = "embedded"'), "stands for"),
        (('kind = "difference"', 'kind = "distance"'), "distance"),
        (('paper = "P1"', 'paper = "P3"'), "P3"),
        (('text = "b"', 'texxt = "b"'), "texxt"),
        (("3]", "{ cells = 'a', number = 2.0 }]"), "exactly one"),
    ],
)
def test_a_damaged_claim_is_answered(tmp_path: Path, change: tuple[str, str], word: str) -> None:
    (tmp_path / "bad.toml").write_text(CLAIM.replace(*change))
    with pytest.raises(UsageError, match=r"bad\.toml") as raised:
        all_claims(tmp_path)
    assert word in str(raised.value)


def test_the_same_claim_twice_is_answered(tmp_path: Path) -> None:
    (tmp_path / "bad.toml").write_text(CLAIM + CLAIM)
    with pytest.raises(UsageError, match="twice"):
        all_claims(tmp_path)


# Verdicts


@pytest.mark.parametrize(
    ("fields", "low", "high", "verdict"),
    [
        ({"more_than": 1.0}, 1.1, 2.0, HOLDS),
        ({"more_than": 1.0}, 0.5, 1.0, NOT),
        ({"more_than": 1.0}, 0.5, 1.5, UNDECIDED),
        ({"less_than": 1.0}, 0.1, 0.9, HOLDS),
        ({"less_than": 1.0}, 1.0, 2.0, NOT),
        ({"less_than": 1.0}, 0.5, 1.5, UNDECIDED),
        ({"within": 0.5, "about": 3.0}, 2.6, 3.4, HOLDS),
        ({"within": 0.5, "about": 3.0}, 3.6, 4.0, NOT),
        ({"within": 0.5, "about": 3.0}, 1.0, 2.4, NOT),
        ({"within": 0.5, "about": 3.0}, 2.4, 3.1, UNDECIDED),
        ({"more_than": 0.0}, 0.0, 0.0, NOT),
    ],
)
def test_an_interval_decides(fields: Any, low: float, high: float, verdict: str) -> None:
    assert decide(made(**fields), low, high) == verdict


def values(*by_seed: float, **fields: Any) -> Values:
    return Values("x", by_seed=dict(enumerate(by_seed)), **fields)


def test_a_difference_is_paired_over_the_seeds_that_both_have() -> None:
    found = judge(made(more_than=0.0), [values(1.0, 2.0, 9.0), values(0.5, 1.4)])
    assert found.seeds == (0, 1)
    assert found.effect == pytest.approx(0.55)
    assert found.verdict == UNDECIDED
    assert found.interval is not None
    assert found.interval[0] < 0 < found.interval[1]


def test_one_seed_decides_nothing() -> None:
    found = judge(made(more_than=0.0), [values(2.0), values(1.0)])
    assert (found.verdict, found.effect, found.interval) == (UNDECIDED, 1.0, None)


def test_a_reference_of_one_seed_stands_for_every_seed() -> None:
    reference = Values("fp32", by_seed={1000: 5.0}, reference=True)
    found = judge(made(more_than=0.0), [values(6.0, 6.1, 6.2), reference])
    assert found.seeds == (0, 1, 2)
    assert found.effect == pytest.approx(1.1)
    assert judge(made(more_than=0.0), [values(6.0), Values("y", reference=True)]).verdict == MISSING


def test_recovered_is_the_share_of_the_way_back() -> None:
    sides = [values(0.8, 0.9), values(0.6, 0.6), Values("1", fixed=1.0)]
    found = judge(made(kind="recovered", sides=(1, 2, 3), more_than=0.5), sides)
    assert found.effect == pytest.approx((0.5 + 0.75) / 2)
    same = judge(
        made(kind="recovered", sides=(1, 2, 3), more_than=0.5),
        [values(1.0, 1.0), values(1.0, 1.0), Values("1", fixed=1.0)],
    )
    assert same.verdict == UNDECIDED
    assert same.effect is None


def test_an_ordering_needs_every_step() -> None:
    order = made(kind="ordering", sides=(1, 2, 3), more_than=0.0)
    high, middle, low = values(3.0, 3.1), values(2.0, 2.1), values(1.5, 1.6)
    found = judge(order, [high, middle, low])
    assert found.verdict == HOLDS
    assert found.effect == pytest.approx(0.5)
    assert judge(order, [high, low, middle]).verdict == NOT
    assert judge(order, [high, middle, values()]).verdict == MISSING


def test_numbers_alone_are_compared_exactly() -> None:
    sides = [Values("a", fixed=2.0), Values("b", fixed=1.0)]
    assert judge(made(more_than=0.5), sides).verdict == HOLDS
    assert judge(made(more_than=1.5), sides).verdict == NOT


# Against records


def test_a_claim_holds_where_three_seeds_say_so() -> None:
    variation = {0: 81.08, 1: 81.28, 2: 81.37}
    lsq = {0: 80.18, 1: 80.09, 2: 80.35}
    found = claim("p1-beats-lsq-2", runs({"fashion-variation-2": variation, "fashion-lsq-2": lsq}))
    assert found.verdict == HOLDS
    assert found.effect == pytest.approx(1.0367, abs=1e-4)
    assert found.shown.startswith("+1.04 points (+0.")
    assert found.needs_missing == ()
    assert len(found.run_ids) == 6
    assert found.how.startswith("variation-released/deit_pico/fashion/w2a2 minus lsq/")


def test_the_opposite_does_not_hold() -> None:
    better = {0: 82.0, 1: 82.1, 2: 82.2}
    frame = runs({"fashion-variation-2": {0: 80.0, 1: 80.2, 2: 80.2}, "fashion-lsq-2": better})
    assert claim("p1-beats-lsq-2", frame).verdict == NOT


def test_absent_cells_are_missing_with_the_command_that_runs_them() -> None:
    found = claim("p1-half-epochs", runs({"fashion-lsq-2": {0: 80.0, 1: 80.1, 2: 80.2}}))
    assert found.verdict == MISSING
    assert found.needs_missing == (
        "lowbit run --task fashion --model deit_pico --method variation --variant released "
        "--bits 2 --recipe epochs=6 --seed 0,1,2",
    )


def test_absent_seeds_are_asked_for_and_the_rest_is_used() -> None:
    frame = runs(
        {"fashion-variation-2": {0: 81.0, 1: 81.1}, "fashion-lsq-2": {0: 80.0, 1: 80.1, 2: 80.2}}
    )
    found = claim("p1-beats-lsq-2", frame)
    assert found.seeds == (0, 1)
    assert found.verdict == HOLDS
    assert [need.split("--seed ")[1] for need in found.needs_missing] == ["2"]


def test_a_model_that_is_not_built_is_named() -> None:
    found = claim("p1-swin-2bit-gain", runs({}), "paper")
    assert found.verdict == MISSING
    assert any("swin_tiny" in need for need in found.needs_missing)


def test_the_newest_run_counts_and_failed_ones_do_not() -> None:
    both = {"fashion-variation-2": {0: 1.0, 1: 1.0, 2: 1.0}, "fashion-lsq-2": {0: 0, 1: 0, 2: 0}}
    newer = {"fashion-variation-2": {0: 81.0, 1: 81.1, 2: 81.2}}
    failed = runs({"fashion-variation-2": {0: 5.0, 1: 5.0, 2: 5.0}}, status="failed")
    frame = pd.concat([runs(both), runs(newer), failed])
    assert claim("p1-beats-lsq-2", frame).effect == pytest.approx(81.1)


def test_runs_that_must_not_be_compared_leave_a_claim_undecided() -> None:
    one = runs({"fashion-variation-2": {0: 81.0, 1: 81.1, 2: 81.2}})
    two = runs({"fashion-lsq-2": {0: 80.0, 1: 80.1, 2: 80.2}}, torch="3.0")
    found = claim("p1-beats-lsq-2", pd.concat([one, two]))
    assert found.verdict == UNDECIDED
    assert "the major version of torch differs: 2 (" in found.how
    for lacking in ("data_digest", "evaluation"):
        bare = runs({"fashion-lsq-2": {0: 80.0, 1: 80.1, 2: 80.2}}, **{lacking: None})
        found = claim("p1-beats-lsq-2", pd.concat([one, bare]))
        assert (found.verdict, "nothing recorded" in found.how) == (UNDECIDED, True)
    minor = runs({"fashion-lsq-2": {0: 80.0, 1: 80.1, 2: 80.2}}, torch="2.15")
    assert claim("p1-beats-lsq-2", pd.concat([one, minor])).verdict == HOLDS


def test_a_metric_that_is_not_finite_is_said_to_be_missing() -> None:
    frame = runs({"fashion-variation-2": {0: float("nan")}, "fashion-lsq-2": {0: 80.0}})
    found = claim("p1-beats-lsq-2", frame)
    assert found.verdict == MISSING
    assert any("no finite top1" in need for need in found.needs_missing)


def test_the_macro_score_needs_every_task() -> None:
    names = ("glue-w8a8", "glue-fp32")
    frame = runs({n: dict.fromkeys(range(1000, 1005), 50.0) for n in names}, metric="m.accuracy")
    for other in ("m.matthews", "m.combined"):
        frame[other] = 30.0
    frame.loc[frame["cell"].str.contains('"fp32"'), ["m.matthews", "m.combined"]] = 90.0
    found = claim("p2-naive-loses", frame, "paper")
    assert found.effect == pytest.approx((4 * 60 + 4 * 0) / 8)
    without = frame[frame["task"] != "glue-rte"]
    assert claim("p2-naive-loses", without, "paper").verdict == MISSING


DIAGNOSIS = {
    "damage": {"": 0.45, "h": 0.385, "y": 0.35, "z": 0.46},
    "places": {
        "y0": {"outliers": 0.002, "by_dimension": {"1": 0.5, "2": 0.1}},
        "y1": {"outliers": 0.002, "by_dimension": {"1": 0.1, "2": 0.1}},
        "y2": {"outliers": 0.0, "by_dimension": {}},
    },
    "oscillation": {"share": 0.25},
}


def test_measures_read_the_diagnosis() -> None:
    row = {"diagnosis": json.dumps(DIAGNOSIS), "t.train_seconds": 3, "m.top1": 80.0}
    assert measure(row, "diagnosis.damage.y") == 0.35
    assert measure(row, "diagnosis.damage.") == 0.45
    assert measure(row, "others.y") == 0.385
    assert measure(row, "others.h") == 0.35
    assert measure(row, "diagnosis.oscillation.share") == 0.25
    assert measure(row, "concentration.y.400") == pytest.approx((0.75 + 0.25) / 2)
    assert measure(row, "t.train_seconds") == 3.0
    assert measure(row, "top1") == 80.0
    assert measure(row, "diagnosis.damage.nothing") is None
    assert measure({}, "others.y") is None
    assert measure({}, "concentration.y.400") is None


def test_what_a_row_does_not_hold_is_read_from_its_record(tmp_path: Path) -> None:
    path = tmp_path / "run.json"
    path.write_text(json.dumps({"diagnosis": DIAGNOSIS}))
    assert measure({"path": str(path)}, "diagnosis.damage.y") == 0.35
    assert measure({"path": str(tmp_path / "gone.json")}, "diagnosis.damage.y") is None


def test_the_share_at_16_bits_counts_activation_places() -> None:
    audit = {
        "places": {"a": {"bits": 16}, "b": {"bits": 8}, "c.weight_slot": {"bits": 16}},
        "full_precision": ["d", "e.weight_slot", "f"],
    }
    assert measure({"audit": json.dumps(audit)}, "share_at.16") == pytest.approx(1 / 4)
    assert measure({}, "share_at.16") is None


def test_the_place_that_hurts_most_is_found_in_the_diagnosis() -> None:
    frame = runs({"minilm-w8a8": dict.fromkeys(range(5), DIAGNOSIS)})
    found = claim("p2-residual-sums", frame)
    assert (found.verdict, found.effect) == (HOLDS, pytest.approx(0.035))


def test_published_numbers_decide_without_records() -> None:
    frame = runs({})
    assert claim("p1-above-ofq-swin-2", frame, "paper").verdict == NOT
    assert claim("p1-above-ofq-swin-2", frame, "paper").effect == pytest.approx(-0.86)
    assert claim("p1-above-ofq-swin-4", frame, "paper").verdict == HOLDS
    assert claim("p1-57-hours", frame, "paper").verdict == HOLDS
    assert claim("p2-memory", frame, "paper").verdict == HOLDS


def test_a_claim_that_nothing_here_can_make_says_why() -> None:
    found = claim("p1-binary-bert", runs({}))
    assert found.verdict == MISSING
    assert "no language code" in found.needs_missing[0]
    assert claim("p1-binary-bert", runs({}), "paper").verdict == MISSING


# The command


def test_the_command_prints_every_claim_and_what_is_missing(tmp_path: Path) -> None:
    done = CliRunner().invoke(app, ["claims", "--results", str(tmp_path)])
    assert done.exit_code == 0
    assert all(f"| {c.id} |" in done.stdout for c in all_claims())
    assert "- `lowbit run --task fashion --model deit_pico --method variation" in done.stdout


def test_the_first_line_counts_in_words() -> None:
    one = claims(SimpleNamespace(runs=runs({})), "paper")[0]
    assert counted([replace(one, verdict=v) for v in (HOLDS, HOLDS, NOT)]) == (
        "3 claims at paper scale: 2 hold, 1 does not hold, 0 undecided, 0 missing"
    )


def test_one_scale_and_one_paper_can_be_named(tmp_path: Path) -> None:
    words = ["claims", "--results", str(tmp_path), "--scale", "embedded", "--paper", "p2"]
    done = CliRunner().invoke(app, words)
    assert done.exit_code == 0
    assert "p2-adaround" in done.stdout
    assert "p1-" not in done.stdout
    assert "| paper |" not in done.stdout


def test_an_unknown_scale_or_paper_is_answered() -> None:
    found = claims(SimpleNamespace(runs=runs({})))
    with pytest.raises(UsageError, match="P1, P2"):
        told(found, "P3")
    from suite.claims.page import checked_scale

    with pytest.raises(UsageError, match="embedded, paper"):
        checked_scale("tiny")


def test_a_selector_without_bits_is_answered() -> None:
    bare = Selector(method="lsq", model="deit_pico", tasks=("fashion",), seeds=(0,))
    with pytest.raises(UsageError, match="w_bits"):
        bare.cells()
