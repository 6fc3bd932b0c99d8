"""The commands that say what is there: list, show, prepare, doctor, --help."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.integration.conftest import BRIEF, Command

pytestmark = pytest.mark.usefixtures("fewer")


def test_list_names_everything_and_what_is_missing(run: Command, results: Path) -> None:
    done = run("list", "--results", str(results), LOWBIT_IMAGENET="")
    assert done.returncode == 0, done.stderr
    for word in ("variation", "peg", "deit_tiny", "bert_base", "fashion", "glue-rte"):
        assert word in done.stdout
    assert "set $LOWBIT_IMAGENET or --data" in done.stdout
    assert "variation-released/deit_pico/fashion/w2a2/s0" in done.stdout


def test_list_of_an_unknown_section(run: Command) -> None:
    done = run("list", "modles")
    assert done.returncode == 2
    assert "Did you mean 'models'?" in done.stderr


def test_show_prints_the_records_of_one_cell(run: Command, results: Path) -> None:
    done = run("show", "fp32-deit_pico", "--results", str(results))
    assert done.returncode == 0, done.stderr
    record = json.loads(done.stdout)
    assert record["status"] == "done"
    assert record["provenance"]["packages"]["torch"]
    missing = run("show", "nothing", "--results", str(results))
    assert missing.returncode == 2
    assert "must be the beginning of one cell id" in missing.stderr


def test_prepare_makes_what_a_cell_needs_and_no_more(run: Command, results: Path) -> None:
    words = ["--method=variation", "--bits=2", "--task=fashion", "--threads=1"]
    short = ["--recipe=fp32_recipe=fashion-smoke", "--recipe=label_crops=1", "--recipe=crops=1"]
    done = run("prepare", *words, *short, "--results", str(results))
    assert done.returncode == 0, done.stderr
    assert "fp32 is run" in done.stdout
    assert "soft labels in" in done.stdout
    assert not list(results.glob("records/variation-*"))
    assert len(list((results / "soft_labels").iterdir())) == 1


def test_doctor_finds_the_machine_in_order(shell: Command, results: Path) -> None:
    done = shell("doctor", "--results", str(results))
    assert done.returncode == 0, done.stdout
    assert "golden values" in done.stdout
    assert "torch" in done.stdout


def test_help_answers_without_torch() -> None:
    code = (
        "import sys; sys.argv = ['lowbit', '--help']\n"
        "from suite.cli import main\n"
        "try: main()\nexcept SystemExit: pass\n"
        "assert 'torch' not in sys.modules, 'torch was imported'\n"
        "assert 'transformers' not in sys.modules"
    )
    start = time.perf_counter()
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    print(f"answered after {time.perf_counter() - start:.2f} s")
    assert done.returncode == 0, done.stderr
    assert "certify" in done.stdout


def test_a_record_holds_what_a_reader_needs(run: Command, results: Path) -> None:
    done = run("run", "--method=lsq", "--bits=2", *BRIEF, "--results", str(results))
    assert done.returncode == 0, done.stderr
    assert "| lsq/deit_pico/fashion/w2a2/s0 | top1 |" in done.stdout
    assert "not comparable" in done.stdout
    (path,) = results.glob("records/lsq-*/*.json")
    record = json.loads(path.read_text())
    assert record["execution"].keys() >= {"compile", "precision", "threads", "processes"}
    assert record["provenance"].keys() >= {"git", "packages", "cpu", "data", "weights", "start"}
    assert record["time"].keys() >= {"epoch_seconds_median", "data_seconds", "images_per_second"}
    assert record["memory"]["cpu_rss"] > 0
    assert record["audit"]["ok"]
    assert all(p["levels"] <= 2 ** p["bits"] for p in record["audit"]["places"].values())
    assert record["protocol"]["evaluation"]
    for name in record["files"].values():
        assert (path.parent / name).is_file()
