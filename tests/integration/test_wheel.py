"""What a wheel installs is whole: tables, profiles and golden values travel with the package."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import sysconfig
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
LEFT = shutil.ignore_patterns(
    *(".git", ".venv", ".tox", "docs", "build", "*.egg-info", "__pycache__", ".*_cache")
)


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder into which a wheel of this checkout was unpacked, as an installer does."""
    made = tmp_path_factory.mktemp("wheel")
    shutil.copytree(ROOT, made / "source", ignore=LEFT)
    words = ["pip", "wheel", "--no-deps", "--no-build-isolation", "--quiet", str(made / "source")]
    done = subprocess.run(
        [sys.executable, "-m", *words, "-w", str(made)], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr[-2000:]
    (wheel,) = made.glob("lowbit_suite-*.whl")
    with zipfile.ZipFile(wheel) as content:
        names = content.namelist()
        content.extractall(made / "site")
    # PyTables has the name `tables`: nothing of ours may be importable by it.
    assert not [name for name in names if name.split("/")[0] in ("tables", "slurm", "tests")]
    return made / "site"


def lowbit(installed: Path, *words: str) -> subprocess.CompletedProcess[str]:
    """Run the installed suite far from the checkout, with this environment's libraries."""
    libraries = sysconfig.get_paths()["purelib"]
    paths = f"import sys; sys.path[:0] = {[str(installed), libraries]!r}"
    code = f"{paths}; from suite.cli import main; main()"
    return subprocess.run(
        [sys.executable, "-S", "-c", code, *words],
        cwd=installed.parent,
        env={"PATH": os.environ["PATH"], "HOME": str(installed.parent)},
        capture_output=True,
        text=True,
        timeout=300,
    )


@pytest.mark.parametrize(
    ("words", "shown"),
    [
        (("errata", "qvit-12"), "--opt-eps"),
        (("claims",), "p1-beats-lsq-2"),
        (("tables", "--out", "out"), "fashion"),
        (("doctor",), "osc_freeze.npz"),
        (("plan", "--task", "fashion", "--method", "lsq", "--profile", "a100x1"), "1 cell(s)"),
        (("list", "tasks"), "glue-rte"),
    ],
)
def test_commands_find_their_data(installed: Path, words: tuple[str, ...], shown: str) -> None:
    done = lowbit(installed, *words)
    assert shown in done.stdout, done.stdout[-500:] + done.stderr[-1000:]
    assert "Traceback" not in done.stderr


def test_data_that_is_not_there_is_missed_by_name(installed: Path, tmp_path: Path) -> None:
    bare = tmp_path / "site"
    shutil.copytree(installed, bare, ignore=shutil.ignore_patterns("_shipped"))
    for words in (("errata",), ("claims",), ("tables", "--out", "out")):
        done = lowbit(bare, *words)
        assert done.returncode == 3, done.stdout[-500:]
        assert f"data folder {bare}" in done.stderr
        assert "is not there; install the suite anew" in done.stderr
