"""Records together: intervals, paired differences, GLUE's macro score."""

from __future__ import annotations

import pytest

from suite.aggregate import glue, over_seeds, paired
from suite.cell import make_cell
from suite.results import Record


def record(method: str, seed: int, value: float, task: str = "fashion", **metrics: float) -> Record:
    bits = 32 if method == "fp32" else 2
    model = "deit_pico" if task == "fashion" else "bert_base"
    cell = make_cell(method=method, model=model, task=task, w_bits=bits, a_bits=bits, seed=seed)
    return Record(
        cell_id="c",
        run_id=f"r{seed}",
        cell=cell.delta(),
        status="done",
        started="",
        finished="",
        metrics={"top1": value, "top1_best": value, "loss": 1.0, "samples": 10000, **metrics},
        audit={} if method == "fp32" else {"places": {"p": {}}, "problems": []},
        provenance={"git": {"revision": "a", "dirty": False}},
    )


def test_one_seed_has_no_table() -> None:
    assert over_seeds([record("lsq", 0, 80.0)]) == []


def test_seeds_are_summed_up_once_each() -> None:
    runs = [record("lsq", 0, 80.0), record("lsq", 1, 82.0), record("lsq", 1, 84.0)]
    (text,) = over_seeds(runs)
    assert "| lsq/deit_pico/fashion/w2a2 | top1 | 2 | 82.00 |" in text
    assert "loss" not in text
    assert "top1_best" not in text


@pytest.mark.parametrize(
    ("differences", "verdict"),
    [((1.0, 1.1, 0.9), "higher"), ((-1.0, -1.1, -0.9), "lower"), ((1.0, -1.0, 0.5), "undecided")],
)
def test_methods_are_compared_seed_by_seed(differences: tuple[float, ...], verdict: str) -> None:
    """Seeds differ by far more than the methods do; the pairing takes that out."""
    level = (70.0, 80.0, 90.0)
    runs = [record("lsq", s, level[s]) for s in range(3)]
    runs += [record("variation", s, level[s] + differences[s]) for s in range(3)]
    (text,) = paired(runs[3:] + runs[:3])
    assert text.splitlines()[-1].endswith(f"| {verdict} |")
    assert "| variation/deit_pico/fashion/w2a2 | lsq/deit_pico/fashion/w2a2 | 3 |" in text


def test_other_bits_are_not_compared() -> None:
    runs = [record(m, s, 80.0 + s) for m in ("fp32", "lsq") for s in range(3)]
    assert paired(runs) == []


def test_glue_says_what_is_missing() -> None:
    (text,) = glue([record("fp32", 1000, 0.0, task="glue-rte", accuracy=65.0)])
    assert "fp32/bert_base/glue/fp32: needs glue-cola" in text
    assert "glue-rte" not in text.splitlines()[-1]
