"""What is installed, found and missing, and the command that mends it."""

from __future__ import annotations

import shutil
from importlib.metadata import PackageNotFoundError, requires, version

from packaging.requirements import Requirement

from suite.cores import allowed, used_by_others
from suite.data import missing_of
from suite.errors import EnvironmentProblem
from suite.listing import aligned
from suite.options import Options
from suite.registry import METHODS, TASKS
from suite.results import Store

Finding = tuple[str, str, str]


def diagnose(options: Options) -> tuple[str, bool]:
    """Text for `lowbit doctor`, and whether everything that the suite itself needs is well.

    Missing data is told but is no illness: the embedded tasks need none.
    """
    packages = _packages()
    places = [_results(options), _golden()]
    machine = _machine()
    tasks = [_task(name, options) for name in TASKS.names()]
    text = "\n\n".join(
        f"{title}\n{aligned(rows)}"
        for title, rows in (
            ("Packages", packages),
            ("Machine", machine),
            ("Places", places),
            ("Data", tasks),
            ("Methods", [("registered", "ok", ", ".join(METHODS.names()))]),
        )
    )
    return text, all(row[1] == "ok" for row in packages + places)


def _packages() -> list[Finding]:
    found = []
    for text in requires("lowbit-suite") or []:
        need = Requirement(text)
        if need.marker and not need.marker.evaluate({"extra": ""}):
            continue
        found.append(_package(need))
    return found


def _package(need: Requirement) -> Finding:
    try:
        have = version(need.name)
    except PackageNotFoundError:
        return (need.name, "missing", f"pip install '{need}'")
    if need.specifier.contains(have, prereleases=True):
        return (need.name, "ok", have)
    return (need.name, "too old", f"{have}; pip install '{need}'")


def _machine() -> list[Finding]:
    import torch

    from suite.provenance import cpu_name, device_name

    cores = f"{allowed()} cores, others use {used_by_others():.1f} of them"
    cuda = torch.cuda.is_available()
    gpu = device_name(torch.device("cuda", 0)) if cuda else "none (cells run on the CPU)"
    compiler = shutil.which("g++") or shutil.which("clang++")
    how = compiler or "none: --compile on needs one on a CPU, e.g. apt-get install g++"
    return [
        ("cpu", "ok", f"{cpu_name()}, {cores}"),
        ("gpu", "ok" if cuda else "none", gpu),
        ("compiler", "ok" if compiler else "none", how),
    ]


def _results(options: Options) -> Finding:
    try:
        Store(options.results).prepare()
    except EnvironmentProblem as problem:
        return ("results", "not writable", str(problem))
    return ("results", "ok", str(options.results.resolve()))


def _golden() -> Finding:
    from suite.certify import GOLDEN

    files = sorted(GOLDEN.glob("*.npz"))
    if files:
        return ("golden values", "ok", ", ".join(f.name for f in files))
    return ("golden values", "missing", "install the suite anew, from a checkout or a whole wheel")


def _task(name: str, options: Options) -> Finding:
    missing = missing_of(name, options)
    return (name, "missing", str(missing)) if missing else (name, "ok", "ready")
