"""Which code made a number: a commit, a release as it was installed, or what was changed."""

from __future__ import annotations

import base64
import hashlib
import json
import os
import subprocess
from importlib.metadata import Distribution, PackageNotFoundError, distribution, entry_points
from pathlib import Path
from typing import Any

from suite.cell import Cell
from suite.options import CODE

ROOT = Path(__file__).resolve().parent.parent
NAME = "lowbit-suite"
PACKAGES = ("suite", "baselines", "methods")
"""Where a file that nobody committed or installed counts as code."""

GROUPS = {"method": "lowbit.methods", "model": "lowbit.models", "task": "lowbit.tasks"}


def code_state(root: Path = ROOT) -> dict[str, Any]:
    """`revision` (None outside a checkout) and `dirty`: whether code was changed or added since;
    None where nobody can tell.

    A sweep's snapshot is no checkout: its job says in $LOWBIT_CODE what was copied. Of a release
    the installed files are compared with the digests that the installer wrote down.
    """
    told = os.environ.get(CODE)
    if told:
        return dict(json.loads(told))
    # A folder of packages inside of somebody's checkout is not that checkout.
    if output(["git", "ls-files", "--error-unmatch", "suite/__init__.py"], root) is None:
        return {"revision": None, "dirty": _installed_changed(root)}
    revision = output(["git", "rev-parse", "HEAD"], root)
    changed = output(["git", "status", "--porcelain", "--untracked-files=no"], root)
    own = [name for name in PACKAGES if (root / name).is_dir()]
    new = output(["git", "ls-files", "--others", "--exclude-standard", "--", *own], root)
    return {"revision": revision, "dirty": bool(changed or new) if revision else None}


def outside(cell: Cell) -> dict[str, str]:
    """The package and version that a cell's method, model or task comes from, where that is not
    this suite."""
    found = {}
    for what, group in GROUPS.items():
        for point in entry_points(group=group):
            if point.name == getattr(cell, what) and point.dist is not None:
                found[what] = f"{point.dist.name} {point.dist.version}"
    return found


def output(command: list[str], where: Path) -> str | None:
    """What a command prints; None where it fails or is not there."""
    try:
        done = subprocess.run(command, cwd=where, capture_output=True, text=True, timeout=20)
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout.strip() if done.returncode == 0 else None


def _installed_changed(root: Path) -> bool | None:
    try:
        installed = distribution(NAME)
    except PackageNotFoundError:
        return None
    return changed_since_installed(installed, root)


def changed_since_installed(installed: Distribution, root: Path) -> bool | None:
    """Whether a file of the packages under `root` is not as it was installed, or is new; None
    where these files are not the installed ones, or no digests were written down."""
    wanted = {
        Path(str(file.locate())).resolve(): file.hash.value
        for file in installed.files or ()
        if file.hash is not None and file.hash.mode == "sha256" and file.parts[0] in PACKAGES
    }
    if (root / "suite" / "__init__.py").resolve() not in wanted:
        return None
    present = {path.resolve() for name in PACKAGES for path in (root / name).rglob("*.py")}
    return bool(present - wanted.keys()) or any(_digest(p) != value for p, value in wanted.items())


def _digest(path: Path) -> str:
    """As a wheel's RECORD writes it; empty for a file that is gone."""
    try:
        found = hashlib.sha256(path.read_bytes()).digest()
    except OSError:
        return ""
    return base64.urlsafe_b64encode(found).rstrip(b"=").decode()
