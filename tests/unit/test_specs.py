"""Specs: every shipped one loads, and a bad one is answered with what is valid."""

from __future__ import annotations

from pathlib import Path

import pytest

from suite.errors import UsageError
from suite.registry import METHODS
from suite.report.expected import expected
from suite.report.spec import Select
from suite.report.specs import FOLDER, load, load_all

GOOD = """
id = "mine"
title = "Mine"
paper = "P1"
labels = ["method"]
select = { task = "fashion", model = "deit_pico" }

[[column]]
title = ["top-1"]
metric = "top1"

[[row]]
label = "LSQ"
select = { method = "lsq", w_bits = 2, a_bits = 2 }
"""

PROMISED = {
    *("p1-imagenet", "p1-glue", "p1-cost", "p1-memory", "p1-ablation", "p1-sensitivity"),
    *("p2-table1", "p2-leave-one-out", "p2-mp", "p2-peg", "p2-ptq", "p2-lowbit"),
    *("bit-glue", "bit-glue-da", "qvit-models", "qvit-ablation", "ofq-models", "binarybert"),
    *("fashion", "fashion-ablation", "fashion-sensitivity", "snippets", "snippets-binary"),
    *("agreement", "agreement-peg", "agreement-leave-one-out"),
}


def spec(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "mine.toml"
    path.write_text(text)
    return path


def test_every_shipped_spec_loads() -> None:
    specs, problems = load_all()
    assert problems == []
    assert {one.id for one in specs} >= PROMISED


def test_a_shipped_spec_is_named_after_its_id() -> None:
    assert {one.id for one in load_all()[0]} == {path.stem for path in FOLDER.glob("*.toml")}


def test_embedded_tables_say_so() -> None:
    scale = {one.id: one.scale for one in load_all()[0]}
    embedded = {name for name, value in scale.items() if value == "embedded"}
    assert embedded == {n for n in scale if n.startswith(("fashion", "snippets", "agreement"))}


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ('method = "lsq"', 'method = "lsqq"', "Unknown method 'lsqq'. Did you mean 'lsq'?"),
        ('"deit_pico"', '"deit_piko"', "Unknown model 'deit_piko'. Did you mean 'deit_pico'?"),
        ('task = "fashion"', 'task = "fasion"', "Unknown task 'fasion'. Did you mean 'fashion'?"),
        ('metric = "top1"', 'metric = "top11"', "Unknown metric 'top11'. Did you mean 'top1'?"),
        (
            'metric = "top1"',
            'metric = "time.epoch_second_median"',
            "Did you mean 'time.epoch_seconds_median'?",
        ),
        (
            'metric = "top1"',
            'metric = "recipe.epoch"',
            "Unknown metric 'recipe.epoch'. Did you mean 'recipe.epochs'?",
        ),
        (
            "[[column]]",
            "[[colum]]",
            "Unknown spec field 'colum'. Did you mean 'column'?",
        ),
        (
            "w_bits = 2",
            "wbits = 2",
            "Unknown spec's row's select field 'wbits'. Did you mean 'w_bits'?",
        ),
        ("w_bits = 2", 'w_bits = "two"', "'w_bits' cannot be 'two'"),
        ('labels = ["method"]', 'labels = ["method", "bits"]', "has 0 words for the 1 text column"),
        ('paper = "P1"', 'paper = "P1"\ncompare = "LQS"', "Unknown row 'LQS'. Did you mean 'LSQ'?"),
        ('label = "LSQ"', 'label = "LSQ"\ncompare = "LQS"', "Unknown row 'LQS'."),
        ('paper = "P1"', 'paper = "P1"\npublished = { paper = "P3" }', "Unknown paper 'P3'"),
        ('id = "mine"', 'id = "../mine"', "'id' cannot be '../mine'"),
        ('id = "mine"', "id = ", "cannot be read"),
        ('id = "mine"', 'id = "mine"\nlike = "nothing-there"', "nothing-there.toml cannot be read"),
    ],
)
def test_a_bad_spec_is_one_sentence_with_the_file(
    tmp_path: Path, old: str, new: str, words: str
) -> None:
    with pytest.raises(UsageError) as caught:
        load(spec(tmp_path, GOOD.replace(old, new)))
    assert words in str(caught.value)
    assert ".toml" in str(caught.value)


def test_one_bad_spec_does_not_hide_the_others(tmp_path: Path) -> None:
    spec(tmp_path, GOOD)
    (tmp_path / "bad.toml").write_text(GOOD.replace("top1", "top11"))
    (tmp_path / "twice.toml").write_text(GOOD)
    specs, problems = load_all(tmp_path)
    assert [one.id for one in specs] == ["mine"]
    assert len(problems) == 2
    assert "bad.toml" in problems[0]
    assert "has the id 'mine' of another one" in problems[1]


def test_a_method_that_tables_know_but_nobody_built_can_be_named(tmp_path: Path) -> None:
    """OFQ has published rows; its cells show as not runnable until it is registered."""
    assert load(spec(tmp_path, GOOD.replace('"lsq"', '"bibert"'))).row[0].select.method == "bibert"
    found = expected(
        Select(method="bibert", model="bert_base", task="glue-rte", w_bits=1, a_bits=1)
    )
    assert "bibert" not in METHODS.names()
    assert found.why == "the method bibert is not part of this suite"


@pytest.mark.parametrize(
    ("select", "why"),
    [
        (Select(method="lsq", model="deit_pico", task="fashion", w_bits=2, a_bits=2), ""),
        (
            Select(method="lsq", model="deit_pico", task="fashion", w_bits=1, a_bits=1),
            "the grid has no 1-bit weights for lsq",
        ),
        (
            Select(method="lsq", model="bert_base", task="glue-rte", w_bits=2, a_bits=2),
            "the grid has no lsq on bert_base",
        ),
        (Select(method="range_qat", model="bert_base", task="glue-rte", w_bits=4, a_bits=32), ""),
    ],
)
def test_the_grid_tells_what_can_be_run(select: Select, why: str) -> None:
    assert expected(select).why == why


def test_a_row_takes_over_what_another_spec_has(tmp_path: Path) -> None:
    spec(tmp_path, GOOD)
    other = tmp_path / "other.toml"
    other.write_text(
        'id = "other"\ntitle = "O"\npaper = "P1"\nlike = "mine"\n[[row]]\nlabel = "x"\n'
    )
    found = load(other)
    assert found.column == load(tmp_path / "mine.toml").column
    assert found.title == "O"


def test_the_documents_show_every_table() -> None:
    shown = {path.stem for path in (FOLDER.parents[1] / "docs" / "tables").glob("*.md")}
    assert shown == {one.id for one in load_all()[0]} | {"README"}
