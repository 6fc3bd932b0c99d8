"""Published numbers: every line is checked, what is wrong is named, what disagrees is told."""

from __future__ import annotations

import csv
from pathlib import Path

import pytest

from suite.cell import Cell, make_cell
from suite.contradictions import contradictions
from suite.errors import UsageError
from suite.names import FOLDER
from suite.published import COLUMNS, find, problems, published, read

LINE = {
    "paper": "A (1)",
    "table": "Table 1",
    "task": "classification",
    "dataset": "ImageNet-1K",
    "model": "DeiT-T",
    "method": "LSQ",
    "w_bits": "2",
    "a_bits": "2",
    "e_bits": "",
    "metric": "top1_acc",
    "value": "60.5",
    "source": "somewhere",
    "confidence": "primary",
}


def written(path: Path, *changes: dict[str, str], columns: tuple[str, ...] = COLUMNS) -> Path:
    with path.open("w", newline="", encoding="utf-8") as handle:
        writer = csv.DictWriter(handle, columns, extrasaction="ignore")
        writer.writeheader()
        writer.writerows({**LINE, **change} for change in changes)
    return path


def qat(model: str, bits: int, method: str = "variation", task: str = "imagenet") -> Cell:
    return make_cell(method=method, model=model, task=task, w_bits=bits, a_bits=bits)


def test_every_shipped_line_is_taken() -> None:
    with (FOLDER / "results.csv").open(encoding="utf-8") as handle:
        lines = sum(1 for _ in csv.reader(handle)) - 1
    assert problems() == ()
    assert len(published()) == lines > 500


def test_a_missing_column_is_one_sentence(tmp_path: Path) -> None:
    columns = tuple(c for c in COLUMNS if c != "source")
    with pytest.raises(UsageError, match=r"lack the column source; needed: paper, table"):
        read(written(tmp_path / "results.csv", {}, columns=columns))


def test_a_missing_file_is_one_sentence(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"none\.csv cannot be read"):
        read(tmp_path / "none.csv")


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"value": "sixty"}, "its value 'sixty' is not a number"),
        ({"value": "nan"}, "its value 'nan' is not finite"),
        ({"confidence": "certain"}, "its confidence 'certain' is neither primary nor secondary"),
        ({"metric": " "}, "its metric is empty"),
    ],
)
def test_a_bad_line_is_left_out_and_named(
    tmp_path: Path, change: dict[str, str], words: str
) -> None:
    loaded = read(written(tmp_path / "results.csv", {}, change, {"w_bits": "3"}))
    assert [value.w_bits for value in loaded.values] == [2, 3]
    (problem,) = loaded.problems
    assert f"line 3: {words}" in problem


def test_a_line_with_a_field_too_many_is_named(tmp_path: Path) -> None:
    path = written(tmp_path / "results.csv", {}, {})
    path.write_text(path.read_text().rstrip("\n") + ",more\n")
    loaded = read(path)
    assert len(loaded.values) == 1
    assert "more or fewer fields" in loaded.problems[0]


def test_mixed_bit_widths_stay_text(tmp_path: Path) -> None:
    (value,) = read(written(tmp_path / "results.csv", {"a_bits": "8/16"})).values
    assert (value.w_bits, value.a_bits, value.e_bits) == (2, "8/16", None)


@pytest.mark.parametrize(("printed", "half"), [("60.50", 0.005), ("60.5", 0.05), ("72", 0.5)])
def test_half_a_unit_follows_the_printed_digits(tmp_path: Path, printed: str, half: float) -> None:
    (value,) = read(written(tmp_path / "results.csv", {"value": printed})).values
    assert value.half_unit == pytest.approx(half)


def test_pairs_that_agree_and_pairs_that_do_not_are_told_apart_and_stay(tmp_path: Path) -> None:
    path = written(
        tmp_path / "results.csv", {}, {"value": "60.46", "table": "Table 2"}, {"value": "61"}
    )
    values = read(path).values
    found = contradictions(values)
    assert [clash.kind for clash in found] == ["duplicate", "duplicate"]
    assert [c.kind for c in contradictions([values[1], values[0]])] == ["duplicate"]
    (apart,) = contradictions(read(written(path, {}, {"value": "60.7"})).values)
    assert apart.kind == "contradiction"
    assert "60.5 (A (1), Table 1: LSQ 2-2, DeiT-T classification top1_acc, primary)" in str(apart)
    assert len(values) == 3


def test_contradictions_are_found_through_spellings() -> None:
    """Q-ViT's README prints 79.1 for DeiT-S at 3 bits, the book 79.0 under another name."""
    pairs = {(c.first.printed, c.second.printed) for c in contradictions() if c.kind != "duplicate"}
    assert ("79.1", "79.0") in pairs


@pytest.mark.parametrize(
    ("model", "bits", "when"),
    [
        ("DeiT-T", 4, "best"),
        ("DeiT-T", 3, "last"),
        ("DeiT-T", 2, "both"),
        ("SReT-T", 4, "best"),
        ("Swin-T", 4, "last"),
        ("SReT-T", 3, ""),
    ],
)
def test_the_authors_log_tells_which_epoch_a_number_is(model: str, bits: int, when: str) -> None:
    (value,) = [
        v
        for v in published()
        if (v.table, v.model, v.w_bits) == ("README Models table", model, bits)
        and v.method.startswith("Ours")
    ]
    assert value.when == when


def test_an_average_carries_its_rule() -> None:
    rules = {(v.paper, v.method): v.average_rule for v in published() if v.metric == "glue_avg"}
    assert "eight columns" in rules["BiT (2205.13016)", "BiT"]
    assert "nine columns" in rules["BiBERT (as quoted by BiT README)", "BiBERT"]


def test_a_cell_finds_its_own_number() -> None:
    found = find(qat("deit_tiny", 2))
    assert found is not None
    assert (found.value, found.confidence) == (59.73, "primary")
    rte = find(qat("bert_base", 8, "minmax_ptq", "glue-rte"))
    assert rte is not None
    assert rte.value == 64.98


def test_a_distilled_model_does_not_take_the_plain_ones_number() -> None:
    for model, own in (("deit_tiny", 73.75), ("deit_tiny_distilled", 74.5)):
        found = find(qat(model, 32, "fp32"))
        assert found is not None
        assert found.value == own
    assert find(qat("deit_tiny_distilled", 2, "variation")) is None
    assert find(qat("deit_tiny_distilled", 4, "qvit")) is not None


def test_an_embedded_cell_finds_its_nearest_and_an_unknown_one_nothing() -> None:
    nearest = find(qat("deit_pico", 2, task="fashion"))
    assert nearest is not None
    assert nearest.model == "DeiT-T"
    assert find(qat("deit_pico", 7, task="fashion")) is None
    assert find(qat("bert_base", 8, "minmax_ptq", "agreement")) is None
