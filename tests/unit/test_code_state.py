"""Which code made a number: a commit, an installed release, or something that was changed."""

from __future__ import annotations

import base64
import hashlib
import json
import subprocess
from collections.abc import Callable
from importlib.metadata import Distribution, PathDistribution
from pathlib import Path

import pytest

from suite.cell import make_cell
from suite.code_state import changed_since_installed, code_state, outside
from suite.options import CODE

FILES = {"suite/__init__.py": "a = 1\n", "methods/one.py": "b = 2\n"}


def files(root: Path) -> Path:
    for name, text in FILES.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text)
    return root


@pytest.fixture
def checkout(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.delenv(CODE, raising=False)
    root = files(tmp_path / "checkout")
    git(root, "init", "-q")
    git(root, "add", ".")
    git(root, "-c", "user.name=n", "-c", "user.email=e@x", "commit", "-qm", "first")
    return root


def git(root: Path, *words: str) -> None:
    subprocess.run(["git", "-C", str(root), *words], check=True)


def installed(root: Path) -> Distribution:
    """The files as a wheel's installer leaves them, with their digests."""
    lines = []
    for name in FILES:
        value = hashlib.sha256((root / name).read_bytes()).digest()
        digest = base64.urlsafe_b64encode(value).rstrip(b"=").decode()
        lines.append(f"{name},sha256={digest},{(root / name).stat().st_size}")
    about = root / "lowbit_suite-1.0.dist-info"
    about.mkdir()
    (about / "METADATA").write_text("Metadata-Version: 2.1\nName: lowbit-suite\nVersion: 1.0\n")
    (about / "RECORD").write_text("\n".join([*lines, "lowbit_suite-1.0.dist-info/RECORD,,"]))
    return PathDistribution(about)


def added(root: Path) -> None:
    (root / "methods" / "two.py").write_text("c = 3\n")


def edited(root: Path) -> None:
    (root / "methods" / "one.py").write_text("b = 3\n")


def removed(root: Path) -> None:
    (root / "methods" / "one.py").unlink()


CHANGES = [added, edited, removed]


def test_a_clean_checkout_has_its_commit(checkout: Path) -> None:
    found = code_state(checkout)
    assert found["dirty"] is False
    assert len(found["revision"]) == 40


@pytest.mark.parametrize("change", CHANGES)
def test_a_new_method_is_a_change_like_an_edited_one(
    checkout: Path, change: Callable[[Path], None]
) -> None:
    change(checkout)
    assert code_state(checkout)["dirty"] is True


def test_what_is_no_code_may_lie_about(checkout: Path) -> None:
    (checkout / "results.json").write_text("{}")
    assert code_state(checkout)["dirty"] is False


def test_a_checkout_around_the_packages_is_not_their_code(checkout: Path) -> None:
    """Installed into an environment that lies in somebody's own repository."""
    inner = files(checkout / "env")
    assert code_state(inner) == {"revision": None, "dirty": None}


def test_a_sweeps_job_says_what_was_copied(checkout: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(CODE, json.dumps({"revision": "r", "dirty": True}))
    assert code_state(checkout) == {"revision": "r", "dirty": True}


@pytest.mark.parametrize(("change", "changed"), [(None, False), *((c, True) for c in CHANGES)])
def test_an_installed_release_is_compared_with_what_was_installed(
    tmp_path: Path, change: Callable[[Path], None] | None, changed: bool
) -> None:
    root = files(tmp_path)
    made = installed(root)
    if change:
        change(root)
    assert changed_since_installed(made, root) is changed


def test_other_files_than_the_installed_ones_are_unknown_code(tmp_path: Path) -> None:
    made = installed(files(tmp_path / "site"))
    assert changed_since_installed(made, files(tmp_path / "elsewhere")) is None


def test_the_suites_own_methods_are_not_from_outside() -> None:
    assert outside(make_cell(method="lsq", model="deit_pico", task="fashion")) == {}


def test_a_method_of_another_package_is_named_with_its_version(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    about = tmp_path / "theirs-2.5.dist-info"
    about.mkdir()
    (about / "METADATA").write_text("Metadata-Version: 2.1\nName: theirs\nVersion: 2.5\n")
    (about / "entry_points.txt").write_text("[lowbit.methods]\nown_method = theirs:METHOD\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    cell = make_cell(method="own_method", model="deit_pico", task="fashion")
    assert outside(cell) == {"method": "theirs 2.5"}
