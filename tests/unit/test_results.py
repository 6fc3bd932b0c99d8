"""The record store: written once, read with care, one writer at a time."""

from __future__ import annotations

import json
import math
import os
import re
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
import pytest

from suite.cell import make_cell
from suite.errors import EnvironmentProblem, LowbitError, UsageError
from suite.files import TEMPORARY, sweep_temporaries, write_atomically
from suite.results import Record, Store, failed, new_run_id, now, read

CELL = make_cell(method="lsq", model="deit_pico", task="fashion", w_bits=2, a_bits=2)
ID = CELL.id(1)


def record(**changes: object) -> Record:
    fields = {
        "cell_id": ID,
        "run_id": new_run_id(),
        "cell": CELL.delta(),
        "status": "done",
        "started": now(),
        "finished": now(),
        "metrics": {"top1": 80.0, "samples": 11},
    }
    return Record(**{**fields, **changes})


def test_ids_of_one_second_are_in_order_of_time() -> None:
    ids = []
    for _ in range(50):
        ids.append(new_run_id())
        time.sleep(1e-4)
    assert ids == sorted(set(ids))
    assert all(re.fullmatch(r"[0-9]{8}T[0-9]{6}-[0-9a-f]{8}", one) for one in ids)


def test_a_record_comes_back_as_it_was(awkward: Path) -> None:
    store = Store(awkward)
    first = record()
    store.write(first)
    assert store.latest(ID) == first


def test_a_record_is_never_overwritten(tmp_path: Path) -> None:
    store = Store(tmp_path)
    first = record()
    path = store.write(first)
    before = path.read_bytes()
    with pytest.raises(FileExistsError, match="never edited"):
        store.write(first.model_copy(update={"status": "failed"}))
    assert path.read_bytes() == before


def test_a_failed_record_is_not_taken_for_done(tmp_path: Path) -> None:
    store = Store(tmp_path)
    store.write(failed(CELL, ID, now(), {"type": "ValueError", "message": "no", "step": [0, 3]}))
    assert store.latest(ID) is None
    assert store.latest(ID, status="failed") is not None


def test_the_bitmap_comes_back_bit_by_bit(tmp_path: Path) -> None:
    store = Store(tmp_path)
    kept = record()
    correct = np.arange(11) % 3 == 0
    store.write_bitmap((kept.cell_id, kept.run_id), correct)
    assert (store.read_bitmap(kept) == correct).all()


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("", "is empty"),
        ('{"record_schema": 1, "cell', "is not whole JSON"),
        ('{"record_schema": 1}', "not valid"),
        ('{"record_schema": 99}', "schema 99, this lowbit-suite reads up to 1"),
    ],
)
def test_a_bad_record_is_one_sentence(tmp_path: Path, content: str, words: str) -> None:
    path = tmp_path / "records" / ID / "20260101T000000-aaaaaaaa.json"
    path.parent.mkdir(parents=True)
    path.write_text(content)
    with pytest.raises(EnvironmentProblem, match=words) as caught:
        read(path)
    assert str(path) in str(caught.value)
    store = Store(tmp_path)
    assert store.latest(ID) is None
    assert store.damaged == {path: str(caught.value)}


def test_unknown_fields_are_refused(tmp_path: Path) -> None:
    path = Store(tmp_path).write(record())
    content = {**json.loads(path.read_text()), "surprise": 1}
    path.write_text(json.dumps(content))
    with pytest.raises(EnvironmentProblem, match="surprise"):
        read(path)


@pytest.mark.parametrize("name", ["../x", "a/b", "", ".hidden", "a\nb"])
def test_no_path_is_built_from_unchecked_text(tmp_path: Path, name: str) -> None:
    with pytest.raises(UsageError, match="is not an id"):
        Store(tmp_path).work(name)


def test_a_folder_that_cannot_be_written_is_one_sentence(tmp_path: Path) -> None:
    blocked = tmp_path / "file"
    blocked.write_text("in the way")
    with pytest.raises(EnvironmentProblem, match="--results"):
        Store(blocked / "results").prepare()


def test_a_full_disk_is_one_sentence_and_leaves_no_part(tmp_path: Path) -> None:
    """A limit on file size stands in for a full disk: the same failing write."""
    code = (
        "import resource, sys; from pathlib import Path; from suite.files import write_text;"
        "import signal; signal.signal(signal.SIGXFSZ, signal.SIG_IGN);"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000));"
        "from suite.errors import EnvironmentProblem\n"
        "try: write_text(Path(sys.argv[1]), 'x' * 100000)\n"
        "except EnvironmentProblem as e: print(e); sys.exit(e.exit_code)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path / "record.json")], capture_output=True, text=True
    )
    assert done.returncode == 3, done.stderr
    assert "free space" in done.stdout
    assert os.listdir(tmp_path) == []


def test_a_second_writer_waits_and_says_for_whom(tmp_path: Path) -> None:
    """The lock of another process, not only of another object in this one."""
    holder = subprocess.Popen(
        [
            sys.executable,
            "-c",
            "import sys; from pathlib import Path; from suite.results import Store\n"
            f"with Store(Path(sys.argv[1])).lock({ID!r}):\n"
            "    print('held', flush=True); sys.stdin.readline()",
            str(tmp_path),
        ],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert holder.stdout is not None
    assert holder.stdout.readline() == "held\n"
    said: list[str] = []
    entered = threading.Event()

    def wait_for_it() -> None:
        with Store(tmp_path).lock(ID, said.append):
            entered.set()

    waiter = threading.Thread(target=wait_for_it)
    waiter.start()
    assert not entered.wait(0.5)
    assert f"process {holder.pid}" in said[0]
    holder.communicate("go\n")
    assert entered.wait(10)
    waiter.join()


@pytest.mark.parametrize("part", ["metrics", "time", "memory"])
@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_a_finished_record_with_a_number_that_is_none_is_not_written(
    tmp_path: Path, part: str, value: float
) -> None:
    with pytest.raises(LowbitError, match=rf"ended with numbers that are none \({part}.odd\)"):
        Store(tmp_path).write(record(status="done", **{part: {"odd": value, "even": 1.0}}))
    assert not list(tmp_path.rglob("*.json"))


def test_leftovers_of_writers_are_told_from_files(tmp_path: Path) -> None:
    left, kept = tmp_path / f".a.json.{'0a' * 16}", tmp_path / ".a.json"
    link = tmp_path / f".b.{'1b' * 16}"
    for path in (left, kept):
        path.write_text("")
    link.symlink_to(kept)
    sweep_temporaries(tmp_path)
    sweep_temporaries(tmp_path / "nowhere")
    assert [path.exists() for path in (left, kept, link)] == [False, True, True]


def test_a_writer_follows_no_link_and_is_not_swept_while_it_writes(tmp_path: Path) -> None:
    path, seen = tmp_path / "a.txt", []

    def write(temporary: Path) -> None:
        temporary.write_text("new")
        sweep_temporaries(tmp_path)
        seen.append(temporary.is_symlink() or not temporary.exists())
        assert TEMPORARY.fullmatch(temporary.name)

    (tmp_path / "elsewhere").write_text("untouched")
    path.symlink_to(tmp_path / "elsewhere")
    write_atomically(path, write)
    assert seen == [False]
    assert path.read_text() == "new"
    assert (tmp_path / "elsewhere").read_text() == "untouched"
    assert sorted(p.name for p in tmp_path.iterdir()) == ["a.txt", "elsewhere"]
