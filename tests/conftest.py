"""Fixtures that several kinds of test share."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

os.environ.setdefault("HF_HUB_OFFLINE", "1")


@pytest.fixture
def awkward(tmp_path: Path) -> Path:
    """A folder whose name holds what careless code trips over."""
    folder = tmp_path / 'a "quoted" name,\nwith $HOME & a space'
    folder.mkdir()
    return folder
