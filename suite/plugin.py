"""pytest front end: options, one test a selected cell, and the summary at the end."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest

from suite.cell import Cell
from suite.choosing import CHOICES, SWITCHES, choice_from, options_from
from suite.errors import LowbitError, Missing, UsageError

OUTCOMES = pytest.StashKey[list[Any]]()
MORE = pytest.StashKey[int]()
ORDER: pytest.StashKey[list[str]] = pytest.StashKey()
"""Ids of the selected cells, in the order of the selection."""

WORKER = "lowbit"
"""Under which a worker of pytest-xdist tells the controller what it ran."""


def pytest_addoption(parser: pytest.Parser) -> None:
    group = parser.getgroup("lowbit", "lowbit-suite: which cells, and how to run them")
    for name, explained in CHOICES.items():
        group.addoption(f"--{name}", default=None, action="append", help=explained)
    for name, explained in SWITCHES.items():
        group.addoption(f"--{name}", default=False, action="store_true", help=explained)


def _value(config: pytest.Config) -> Callable[[str], Any]:
    return lambda name: config.getoption(f"--{name}")


def pytest_configure(config: pytest.Config) -> None:
    config.stash[OUTCOMES] = []
    config.stash[MORE] = 0
    config.stash[ORDER] = list[str]()


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Turn the selection into the parameters of the one test that asks for a cell."""
    if "cell" not in metafunc.fixturenames:
        return
    from suite.cores import wait_without_spinning_if_shared
    from suite.grid import select

    wait_without_spinning_if_shared()
    try:
        chosen = select(choice_from(_value(metafunc.config)))
        for cell in chosen.cells:
            _can_exist(cell)
    except UsageError as problem:
        pytest.exit(str(problem), returncode=problem.exit_code)
    metafunc.config.stash[MORE] = chosen.more
    metafunc.config.stash[ORDER] = [cell.to_json() for cell in chosen.cells]
    metafunc.parametrize("cell", chosen.cells, ids=[c.label for c in chosen.cells])


def _can_exist(cell: Cell) -> None:
    from suite.runner import method_of

    method_of(cell)


@pytest.fixture
def obtained(request: pytest.FixtureRequest) -> Callable[[Cell], Any]:
    """Run a cell, or find its record, with progress shown while it runs."""
    from suite.progress import Reporter
    from suite.runner import obtain
    from suite.signals import Interrupted

    capture = request.config.pluginmanager.getplugin("capturemanager")
    options = options_from(_value(request.config))

    def run(cell: Cell) -> Any:
        try:
            with capture.global_and_fixture_disabled(), Reporter() as reporter:
                outcome = obtain(cell, options, reporter)
        except Missing as problem:
            pytest.skip(str(problem))
        except Interrupted as problem:
            pytest.exit(str(problem), returncode=problem.exit_code)
        except LowbitError as problem:
            pytest.fail(str(problem), pytrace=False)
        request.config.stash[OUTCOMES].append(outcome)
        return outcome

    return run


def pytest_sessionfinish(session: pytest.Session) -> None:
    """A worker of pytest-xdist hands over what it ran; the controller writes the summary."""
    config = session.config
    if hasattr(config, "workeroutput"):
        outcomes = [[o.record.model_dump_json(), o.stored] for o in config.stash[OUTCOMES]]
        told = [outcomes, config.stash[MORE], config.stash[ORDER]]
        config.workeroutput[WORKER] = json.dumps(told)


@pytest.hookimpl(optionalhook=True)
def pytest_testnodedown(node: Any, error: object) -> None:
    """Take what a worker ran into the controller's own list."""
    told = getattr(node, "workeroutput", {}).get(WORKER)
    if told is None:
        return
    from suite.results import Record
    from suite.runner import Outcome

    outcomes, more, order = json.loads(told)
    stash: pytest.Stash = node.config.stash
    stash[OUTCOMES] += [Outcome(Record.model_validate_json(r), stored) for r, stored in outcomes]
    stash[MORE] = max(stash[MORE], more)
    if order:
        stash[ORDER] = list(order)


def _in_order(config: pytest.Config) -> list[Any]:
    """The outcomes in the order of the selection, whichever worker was done first."""
    from suite.cell import make_cell

    order = config.stash[ORDER]
    places = {cell: place for place, cell in enumerate(order)}
    outcomes = config.stash.get(OUTCOMES, [])
    return sorted(outcomes, key=lambda o: places.get(make_cell(**o.record.cell).to_json(), 0))


def pytest_terminal_summary(terminalreporter: Any, config: pytest.Config) -> None:
    """One line a cell, a Markdown table, and how many more cells the same words could mean."""
    outcomes = _in_order(config)
    if outcomes:
        from suite.results import Store
        from suite.summary import summary

        store = Store(options_from(_value(config)).results)
        terminalreporter.section("cells")
        terminalreporter.write_line(summary([(o.record, o.stored) for o in outcomes], store))
    more = config.stash.get(MORE, 0)
    if more:
        terminalreporter.write_line(f"and {more} more cells fit these options: add --all")
