"""The code that a sweep runs: a copy of the checkout's git tree, which later edits do not touch."""

from __future__ import annotations

import os
import shutil
import subprocess
import tarfile
import tempfile
from pathlib import Path
from uuid import uuid4

from suite.cluster.sweep import Code
from suite.errors import EnvironmentProblem, UsageError
from suite.files import explained

ROOT = Path(__file__).resolve().parents[2]
PACKAGES = ("suite", "baselines", "methods")
"""Where a new file counts as code although git does not know it yet."""


def snapshot(results: Path, allow_dirty: bool = False, root: Path = ROOT) -> Code:
    """Copy the code to <results>/code/<tree> (once a tree) and say what it is.

    Uncommitted changes are refused; with `allow_dirty` they are part of the copy, and recorded.
    Raises UsageError for those, EnvironmentProblem where the suite is no git checkout.
    """
    code = describe(results, allow_dirty, root)
    where = Path(code.path)
    if not where.is_dir():
        _extract(root, code.tree, where)
    return code


def describe(results: Path, allow_dirty: bool = False, root: Path = ROOT) -> Code:
    """What `snapshot` would copy, and where to; writes nothing but git objects."""
    commit = _git(root, "rev-parse", "HEAD")
    changed = changes(root)
    if changed and not allow_dirty:
        raise UsageError(
            f"The code has {len(changed)} uncommitted change(s) (first: {changed[0]}); commit "
            "them, or add --allow-dirty to run and record them as they are."
        )
    tree = _tree_of_changes(root) if changed else _git(root, "rev-parse", f"HEAD:{_prefix(root)}")
    path = results.absolute() / "code" / tree
    return Code(tree=tree, commit=commit, dirty=bool(changed), path=str(path))


def changes(root: Path) -> list[str]:
    """Files that differ from the last commit, and new ones in the packages."""
    tracked = _git(root, "diff", "--name-only", "HEAD", "--", ".")
    new = _git(root, "ls-files", "--others", "--exclude-standard", "--", *_present(root))
    return [*tracked.splitlines(), *new.splitlines()]


def _present(root: Path) -> list[str]:
    return [name for name in PACKAGES if (root / name).is_dir()]


def _prefix(root: Path) -> str:
    """The checkout's place in its repository: empty, or `folder/`."""
    return _git(root, "rev-parse", "--show-prefix")


def _tree_of_changes(root: Path) -> str:
    """The tree with all changes in it, made beside git's own index."""
    with tempfile.TemporaryDirectory() as folder:
        index = {"GIT_INDEX_FILE": str(Path(folder) / "index")}
        _git(root, "read-tree", "HEAD", **index)
        _git(root, "add", "--update", "--", ".", **index)
        _git(root, "add", "--", *_present(root), **index)
        prefix = _prefix(root)
        return _git(root, "write-tree", *([f"--prefix={prefix}"] if prefix else []), **index)


def _extract(root: Path, tree: str, where: Path) -> None:
    """Unpack a tree beside its final place and move it there when complete."""
    with explained(where):
        where.parent.mkdir(parents=True, exist_ok=True)
        beside = where.with_name(f".{where.name}.{uuid4().hex}")
        try:
            with (
                subprocess.Popen(
                    ["git", "-C", str(root), "archive", "--format=tar", tree],
                    stdout=subprocess.PIPE,
                ) as archive,
                tarfile.open(fileobj=archive.stdout, mode="r|") as tar,
            ):
                tar.extractall(beside, filter="data")
            if archive.returncode:
                raise EnvironmentProblem(f"`git archive {tree}` failed in {root}.")
            _move(beside, where)
        finally:
            shutil.rmtree(beside, ignore_errors=True)


def _move(beside: Path, where: Path) -> None:
    try:
        beside.rename(where)
    except OSError:
        # Another submission of the same tree was faster; its copy is the same.
        if not where.is_dir():
            raise


def _git(root: Path, *words: str, **environment: str) -> str:
    try:
        done = subprocess.run(
            ["git", "-C", str(root), *words],
            capture_output=True,
            text=True,
            timeout=120,
            env={**os.environ, **environment},
        )
    except (OSError, subprocess.TimeoutExpired) as problem:
        raise EnvironmentProblem(f"git does not answer in {root} ({problem}).") from problem
    if done.returncode:
        said = done.stderr.strip().splitlines()
        raise EnvironmentProblem(
            f"A sweep runs a snapshot of the suite's git checkout, and {root} gives none "
            f"({said[-1] if said else 'git failed'}); install the suite from a checkout."
        )
    return done.stdout.strip()
