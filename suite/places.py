"""Where the data that is no Python lies: tables, profiles and golden values.

In a checkout they have folders of their own at its top; a wheel carries them inside the package,
since `tables` is another project's import name (setup.py puts them there).
"""

from __future__ import annotations

from pathlib import Path

from suite.errors import Missing

PACKAGE = Path(__file__).resolve().parent
SHIPPED = PACKAGE / "_shipped"
"""What a wheel has; no checkout does."""

ROOT = SHIPPED if SHIPPED.is_dir() else PACKAGE.parent


def place(*parts: str) -> Path:
    """Path of a data folder or file, by its place in a checkout: `place("tables", "errata")`."""
    return ROOT.joinpath(*parts)


def present(folder: Path) -> Path:
    """The folder itself; raises Missing where it is not, so that nothing is read as if empty."""
    if not folder.is_dir():
        raise Missing(
            f"The suite's data folder {folder} is not there; install the suite anew, from a whole "
            "checkout or from a wheel that was built of one."
        )
    return folder
