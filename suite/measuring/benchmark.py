"""Measurements in the JSON layout of pytest-benchmark, for `pytest-benchmark compare`."""

from __future__ import annotations

import platform
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from suite.files import write_text
from suite.measuring.records import Measurement


def write(found: Sequence[Measurement], path: Path) -> None:
    """Write what was measured together; a case without times is left out, as it has no stats."""
    import json

    write_text(path, json.dumps(layout(found), indent=4) + "\n")


def layout(found: Sequence[Measurement]) -> dict[str, Any]:
    """machine_info, commit_info, benchmarks with stats over rounds, as the plugin writes them."""
    from importlib.metadata import version

    from pytest_benchmark.utils import get_commit_info

    return {
        "machine_info": _machine(found[0].provenance),
        "commit_info": get_commit_info("lowbit-suite"),
        "benchmarks": [_benchmark(one) for one in found if one.seconds],
        "datetime": datetime.now(UTC).isoformat(),
        "version": version("pytest-benchmark"),
    }


def _machine(provenance: dict[str, Any]) -> dict[str, Any]:
    return {
        "node": provenance.get("host"),
        "processor": platform.processor(),
        "machine": platform.machine(),
        "python_compiler": platform.python_compiler(),
        "python_implementation": platform.python_implementation(),
        "python_version": platform.python_version(),
        "python_build": list(platform.python_build()),
        "release": platform.release(),
        "system": platform.system(),
        "cpu": {"brand_raw": provenance.get("cpu"), "count": provenance.get("cores")},
    }


def _benchmark(one: Measurement) -> dict[str, Any]:
    from pytest_benchmark.stats import Stats

    stats = Stats()
    for seconds in one.seconds:
        stats.update(seconds)
    name = f"{one.name} ({one.phase} epoch)"
    return {
        "group": one.cell["model"],
        "name": name,
        "fullname": f"lowbit measure::{one.cell['model']}::{name}",
        "params": None,
        "param": None,
        "extra_info": {"memory": one.memory, "time": one.time, **one.conditions},
        "options": {"warmup": True, "timer": "perf_counter"},
        "stats": {**stats.as_dict(), "data": one.seconds, "iterations": one.conditions["steps"]},
    }
