"""Speed ratios run when this folder is asked for, since other work on the machine disturbs them."""

from __future__ import annotations

from pathlib import Path

import pytest

HERE = Path(__file__).parent


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    asked = [Path(arg.split("::")[0]).resolve() for arg in config.args]
    if any(path == HERE or HERE in path.parents for path in asked):
        return
    skip = pytest.mark.skip(reason="speed ratios want an idle machine: pytest tests/perf -s")
    for item in items:
        if HERE in item.path.parents:
            item.add_marker(skip)
