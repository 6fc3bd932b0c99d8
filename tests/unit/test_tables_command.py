"""`lowbit tables`: from records to files, with what is wrong named and the rest shown."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from suite.cli import app
from suite.errors import UsageError
from suite.measuring.records import Measurement, write
from suite.registry import METHODS
from suite.results import Store
from tests.table_records import PROVENANCE, cell, fashion, record, whole, with_bitmap

NASTY = "a_b$^~%#&|*`<script>alert(1)</script>"

SPEC = """
id = "mine"
title = "Mine"
paper = "P1"
scale = "embedded"
labels = ["method"]
select = { task = "fashion", model = "deit_pico" }
published = { paper = "P1" }
compare = "LSQ"

[[column]]
title = ["top-1"]
metric = "top1"

[[row]]
label = "LSQ"
select = { method = "lsq", w_bits = 2, a_bits = 2 }

[[row]]
label = "ours"
select = { method = "variation", w_bits = 2, a_bits = 2 }
"""


def lowbit(out: Path, *arguments: str) -> Result:
    return CliRunner().invoke(app, ["tables", "--out", str(out), *arguments])


def lines(path: Path) -> list[dict[str, str]]:
    with path.open(newline="", encoding="utf-8") as handle:
        return list(csv.DictReader(handle))


def entries(out: Path, table: str, row: str) -> list[dict[str, str]]:
    return [line for line in lines(out / f"{table}.csv") if line["row"] == row]


@pytest.fixture
def results(tmp_path: Path) -> Path:
    fashion(tmp_path / "results")
    return tmp_path / "results"


@pytest.fixture
def specs(tmp_path: Path) -> Path:
    folder = tmp_path / "specs"
    folder.mkdir()
    (folder / "mine.toml").write_text(SPEC)
    return folder


def test_every_spec_comes_in_four_formats_twice_the_same(results: Path, tmp_path: Path) -> None:
    first, second = tmp_path / "first", tmp_path / "second"
    done = lowbit(first, "--results", str(results))
    assert done.exit_code == 0, done.output
    lowbit(second, "--results", str(results))
    written = sorted(path.name for path in first.iterdir())
    assert written == sorted(path.name for path in second.iterdir())
    assert all((first / n).read_bytes() == (second / n).read_bytes() for n in written)
    for name in ("p1-imagenet", "p2-table1", "fashion", "agreement"):
        assert {f"{name}.{ending}" for ending in ("md", "tex", "csv", "html")} <= {*written}


def test_means_intervals_and_the_nearest_published_number_are_there(
    results: Path, tmp_path: Path
) -> None:
    lowbit(tmp_path / "out", "--results", str(results), "--only", "fashion")
    two = [e for e in entries(tmp_path / "out", "fashion", "LSQ") if e["block"] == "W2A2"]
    assert (two[0]["value"], two[0]["runs"]) == ("80.1", "3")
    assert float(two[0]["low"]) == pytest.approx(80.1 - 0.248414, abs=1e-4)
    ours = entries(tmp_path / "out", "fashion", "variation-aware, released")[-5]
    assert (ours["published"], ours["verdict"]) == ("59.73", "not comparable")
    assert ours["difference"] == ""
    assert ours["best"] == "yes"


def test_three_marks_are_told_apart(results: Path, tmp_path: Path) -> None:
    lowbit(tmp_path / "out", "--results", str(results), "--only", "p1-imagenet")
    text = (tmp_path / "out" / "p1-imagenet.md").read_text()
    for words in ("– not run yet", "× cannot be run", "∅ no published value"):
        assert words in text
    marks = {(e["row"], e["mark"]) for e in lines(tmp_path / "out" / "p1-imagenet.csv")}
    assert ("LSQ", "not run") in marks
    assert "the method" in text


def test_rows_are_compared_in_pairs(results: Path, specs: Path, tmp_path: Path) -> None:
    lowbit(tmp_path / "out", "--results", str(results), "--specs", str(specs))
    text = (tmp_path / "out" / "mine.md").read_text()
    assert "ours minus LSQ, top-1: +1.07 (" in text
    assert "paired t, 3 seeds" in text


def test_a_row_can_name_what_it_is_compared_with(results: Path, tmp_path: Path) -> None:
    row = SPEC.partition("[[row]]")[2].partition("[[row]]")[0]
    row = "[[row]]" + row.replace('"LSQ"', '"again"\ncompare = "ours"')
    (tmp_path / "own").mkdir()
    (tmp_path / "own" / "mine.toml").write_text(f"{SPEC}\n{row}")
    lowbit(tmp_path / "out", "--results", str(results), "--specs", str(tmp_path / "own"))
    text = (tmp_path / "out" / "mine.md").read_text()
    assert "again minus ours, top-1: -1.07 (" in text
    assert "again minus LSQ" not in text
    assert "ours minus LSQ, top-1: +1.07 (" in text


def test_one_seed_is_compared_sample_by_sample(specs: Path, tmp_path: Path) -> None:
    store = Store(tmp_path / "one")
    with_bitmap(store, cell("lsq", 2), 1, right=60)
    with_bitmap(store, cell("variation", 2), 2, right=72)
    lowbit(tmp_path / "out", "--results", str(store.root), "--specs", str(specs))
    text = (tmp_path / "out" / "mine.md").read_text()
    assert "ours minus LSQ, top-1: +12.00 (" in text
    assert "McNemar, exact, 100 samples" in text


def test_only_the_newest_run_of_a_cell_counts(specs: Path, tmp_path: Path) -> None:
    store = Store(tmp_path / "r")
    store.write(record(cell("lsq", 2), 1, metrics={"top1": 10.0, "samples": 100.0}))
    store.write(record(cell("lsq", 2), 2, metrics={"top1": 70.0, "samples": 100.0}))
    lowbit(tmp_path / "out", "--results", str(store.root), "--specs", str(specs))
    (entry,) = entries(tmp_path / "out", "mine", "LSQ")
    assert (entry["value"], entry["run_ids"]) == ("70", "20260101T000002-00000002")


def test_a_run_by_another_recipe_is_not_averaged(specs: Path, tmp_path: Path) -> None:
    store = Store(tmp_path / "r")
    store.write(record(cell("lsq", 2), 1))
    store.write(record(cell("lsq", 2, seed=1, recipe={"epochs": 1}), 2))
    lowbit(tmp_path / "out", "--results", str(store.root), "--specs", str(specs))
    assert entries(tmp_path / "out", "mine", "LSQ")[0]["runs"] == "1"


def test_a_failed_cell_is_not_run_and_says_why(specs: Path, tmp_path: Path) -> None:
    store = Store(tmp_path / "r")
    error = {"type": "GateClosed", "message": "too bad"}
    store.write(record(cell("lsq", 2), 1, status="failed", metrics={}, error=error))
    lowbit(tmp_path / "out", "--results", str(store.root), "--specs", str(specs))
    (entry,) = entries(tmp_path / "out", "mine", "LSQ")
    assert entry["mark"] == "not run"
    assert "Tried and failed (GateClosed)" in entry["notes"]


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"provenance": {**PROVENANCE, "data": {"train": "other"}}}, "the data digest of fashion"),
        ({"provenance": {**PROVENANCE, "data": None}}, "and nothing recorded (run"),
        ({"protocol": {}}, "and nothing recorded (run"),
        (
            {"protocol": {"evaluation": {"crop": 32}}},
            "evaluation transform of deit_pico on fashion",
        ),
        (
            {"provenance": {**PROVENANCE, "packages": {"torch": "3.0.0"}}},
            "the major version of torch differs: 2 (2 runs, like",
        ),
    ],
)
def test_records_that_must_not_be_mixed_are_refused_unless_asked_for(
    specs: Path, tmp_path: Path, changes: dict[str, Any], words: str
) -> None:
    store = Store(tmp_path / "r")
    for seed in range(3):
        extra = changes if seed == 2 else {}
        store.write(record(cell("lsq", 2, seed), seed, **extra))
    one = ["--results", str(store.root), "--specs", str(specs)]
    done = lowbit(tmp_path / "out", *one)
    assert done.exit_code == 1
    assert words in done.output
    assert "--mix" in (tmp_path / "out" / "mine.md").read_text()
    assert lines(tmp_path / "out" / "mine.csv") == []
    assert lowbit(tmp_path / "out", *one, "--mix").exit_code == 0
    note = next(x for x in (tmp_path / "out" / "mine.md").read_text().splitlines() if "Mixed" in x)
    assert words in note


def test_minor_versions_may_be_mixed(specs: Path, tmp_path: Path) -> None:
    store = Store(tmp_path / "r")
    newer = {**PROVENANCE, "packages": {"torch": "2.15.0"}}
    store.write(record(cell("lsq", 2, 0), 0))
    store.write(record(cell("lsq", 2, 1), 1, provenance=newer))
    done = lowbit(tmp_path / "out", "--results", str(store.root), "--specs", str(specs))
    assert done.exit_code == 0, done.output
    assert "torch 2.14, 2.15" in (tmp_path / "out" / "mine.md").read_text()


def test_an_empty_folder_is_named_and_tables_are_written(specs: Path, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    done = lowbit(tmp_path / "out", "--results", str(tmp_path / "empty"), "--specs", str(specs))
    assert done.exit_code == 1
    assert "empty" in done.output
    assert entries(tmp_path / "out", "mine", "LSQ")[0]["mark"] == "not run"


def test_a_metric_that_is_not_finite_is_named_and_the_rest_shown(
    results: Path, specs: Path, tmp_path: Path
) -> None:
    made = record(cell("lsq", 2, 1), 50)
    path = Store(results).write(made)
    content = json.loads(path.read_text())
    content["metrics"]["top1"] = None
    path.write_text(json.dumps(content))
    done = lowbit(tmp_path / "out", "--results", str(results), "--specs", str(specs))
    assert done.exit_code == 1
    assert "1 run of lsq/deit_pico/fashion/w2a2" in done.output
    assert "whose top1 is not finite; left out" in done.output
    assert entries(tmp_path / "out", "mine", "LSQ")[0]["runs"] == "2"
    assert entries(tmp_path / "out", "mine", "ours")[0]["runs"] == "3"


def test_a_record_without_the_metric_is_noted(specs: Path, tmp_path: Path) -> None:
    store = Store(tmp_path / "r")
    store.write(record(cell("lsq", 2), 1, metrics={"samples": 100.0}))
    lowbit(tmp_path / "out", "--results", str(store.root), "--specs", str(specs))
    (entry,) = entries(tmp_path / "out", "mine", "LSQ")
    assert entry["mark"] == "not run"
    assert "1 run of lsq/deit_pico/fashion/w2a2" in entry["notes"]
    assert "without top1." in entry["notes"]


def test_a_nasty_method_name_goes_through_every_format(
    specs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(METHODS, "_entries", {**METHODS._entries, NASTY: "nowhere:METHOD"})
    (specs / "mine.toml").write_text(
        SPEC.replace('label = "ours"', f"label = '''{NASTY}'''").replace(
            '"variation"', f"'''{NASTY}'''"
        )
    )
    done = lowbit(
        tmp_path / "out", "--results", str(fashion(tmp_path / "r").root), "--specs", str(specs)
    )
    assert done.exit_code == 0, done.output
    assert entries(tmp_path / "out", "mine", NASTY)[0]["mark"] == "cannot run"
    for ending in ("md", "html"):
        assert "<script>" not in (tmp_path / "out" / f"mine.{ending}").read_text()
    assert r"a\_b\$\textasciicircum{}" in (tmp_path / "out" / "mine.tex").read_text()


def test_a_spec_with_an_unknown_name_is_named_and_the_others_are_written(
    results: Path, specs: Path, tmp_path: Path
) -> None:
    (specs / "bad.toml").write_text(SPEC.replace('"variation"', '"variatoin"'))
    done = lowbit(tmp_path / "out", "--results", str(results), "--specs", str(specs))
    assert done.exit_code == 1
    assert "Unknown method 'variatoin'. Did you mean 'variation'?" in done.output
    assert (tmp_path / "out" / "mine.md").is_file()


def test_a_broken_results_csv_is_named_and_tables_are_written_without_it(
    results: Path, specs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken() -> None:
        raise UsageError("The published numbers x.csv lack the column value.")

    monkeypatch.setattr("suite.published._shipped", broken)
    done = lowbit(tmp_path / "out", "--results", str(results), "--specs", str(specs))
    assert done.exit_code == 1
    assert "lack the column value" in done.output
    (entry,) = entries(tmp_path / "out", "mine", "ours")
    assert (float(entry["value"]), entry["published"]) == (pytest.approx(81.166667), "")


def test_an_embedded_cell_shows_a_published_number_only_beside_its_own(
    results: Path, tmp_path: Path
) -> None:
    lowbit(tmp_path / "out", "--results", str(results), "--only", "fashion")
    rows = lines(tmp_path / "out" / "fashion.csv")
    assert {e["mark"] for e in rows if e["published"]} == {""}
    assert not any(e["published_mark"] for e in rows)


def test_measurements_fill_the_memory_table(tmp_path: Path) -> None:
    for number, (method, ratio) in enumerate((("fp32", 1.0), ("lsq", 1.5), ("lsq", 1.4))):
        bits = 32 if method == "fp32" else 4
        write(
            Measurement(
                measurement_id=f"20260101T00000{number}-00000000",
                session="s",
                name=method,
                cell=cell(method, bits, task="imagenet").delta(),
                phase="last",
                conditions={},
                made_of={},
                started="2026-01-01T00:00:00",
                finished="2026-01-01T00:00:01",
                time={"epoch_seconds_median": 7200.0 * ratio, "ratio": ratio},
                memory={"cpu_rss": 953.674, "ratio.cpu_rss": ratio},
                provenance=PROVENANCE,
            ),
            tmp_path,
        )
    done = lowbit(tmp_path / "out", "--results", str(tmp_path), "--only", "p1-memory")
    found = entries(tmp_path / "out", "p1-memory", "LSQ")
    tiny = [e["value"] for e in found if e["block"] == "DeiT-T" and e["words"] == "W4A4"]
    assert tiny == ["1", "1.4", "2.8", "1.4"], done.output


def test_an_unknown_table_is_answered_with_the_known_ones(results: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"Unknown table 'fasion'\. Did you mean 'fashion'\?"):
        CliRunner().invoke(
            app,
            ["tables", "--out", str(tmp_path), "--results", str(results), "--only", "fasion"],
            catch_exceptions=False,
        )


def test_a_reproduced_number_is_called_so(tmp_path: Path) -> None:
    """DeiT-T at 2 bits by the archive's labels: 59.73 published, tolerance 0.25."""
    store = Store(tmp_path / "r")
    for seed, top1 in enumerate((59.70, 59.72, 59.71)):
        one = cell("variation", 2, seed, task="imagenet")
        metrics = {"top1": top1, "top1_best": top1 + 1, "samples": 50000.0}
        store.write(whole(one, seed, metrics=metrics))
    lowbit(tmp_path / "out", "--results", str(store.root), "--only", "p1-imagenet")
    ours = entries(tmp_path / "out", "p1-imagenet", "variation-aware")
    two = next(e for e in ours if e["block"] == "W2A2" and e["column"].endswith("DeiT-T"))
    assert (two["verdict"], two["difference"]) == ("reproduced", "-0.02")


def test_the_published_epoch_decides_which_measured_one_is_compared(tmp_path: Path) -> None:
    """At 4 bits the README prints the best epoch, at 3 bits the last."""
    store = Store(tmp_path / "r")
    for number, (bits, last, best) in enumerate(((4, 70.0, 74.7), (3, 71.2, 79.0))):
        metrics = {"top1": last, "top1_best": best, "samples": 50000.0}
        store.write(whole(cell("variation", bits, task="imagenet"), number, metrics=metrics))
    lowbit(tmp_path / "out", "--results", str(store.root), "--only", "p1-imagenet")
    ours = entries(tmp_path / "out", "p1-imagenet", "variation-aware")
    found = {e["block"]: e for e in ours if e["column"].endswith("DeiT-T")}
    assert (found["W4A4"]["value"], found["W3A3"]["value"]) == ("74.7", "71.2")
    assert {found["W4A4"]["verdict"], found["W3A3"]["verdict"]} == {"reproduced"}
    assert "best epoch's; the measured one is, too" in found["W4A4"]["notes"]


def test_another_recipe_in_the_protocol_is_not_comparable(tmp_path: Path) -> None:
    store = Store(tmp_path / "r")
    made = record(cell("variation", 2, task="imagenet"), 1, protocol={"edge_bits": 2})
    store.write(made)
    lowbit(tmp_path / "out", "--results", str(store.root), "--only", "p1-imagenet")
    ours = entries(tmp_path / "out", "p1-imagenet", "variation-aware")
    two = next(e for e in ours if e["block"] == "W2A2" and e["column"].endswith("DeiT-T"))
    assert two["verdict"] == "not comparable"
    assert "protocol.edge_bits: 8 published, 2 here" in two["notes"]


def test_glues_macro_score_needs_all_tasks(tmp_path: Path) -> None:
    store = Store(tmp_path / "r")
    from suite.tasks.text_metrics import COLUMNS

    for number, (task, metric) in enumerate(COLUMNS.items()):
        one = cell("minmax_ptq", 8, 1000, task=task)
        store.write(record(one, number, metrics={metric: 60.0 + number, "samples": 10.0}))
        out = tmp_path / f"out{number}"
        lowbit(out, "--results", str(store.root), "--only", "p2-table1", "--mix")
        score = entries(out, "p2-table1", "W8A8")[-1]
        whole = number == len(COLUMNS) - 1
        assert (score["value"], score["mark"]) == (("63.5", "") if whole else ("", "not run"))
    assert "unweighted mean of 8 columns" in score["notes"]
