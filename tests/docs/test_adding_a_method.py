"""docs/adding-a-method.md, followed literally in a copy of the tree."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PAGE = (ROOT / "docs" / "adding-a-method.md").read_text(encoding="utf-8")
COPIED = ("suite", "baselines", "methods", "tables", "tests/contract", "tests/unit")
FILES = ("tox.ini", "pyproject.toml", "tests/__init__.py", "tests/conftest.py")
BRIEF = ("--recipe=fp32_recipe=fashion-smoke", "--no-gate", "--threads=1")
"""An FP32 model in seconds; what the page says is run is run, on a worse one."""


def fenced(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL)


@pytest.fixture(scope="module")
def tree(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of what a checkout holds, with the page's file where the page puts it."""
    root = tmp_path_factory.mktemp("checkout")
    for name in COPIED:
        ignored = shutil.ignore_patterns("__pycache__")
        shutil.copytree(ROOT / name, root / name, ignore=ignored)
    for name in FILES:
        shutil.copy(ROOT / name, root / name)
    (code,) = fenced("python")
    (place,) = re.findall(r"^`(methods/\w+\.py)`", PAGE, re.MULTILINE)
    (root / place).write_text(code, encoding="utf-8")
    return root


def commands() -> list[list[str]]:
    return [shlex.split(line) for block in fenced("sh") for line in block.splitlines()]


def call(words: list[str], tree: Path) -> str:
    """Run one of the page's commands in the copy and return what it printed."""
    program, *rest = words
    command = {
        "lowbit": [sys.executable, "-c", "from suite.cli import main; main()"],
        "pytest": [sys.executable, "-m", "pytest"],
    }[Path(program).name]
    measures = rest[0] == "run" or "suite" in rest
    done = subprocess.run(
        [*command, *rest, *(BRIEF if measures else ())],
        cwd=tree,
        env={**os.environ, "PYTHONPATH": str(tree), "OMP_NUM_THREADS": "1", "COLUMNS": "200"},
        capture_output=True,
        text=True,
        timeout=400,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_the_page_has_the_commands_that_it_promises() -> None:
    assert [(Path(c[0]).name, c[1]) for c in commands()] == [
        ("lowbit", "list"),
        ("lowbit", "run"),
        ("lowbit", "run"),
        ("pytest", "suite"),
        ("pytest", "tests/contract"),
    ]


def test_the_method_is_listed_measured_and_tabulated(tree: Path) -> None:
    listed, first, cut, again, contract = (call(words, tree) for words in commands())
    assert re.search(r"percentile_ptq +bits 2-8", listed)
    label = "percentile_ptq/deit_pico/fashion/w4a4/s0"
    for printed in (first, again):
        assert re.search(rf"^\| {label} \| top1 \| [\d.]+\* \|", printed, re.MULTILINE)
        assert "fp32/deit_pico/fashion/fp32/s0" in printed
    assert "percentile_ptq[cut=1.0]/deit_pico/fashion/w4a4/s0" in cut
    assert "stored run" in again
    passed = re.search(r"(\d+) passed", contract)
    assert passed is not None
    assert int(passed.group(1)) >= 7
