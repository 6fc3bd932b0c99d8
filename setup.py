"""A wheel carries the data folders inside the package `suite`; all else is in pyproject.toml."""

from __future__ import annotations

import shutil
from pathlib import Path

from setuptools import setup
from setuptools.command.build_py import build_py

DATA = ("tables", "slurm/profiles", "tests/golden")
"""Folders of data that commands read; suite/places.py finds them."""

KINDS = {".toml", ".csv", ".md", ".npz"}


class WithData(build_py):
    """Copies the data folders to suite/_shipped; an editable install finds them in the checkout."""

    def run(self) -> None:
        super().run()
        if self.editable_mode:
            return
        root = Path(__file__).resolve().parent
        for folder in DATA:
            for path in sorted((root / folder).rglob("*")):
                if path.is_file() and path.suffix in KINDS:
                    target = Path(self.build_lib, "suite", "_shipped", path.relative_to(root))
                    target.parent.mkdir(parents=True, exist_ok=True)
                    shutil.copyfile(path, target)


setup(cmdclass={"build_py": WithData})
