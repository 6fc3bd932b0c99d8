"""Third parties' runs of published methods stand beside the published numbers, never for them."""

from __future__ import annotations

import csv
from pathlib import Path

import pytest
from typer.testing import CliRunner

from suite.cell import make_cell
from suite.cli import app
from suite.errors import UsageError
from suite.names import FOLDER
from suite.published import COLUMNS, candidates, published
from suite.report.build import build_all
from suite.report.specs import load_all
from suite.reproductions import MORE, of, original, problems, read, reproductions

PATH = FOLDER / "reproductions.csv"


def lines() -> list[dict[str, str]]:
    with PATH.open(newline="", encoding="utf-8") as handle:
        return list(csv.DictReader(handle))


def test_every_line_is_taken_and_names_a_paper() -> None:
    assert problems() == ()
    assert len(reproductions()) == len(lines()) == 20
    assert all(one.reproduces and one.remark and one.value.source for one in reproductions())


def test_a_bad_line_is_left_out_and_named(tmp_path: Path) -> None:
    path = tmp_path / "reproductions.csv"
    with path.open("w", newline="", encoding="utf-8") as handle:
        writer = csv.DictWriter(handle, (*COLUMNS, *MORE))
        writer.writeheader()
        writer.writerows([lines()[0], {**lines()[0], "value": "62+"}])
    found = read(path)
    assert len(found.values) == 1
    assert "line 3: its value '62+' is not a number" in found.problems[0]


def test_a_missing_column_is_one_sentence(tmp_path: Path) -> None:
    path = tmp_path / "reproductions.csv"
    path.write_text(",".join(COLUMNS) + "\n")
    with pytest.raises(UsageError, match="lack the columns reproduces, remark"):
        read(path)


@pytest.mark.parametrize(
    ("model", "method", "metric", "theirs", "own"),
    [
        ("DeiT-T", "Q-ViT", "top1_acc", "66.3", "74.3"),
        ("DeiT-T", "Q-ViT", "top5_acc", "86.9", "91.6"),
        ("DeiT-T", "OFQ", "top1_acc", "62", "64.33"),
        ("BERT-base", "PTQ W8A8 per-tensor", "acc", "54.33", "52.32"),
    ],
)
def test_each_finds_the_number_that_was_run_again(
    model: str, method: str, metric: str, theirs: str, own: str
) -> None:
    (one,) = (
        r
        for r in reproductions()
        if (r.value.model, r.value.method, r.value.metric) == (model, method, metric)
    )
    found = original(one)
    assert found is not None
    assert (one.value.printed, found.printed) == (theirs, own)
    assert one in of(found)


def test_a_run_without_augmented_data_is_not_set_beside_one_with_it() -> None:
    augmented = [v for v in published() if v.table.startswith("README GLUE (2)")]
    assert augmented
    assert not any(of(value) for value in augmented)


def test_none_is_ever_the_published_value() -> None:
    sources = {one.value.source for one in reproductions()}
    own = {v.source for v in published() if v.metric != "mcc_drop"}
    assert not sources & own
    cell = make_cell(
        method="qvit", model="deit_tiny_distilled", task="imagenet", w_bits=4, a_bits=4
    )
    assert [value.printed for value in candidates(cell)] == ["74.3"]


def test_tables_have_them_as_notes_and_the_errata_as_a_table(tmp_path: Path) -> None:
    from suite.collect import collect

    specs, _ = load_all()
    (tmp_path / "records").mkdir()
    (table,) = build_all([s for s in specs if s.id == "qvit-models"], collect([tmp_path]))
    assert any("A third party got 66.3" in note.text for note in table.notes)
    done = CliRunner().invoke(app, ["errata", "--results", str(tmp_path)])
    assert "| 74.3 | 66.3 | -8.0 |" in done.stdout
    assert "no verdict is judged against them" in done.stdout


def test_the_report_has_them_in_a_table(tmp_path: Path) -> None:
    out = tmp_path / "report.html"
    (tmp_path / "records").mkdir()
    CliRunner().invoke(app, ["report", "--results", str(tmp_path), "--out", str(out)])
    text = out.read_text()
    assert "Third parties’ reproductions" in text
    assert '<td class="word">66.3</td>' in text
