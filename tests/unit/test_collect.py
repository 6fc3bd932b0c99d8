"""Records of many folders: as one table, merged, compacted, and what is left out."""

from __future__ import annotations

import json
import math
import os
import shutil
from importlib import import_module
from pathlib import Path

import pandas as pd
import pytest
from typer.testing import CliRunner, Result

from suite.cli import app
from suite.collect import collect, compact, newest
from suite.errors import UsageError
from suite.store import folder
from suite.store.compacted import COMPACTED
from suite.store.frame import schema, table
from suite.store.parse import _pool
from tests.unit.many_files import cell, edited, record, run_id, write

LONG_AGO = 1_700_000_000_000_000_000


def settled(results: Path) -> None:
    """Let the folders of records look as if nothing had changed for long."""
    for path in (results / "records").iterdir():
        os.utime(path, ns=(LONG_AGO, LONG_AGO))


def kinds(found) -> list[tuple[str, str]]:
    return [(one.kind, one.path.name) for one in found.left_out]


def test_a_row_holds_what_the_record_does(tmp_path: Path) -> None:
    one = cell(seed=3, variant="", settings={"edge_bits": 4}, recipe={"epochs": 12})
    [path] = write(tmp_path, record(1, one))
    found = collect([tmp_path])
    assert found.whole
    [row] = found.runs.to_dict("records")
    assert (row["cell_id"], row["run_id"], row["status"]) == (one.id(1), run_id(1), "done")
    assert (row["configuration"], row["label"]) == (one.configuration, one.label)
    assert (row["w_bits"], row["a_bits"], row["seed"]) == (2, 2, 3)
    assert math.isnan(row["e_bits"])
    assert row["settings"] == '{"edge_bits":4}'
    assert row["recipe"] == '{"epochs":12}'
    assert row["cell"] == one.to_json()
    assert (row["m.top1"], row["t.epoch_seconds_median"], row["mem.cpu_rss"]) == (81.0, 3.5, 900.0)
    assert row["needs.fp32"] == "20261124T220000-00000000"
    assert row["evaluation"] == '{"crop":28}'
    assert json.loads(row["audited"]) == {"places": 1, "full_precision": ["norm"], "problems": []}
    assert (row["torch"], row["timm"], row["transformers"]) == ("2.14", "1.0", "5.23")
    assert row["hardware"] == "AMD EPYC, 2 cores"
    assert row["data_digest"] == '{"train":"19f3","validation":"3021"}'
    assert (row["path"], row["folder"]) == (str(path), str(tmp_path))
    assert not {"audit", "diagnosis", "history", "digest"} & set(row)
    assert "secret-name" not in str(row)


def test_large_parts_come_when_they_are_asked_for(tmp_path: Path) -> None:
    write(tmp_path, record(1))
    compact([tmp_path], tmp_path)
    write(tmp_path, record(2))
    runs = collect([tmp_path], heavy=("history",)).runs
    assert [json.loads(text) for text in runs["history"]] == [[{"epoch": 0, "top1": 80.0}]] * 2
    assert "audit" not in runs


@pytest.mark.parametrize("how", ["empty", "missing"])
def test_a_folder_without_records_gives_an_empty_table_and_is_named(
    tmp_path: Path, how: str
) -> None:
    results = tmp_path / "results"
    if how == "empty":
        results.mkdir()
    found = collect([results])
    assert kinds(found) == [("empty", "results")]
    assert not found.whole
    assert len(found.runs) == 0
    assert {"cell_id", "w_bits", "protocol", "path"} <= set(found.runs.columns)


def test_an_empty_records_folder_is_no_trouble(tmp_path: Path) -> None:
    (tmp_path / "records").mkdir()
    found = collect([tmp_path])
    assert found.whole
    assert len(found.runs) == 0


def _damage(path: Path, how: str) -> None:
    text = path.read_text()
    content = json.loads(text)
    changed = {
        "truncated": text[: len(text) // 2],
        "empty": "",
        "not text": None,
        "foreign": '{"hello": [1, 2]}',
        "a list": "[1, 2]",
        "newer": json.dumps({**content, "record_schema": 99}),
        "a field too many": json.dumps({**content, "surprise": 1}),
        "text for a number": json.dumps({**content, "metrics": {"top1": "high"}}),
        "an unknown cell": json.dumps({**content, "cell": {**content["cell"], "sparsity": 2}}),
        "an id with a path": json.dumps({**content, "run_id": "../../etc/passwd"}),
    }[how]
    if changed is None:
        path.write_bytes(b"\xff\xfe\x00" * 40)
    else:
        path.write_text(changed)


@pytest.mark.parametrize(
    ("how", "kind", "words"),
    [
        ("truncated", "damaged", "is not whole JSON"),
        ("empty", "damaged", "is empty"),
        ("not text", "damaged", "is not whole JSON"),
        ("foreign", "foreign", "is not a record of lowbit-suite"),
        ("a list", "foreign", "is not a record of lowbit-suite"),
        ("newer", "newer", "has record schema 99, this lowbit-suite reads up to 1"),
        ("a field too many", "invalid", "surprise"),
        ("text for a number", "invalid", "metrics.top1"),
        ("an unknown cell", "invalid", "sparsity"),
        ("an id with a path", "invalid", "is not an id"),
    ],
)
def test_a_bad_file_is_named_and_the_rest_is_read(
    awkward: Path, how: str, kind: str, words: str
) -> None:
    bad, good = write(awkward, record(1), record(2, cell(seed=1)))
    _damage(bad, how)
    for found in (collect([awkward]), compact([awkward], awkward), collect([awkward])):
        [left_out] = found.left_out
        assert (left_out.kind, left_out.path) == (kind, bad)
        assert words in str(left_out)
        assert not found.whole
    assert list(collect([awkward]).runs["path"]) == [str(good)]


def test_a_directory_and_a_file_being_written_are_no_records(tmp_path: Path) -> None:
    [path] = write(tmp_path, record(1))
    path.with_name(f".{path.name}.abc").write_text("{")
    path.with_name("odd.json").mkdir()
    found = collect([tmp_path])
    assert len(found.runs) == 1
    assert kinds(found) == [("damaged", "odd.json")]


def test_a_metric_that_is_not_a_number_is_kept_and_named(tmp_path: Path) -> None:
    """pydantic wrote NaN as null, as records of before have it; other programs write NaN."""
    paths = write(tmp_path, record(1), record(2))
    edited(paths[0], metrics={"top1": None, "samples": 5.0})
    edited(paths[1], metrics={"top1": math.nan, "samples": 5.0})
    for found in (collect([tmp_path]), compact([tmp_path], tmp_path), collect([tmp_path])):
        assert [kind for kind, _ in kinds(found)] == ["nan", "nan"]
        assert "top1" in str(found.left_out[0])
        assert not found.whole
    runs = collect([tmp_path]).runs
    assert runs["m.top1"].isna().all()
    assert list(runs["m.samples"]) == [5.0, 5.0]


def test_the_same_record_in_two_folders_counts_once(tmp_path: Path) -> None:
    one, two = tmp_path / "one", tmp_path / "two"
    [path] = write(one, record(1))
    shutil.copytree(one, two)
    write(two, record(2))
    found = collect([one, two])
    assert list(found.runs["run_id"]) == [run_id(1), run_id(2)]
    assert [left.kind for left in found.left_out] == ["copy"]
    assert found.left_out[0].path.is_relative_to(two)
    assert str(path) in found.left_out[0].why
    assert found.whole


def test_one_run_with_two_contents_is_named_twice_and_the_later_kept(tmp_path: Path) -> None:
    one, two = tmp_path / "one", tmp_path / "two"
    [first] = write(one, record(1))
    [second] = write(two, record(1, metrics={"top1": 1.0}, finished="2026-11-25T00:00:00+00:00"))
    found = collect([one, two])
    assert list(found.runs["m.top1"]) == [1.0]
    assert [(left.kind, left.path) for left in found.left_out] == [("conflict", first)]
    assert str(second) in found.left_out[0].why
    assert not found.whole


def test_a_folder_that_is_named_twice_is_read_once(tmp_path: Path) -> None:
    write(tmp_path, record(1))
    found = collect([tmp_path, tmp_path / "." / "records" / ".."])
    assert len(found.runs) == 1
    assert found.left_out == []


def test_runs_with_other_metrics_lie_in_one_table(tmp_path: Path) -> None:
    write(tmp_path, record(1), record(2, cell(task="snippets"), metrics={"accuracy": 70.0}))
    runs = collect([tmp_path]).runs
    assert list(runs["m.top1"].isna()) == [False, True]
    assert list(runs["m.accuracy"].isna()) == [True, False]


def test_a_failed_run_has_its_error_without_the_traceback(tmp_path: Path) -> None:
    error = {"type": "LowbitError", "message": "no <b>luck</b>", "step": [1, 2], "traceback": "x"}
    write(tmp_path, record(1, status="failed", error=error, metrics={}, provenance={}))
    [row] = collect([tmp_path]).runs.to_dict("records")
    assert json.loads(row["error"]) == {k: error[k] for k in ("type", "message", "step")}


def test_newest_is_the_last_run_of_every_cell_with_that_status(tmp_path: Path) -> None:
    other = cell(seed=1)
    write(tmp_path, record(1), record(2), record(4, other), record(3, other))
    write(tmp_path, record(5, status="failed"))
    runs = collect([tmp_path]).runs
    assert list(newest(runs)["run_id"]) == [run_id(2), run_id(4)]
    assert list(newest(runs, "failed")["run_id"]) == [run_id(5)]


def test_the_compacted_file_holds_what_the_json_does(tmp_path: Path) -> None:
    results, out = tmp_path / "results", tmp_path / "out"
    write(results, *(record(n, cell(seed=n)) for n in range(5)))
    heavy = ("audit", "diagnosis", "history")
    before = collect([results], heavy)
    done = compact([results], out)
    assert (done.runs, done.cells, done.new, done.gone) == (5, 5, 5, 0)
    shutil.rmtree(results)
    after = collect([out], heavy)
    pd.testing.assert_frame_equal(before.runs, after.runs)
    assert after.whole


def test_a_tree_of_folders_can_be_moved(tmp_path: Path) -> None:
    write(tmp_path / "a" / "results", record(1))
    compact([tmp_path / "a" / "results"], tmp_path / "a" / "out")
    shutil.move(tmp_path / "a", tmp_path / "b")
    [path] = collect([tmp_path / "b" / "out"]).runs["path"]
    assert Path(path).is_file()


def test_only_new_files_are_parsed(tmp_path: Path) -> None:
    write(tmp_path, *(record(n, cell(seed=n)) for n in range(3)))
    assert compact([tmp_path], tmp_path).new == 3
    assert compact([tmp_path], tmp_path).new == 0
    write(tmp_path, record(7, cell(seed=7)))
    done = compact([tmp_path], tmp_path)
    assert (done.new, done.runs) == (1, 4)
    assert compact([tmp_path], tmp_path, rebuild=True).new == 4


def test_reading_looks_into_changed_folders_alone(tmp_path: Path, monkeypatch) -> None:
    write(tmp_path, *(record(n, cell(seed=n)) for n in range(3)))
    settled(tmp_path)
    compact([tmp_path], tmp_path)
    write(tmp_path, record(9, cell(seed=1)))
    opened, real = [], folder._files
    monkeypatch.setattr(folder, "_files", lambda at, name: (opened.append(name), real(at, name))[1])
    assert len(collect([tmp_path]).runs) == 4
    assert opened == [cell(seed=1).id(1)]


def test_a_record_that_is_gone_or_edited_is_not_served_from_the_compacted_file(
    tmp_path: Path,
) -> None:
    gone, changed = write(tmp_path, record(1), record(2, cell(seed=1)))
    compact([tmp_path], tmp_path)
    gone.unlink()
    edited(changed, metrics={"top1": 12.5})
    done = compact([tmp_path], tmp_path)
    assert (done.new, done.gone) == (1, 2)
    assert list(collect([tmp_path]).runs["m.top1"]) == [12.5]


def test_merging_keeps_what_the_file_holds_of_folders_that_are_not_named(tmp_path: Path) -> None:
    one, two, out = tmp_path / "one", tmp_path / "two", tmp_path / "out"
    write(one, record(1))
    write(two, record(2, cell(seed=1)))
    compact([one], out)
    shutil.rmtree(one)
    done = compact([two], out)
    assert (done.runs, done.new) == (2, 1)
    assert list(collect([out]).runs["run_id"]) == [run_id(1), run_id(2)]


def test_a_record_removed_from_its_folder_leaves_the_merged_file(tmp_path: Path) -> None:
    one, out = tmp_path / "one", tmp_path / "out"
    bad, _ = write(one, record(1), record(2))
    compact([one], out)
    bad.unlink()
    compact([one], out)
    assert list(collect([out]).runs["run_id"]) == [run_id(2)]


def test_a_damaged_compacted_file_is_named_and_the_json_read(tmp_path: Path) -> None:
    write(tmp_path, record(1))
    (tmp_path / COMPACTED).write_bytes(b"PAR1 and no more")
    found = collect([tmp_path])
    assert kinds(found) == [("damaged", COMPACTED)]
    assert len(found.runs) == 1
    compact([tmp_path], tmp_path)
    assert collect([tmp_path]).whole


def test_a_foreign_parquet_file_is_named(tmp_path: Path) -> None:
    pd.DataFrame({"a": [1]}).to_parquet(tmp_path / COMPACTED)
    assert kinds(collect([tmp_path])) == [("empty", tmp_path.name), ("damaged", COMPACTED)]


def test_many_files_are_read_by_several_processes_with_the_same_result(
    tmp_path: Path, monkeypatch
) -> None:
    write(tmp_path, *(record(n, cell(seed=n)) for n in range(20)))
    here = collect([tmp_path]).runs
    monkeypatch.setattr("suite.store.parse.ENOUGH", 1)
    monkeypatch.setattr("suite.store.parse.CHUNK", 7)
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {0, 1}, raising=False)
    pd.testing.assert_frame_equal(here, collect([tmp_path]).runs)


def test_a_worker_makes_columns_without_pandas() -> None:
    with _pool(1) as pool:
        made = pool.submit(table, [{"label": "a", "seed": 1}, {"m.top1": 0.5}]).result()
        problem = pool.submit(import_module, "pandas").exception()
    assert made.column("m.top1").to_pylist() == [None, 0.5]
    assert isinstance(problem, ModuleNotFoundError)


def test_columns_have_one_order_whatever_was_read_first(tmp_path: Path) -> None:
    one, two = tmp_path / "one", tmp_path / "two"
    write(one, record(1, metrics={"top1": 1.0}))
    write(two, record(2, cell(seed=2), metrics={"accuracy": 1.0}))
    pd.testing.assert_frame_equal(collect([one, two]).runs, collect([two, one]).runs)
    assert schema(["m.b", "m.a"]).names[-2:] == ["m.a", "m.b"]


def test_merging_brings_the_measurements_along(tmp_path: Path) -> None:
    one, two, out = tmp_path / "one", tmp_path / "two", tmp_path / "out"
    for results, text in ((one, "1"), (two, "2")):
        write(results, record(1))
        (results / "measurements").mkdir()
        (results / "measurements" / "same.json").write_text(text)
    (two / "measurements" / "own.json").write_text("3")
    for _ in range(2):
        done = compact([one, two], out)
        assert [(left.kind, left.path.name) for left in done.left_out if left.kind != "copy"] == [
            ("conflict", "same.json")
        ]
    found = {path.name: path.read_text() for path in (out / "measurements").iterdir()}
    assert found == {"same.json": "1", "own.json": "3"}


def lowbit(*arguments: str | Path) -> Result:
    return CliRunner().invoke(app, [*map(str, arguments)])


def test_the_command_says_what_it_wrote_and_exits_with_zero(awkward: Path) -> None:
    write(awkward, record(1), record(2), record(3, cell(seed=1)))
    done = lowbit("collect", "--results", awkward)
    assert done.exit_code == 0
    assert "3 runs of 2 cells" in done.output
    assert "3 read now" in done.output
    assert (awkward / COMPACTED).is_file()


def test_the_command_names_what_it_left_out_and_exits_with_one(awkward: Path) -> None:
    bad, _ = write(awkward, record(1), record(2))
    bad.write_text("{")
    done = lowbit("collect", "--results", awkward, "--out", awkward / "out")
    assert done.exit_code == 1
    assert f"damaged: {bad} is not whole JSON" in done.output
    assert "1 run of 1 cell" in done.output


def test_of_many_copies_one_is_named_and_the_rest_counted(tmp_path: Path) -> None:
    one, two = tmp_path / "one", tmp_path / "two"
    write(one, record(1), record(2), record(3))
    shutil.copytree(one, two)
    done = lowbit("collect", "--results", one, "--results", two, "--out", tmp_path / "out")
    assert done.exit_code == 0
    assert done.output.count("is the same record as") == 1
    assert "copy: and 2 more such records" in done.output


def test_a_folder_without_records_exits_with_one(tmp_path: Path) -> None:
    done = lowbit("collect", "--results", tmp_path / "none", "--out", tmp_path)
    assert done.exit_code == 1
    assert "does not exist" in done.output


def test_several_folders_need_a_place_to_be_merged_into(tmp_path: Path) -> None:
    done = lowbit("collect", "--results", tmp_path / "a", "--results", tmp_path / "b")
    assert isinstance(done.exception, UsageError)
    assert "--out DIR" in str(done.exception)


def test_a_folder_that_is_not_there_is_not_made(tmp_path: Path) -> None:
    done = lowbit("collect", "--results", tmp_path / "none")
    assert isinstance(done.exception, UsageError)
    assert not (tmp_path / "none").exists()
