"""The code of a sweep: a copy of the commit, or of the changes where they are allowed."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from suite.cluster.snapshot import describe, snapshot
from suite.errors import EnvironmentProblem, UsageError


def git(root: Path, *words: str) -> str:
    identity = ("-c", "user.name=n", "-c", "user.email=e@x", "-c", "commit.gpgsign=false")
    done = subprocess.run(
        ["git", "-C", str(root), *identity, *words], capture_output=True, text=True, check=True
    )
    return done.stdout.strip()


@pytest.fixture
def checkout(awkward: Path) -> Path:
    root = awkward / "checkout"
    (root / "suite").mkdir(parents=True)
    (root / "suite" / "code.py").write_text("version = 1\n")
    (root / "notes.md").write_text("one\n")
    git(root, "init", "-q")
    git(root, "add", ".")
    git(root, "commit", "-qm", "first")
    return root


def test_a_snapshot_is_the_commits_tree_and_later_edits_do_not_touch_it(
    checkout: Path, tmp_path: Path
) -> None:
    code = snapshot(tmp_path, root=checkout)
    assert code.commit == git(checkout, "rev-parse", "HEAD")
    assert code.tree == git(checkout, "rev-parse", "HEAD^{tree}")
    assert not code.dirty
    (checkout / "suite" / "code.py").write_text("version = 2\n")
    assert (Path(code.path) / "suite" / "code.py").read_text() == "version = 1\n"


def test_a_second_sweep_of_the_same_tree_shares_the_copy(checkout: Path, tmp_path: Path) -> None:
    first = snapshot(tmp_path, root=checkout)
    stamp = Path(first.path).stat().st_mtime_ns
    assert snapshot(tmp_path, root=checkout) == first
    assert Path(first.path).stat().st_mtime_ns == stamp
    assert len(list((tmp_path / "code").iterdir())) == 1


@pytest.mark.parametrize("name", ["notes.md", "suite/code.py", "suite/new.py"])
def test_uncommitted_changes_are_refused(name: str, checkout: Path, tmp_path: Path) -> None:
    (checkout / name).write_text("changed\n")
    with pytest.raises(UsageError, match=rf"1 uncommitted change.*first: {name}.*--allow-dirty"):
        snapshot(tmp_path, root=checkout)
    assert not (tmp_path / "code").exists()


def test_allowed_changes_are_part_of_the_copy_and_recorded(checkout: Path, tmp_path: Path) -> None:
    (checkout / "suite" / "code.py").write_text("version = 2\n")
    (checkout / "suite" / "new.py").write_text("new = True\n")
    (checkout / "scratch.txt").write_text("not code\n")
    code = snapshot(tmp_path, allow_dirty=True, root=checkout)
    assert code.dirty
    assert code.commit == git(checkout, "rev-parse", "HEAD")
    copied = Path(code.path)
    assert (copied / "suite" / "code.py").read_text() == "version = 2\n"
    assert (copied / "suite" / "new.py").exists()
    assert not (copied / "scratch.txt").exists()
    assert git(checkout, "status", "--porcelain").splitlines()[0] == "M suite/code.py"


def test_what_is_no_checkout_gives_no_snapshot(tmp_path: Path) -> None:
    with pytest.raises(EnvironmentProblem, match="install the suite from a checkout"):
        describe(tmp_path, root=tmp_path)
