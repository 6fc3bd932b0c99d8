"""One door for everybody who reads records: regular files, whole, and no other stops a reader."""

from __future__ import annotations

import json
import os
import socket
from pathlib import Path

import pytest

from suite.choosing import choice_from, options_from
from suite.cli import app
from suite.cluster.forecasts import known
from suite.collect import collect
from suite.errors import UsageError
from suite.record_files import LARGEST, NoRecord, content_of
from suite.results import Store, new_run_id
from tests.table_records import cell, record


def damage(folder: Path) -> dict[str, str]:
    """Files that look like records and are none, with what is said of each."""
    folder.mkdir(parents=True, exist_ok=True)
    os.mkfifo(folder / "20250101T000000-00000000.json")
    (folder / "20250101T000000-00000001.json").mkdir()
    (folder / "20250101T000000-00000002.json").symlink_to("/dev/zero")
    (folder / "20250101T000000-00000003.json").write_text("")
    (folder / "20250101T000000-00000004.json").write_text('{"cell_id": "a')
    (folder / "20250101T000000-00000005.json").write_text("[" * 100_000)
    (folder / "20250101T000000-00000006.json").write_text('{"n": ' + "9" * 5000 + "}")
    (folder / "20250101T000000-00000007.json").write_text("[1]")
    (folder / "20250101T000000-00000008.json").symlink_to("nowhere")
    with (folder / "20250101T000000-00000009.json").open("wb") as handle:
        handle.truncate(LARGEST + 1)
    with socket.socket(socket.AF_UNIX) as plug:
        here = os.getcwd()
        os.chdir(folder)
        plug.bind("20250101T000000-0000000a.json")
        os.chdir(here)
    said = ["regular", "regular", "regular", "empty", "whole JSON", "JSON", "", "not a record"]
    said += ["cannot be read", "too large", "cannot be read"]
    return {f"20250101T000000-{i:08x}.json": words for i, words in enumerate(said)}


def test_what_is_no_record_is_told_without_waiting_for_it(tmp_path: Path) -> None:
    for name, words in damage(tmp_path).items():
        if words:
            with pytest.raises(NoRecord, match=words):
                content_of(tmp_path / name)


@pytest.fixture
def troubled(tmp_path: Path) -> Store:
    """A finished cell whose folder, and another's, hold what is no record."""
    store = Store(tmp_path)
    own = cell("lsq", 2)
    store.write(record(own))
    damage(tmp_path / "records" / own.id(1))
    damage(tmp_path / "records" / "lsq-deit_pico-fashion-w9a9-s0-0123456789")
    return store


def test_every_reader_goes_on_and_names_what_it_passed_over(
    troubled: Store, capsys: pytest.CaptureFixture[str]
) -> None:
    own = cell("lsq", 2).id(1)
    assert troubled.latest(own) is not None
    assert len(troubled.damaged) == 11
    found = collect([troubled.root])
    assert found.runs["cell_id"].tolist() == [own]
    assert len(found.left_out) == 22
    assert [pace.whole for pace in known(troubled.root).like(cell("lsq", 2))] == [60.0]
    for words, code in (
        (["list", "cells"], 0),
        (["show", own], 1),
        (["plan", "--task", "fashion", "--method", "lsq", "--profile", "local"], 0),
    ):
        with pytest.raises(SystemExit) as left:
            app([*words, "--results", str(troubled.root)])
        said = capsys.readouterr()
        assert left.value.code == code, said.err
        assert "Traceback" not in said.err
        assert "is empty; move it out" in said.err


def test_an_id_is_behind_every_other_of_its_cell_whatever_the_clock_says() -> None:
    future = "29991231T235959-fffff123"
    later = new_run_id(after=future)
    assert later > future
    assert later.startswith("30000101T000000-00000") or later > "29991231T235959-fffff"
    assert new_run_id(after="19990101T000000-00000000") < "29991231T235959"
    assert new_run_id(after="nonsense") < "29991231T235959"


def test_the_newest_run_of_a_cell_is_the_one_that_was_made_last(tmp_path: Path) -> None:
    """After a record of a clock that was years fast."""
    store, own = Store(tmp_path), cell("lsq", 2)
    name = own.id(1)
    early = record(own).model_copy(update={"run_id": "29991231T235959-00000abc"})
    store.write(early)
    late = record(own).model_copy(update={"run_id": store.next_run_id(name)})
    store.write(late)
    newest = store.latest(name)
    assert newest is not None
    assert newest.run_id == late.run_id


LONG = "9" * 5000


@pytest.mark.parametrize(
    "option",
    [
        {"seed": [LONG]},
        {"seed": [str(2**63)]},
        {"draws": [LONG]},
        {"draws": ["100000000000"]},
        {"threads": [LONG]},
        {"bits": [LONG]},
        {"w-bits": [LONG]},
        {"groups": [LONG]},
    ],
)
def test_numbers_that_no_store_holds_are_refused_at_the_door(option: dict[str, list[str]]) -> None:
    def read() -> None:
        choice_from(option.get)
        options_from(option.get)

    with pytest.raises(UsageError) as caught:
        read()
    assert len(str(caught.value)) < 500


@pytest.mark.parametrize(
    "pair", [f"epochs={LONG}", "epochs=" + "[" * 5000, "lr=1e999", f"lr={LONG}"]
)
def test_a_recipe_or_setting_of_thousands_of_digits_is_one_short_sentence(pair: str) -> None:
    from suite.recipes import recipe

    with pytest.raises(UsageError) as caught:
        recipe("fashion-qat", **choice_from({"recipe": [pair]}.get).recipe)
    assert len(str(caught.value)) < 600


def test_a_seed_beyond_the_stores_is_refused_in_a_record_too(tmp_path: Path) -> None:
    store, own = Store(tmp_path), cell("lsq", 2)
    path = store.write(record(own))
    content = json.loads(path.read_text())
    content["cell"]["seed"] = 2**63
    path.write_text(json.dumps(content))
    (left,) = collect([tmp_path]).left_out
    assert "seed" in left.why


def test_home_is_meant_by_a_tilde(monkeypatch: pytest.MonkeyPatch) -> None:
    home = Path.home()
    given = {name: [f"~/{name}"] for name in ("results", "data", "weights", "texts", "soft-labels")}
    found = options_from(given.get)
    paths = (found.results, found.data, found.weights, found.texts, found.soft_labels)
    assert paths == tuple(home / name for name in given)
    monkeypatch.setenv("LOWBIT_RESULTS", "~/mine")
    assert options_from({}.get).results == home / "mine"
