"""What a command that trains nothing must not import."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from suite.cli import app
from tests.unit.many_files import record, write

HEAVY = ("torch", "pandas", "numpy", "scipy", "jinja2", "submitit", "pyarrow", "matplotlib", "timm")
CODE = """
import sys
from suite.cli import app
try:
    app(sys.argv[2:], standalone_mode=False)
except SystemExit:
    pass
found = sorted(set(sys.argv[1].split(",")) & set(sys.modules))
sys.exit(f"imported: {found}" if found else 0)
"""


def imported(without: tuple[str, ...], *arguments: str) -> None:
    """Run `lowbit` in a new process and fail if one of these modules has been imported."""
    command = [sys.executable, "-c", CODE, ",".join(without), *arguments]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-2000:]


def test_help_imports_nothing_heavy() -> None:
    imported(HEAVY, "--help")


def test_no_commands_help_imports_anything_heavy() -> None:
    names = [command.name or command.callback.__name__ for command in app.registered_commands]
    code = CODE.replace("app(sys.argv[2:],", "[app([name, '--help'],").replace(
        "standalone_mode=False)", "standalone_mode=False) for name in sys.argv[2:]]"
    )
    command = [sys.executable, "-c", code, ",".join(HEAVY), *names]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-2000:]


@pytest.mark.parametrize("command", ["collect", "tables", "claims", "errata", "report"])
def test_judging_records_imports_no_torch(command: str, tmp_path: Path) -> None:
    if command not in {c.name or c.callback.__name__ for c in app.registered_commands}:
        pytest.skip(f"there is no command {command}; it is tested once it is registered")
    write(tmp_path / "results", record(1))
    where = [] if command == "errata" else ["--results", str(tmp_path / "results")]
    out = ["--out", str(tmp_path / "out")] if command in ("tables", "report", "collect") else []
    imported(("torch", "timm", "transformers"), command, *where, *out)
