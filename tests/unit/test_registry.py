"""Names: found lazily, once each, with a suggestion for a misspelt one."""

from __future__ import annotations

import json
import subprocess
import sys
from importlib.metadata import EntryPoint
from pathlib import Path
from typing import Any

import pytest

from suite import registry
from suite.errors import LowbitError, UsageError
from suite.registry import METHODS, MODELS, TASKS, Collision, Registry


def named(*names: str) -> Registry[Any]:
    found: Registry[Any] = Registry("thing", "lowbit.test_things")
    for name in names:
        found.add(name, f"json:{name}")
    return found


def offer(monkeypatch: pytest.MonkeyPatch, *points: tuple[str, str]) -> None:
    """Let installed packages provide these entry points, in the group that is asked for."""

    def entry_points(group: str) -> list[EntryPoint]:
        return [EntryPoint(name, value, group) for name, value in points]

    monkeypatch.setattr(registry, "entry_points", entry_points)


def test_an_entry_is_imported_when_it_is_asked_for() -> None:
    things = named("dumps")
    things.add("broken", "no.such.module:x")
    assert things.names() == ["broken", "dumps"]
    assert things.check("broken") == "broken"
    assert things.get("dumps") is json.dumps
    assert things.get("dumps") is json.dumps


def test_an_object_can_be_registered_itself() -> None:
    things, entry = named(), object()
    things.add("it", entry)
    assert things.get("it") is entry


def test_a_second_provider_of_a_name_is_an_error() -> None:
    things = named("dumps")
    with pytest.raises(Collision, match="'dumps' is claimed twice: by 'json:dumps' and by 'x:y'"):
        things.add("dumps", "x:y")
    assert things.get("dumps") is json.dumps


@pytest.mark.parametrize(
    ("names", "asked", "words"),
    [
        (("variation", "lsq"), "variatoin", "Unknown thing 'variatoin'. Did you mean 'variation'?"),
        (("variation", "lsq"), "xyz", "Unknown thing 'xyz'. Registered: lsq, variation."),
        ((), "x", "Registered: none."),
    ],
)
def test_an_unknown_name_is_answered_with_the_valid_ones(
    names: tuple[str, ...], asked: str, words: str
) -> None:
    for ask in (named(*names).get, named(*names).check):
        with pytest.raises(UsageError) as caught:
            ask(asked)
        assert words in str(caught.value)
        assert "\n" not in str(caught.value)


def test_another_package_adds_a_name(monkeypatch: pytest.MonkeyPatch) -> None:
    offer(monkeypatch, ("theirs", "json:loads"))
    things = named("dumps")
    assert things.names() == ["dumps", "theirs"]
    assert things.get("theirs") is json.loads


def test_another_packages_collision_stays_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    """Also when it is asked again: what was not added the first time must not be forgotten."""
    offer(monkeypatch, ("dumps", "theirs:x"), ("later", "json:loads"))
    things = named("dumps")
    for _ in range(2):
        with pytest.raises(Collision, match="'dumps'"):
            things.names()


@pytest.mark.parametrize("value", ["no_such_package:METHOD", "json:no_such_attribute"])
def test_an_entry_point_that_cannot_be_imported_is_one_sentence(
    monkeypatch: pytest.MonkeyPatch, value: str
) -> None:
    offer(monkeypatch, ("theirs", value))
    with pytest.raises(LowbitError, match="theirs") as caught:
        named().get("theirs")
    assert "\n" not in str(caught.value)


def test_every_module_of_a_package_is_a_name(tmp_path: Path, monkeypatch: Any) -> None:
    package = tmp_path / "somemethods"
    package.mkdir()
    for name in ("__init__", "one", "two", "_private"):
        (package / f"{name}.py").write_text("METHOD = __name__\n")
    monkeypatch.syspath_prepend(tmp_path)
    things = named()
    things.add_modules("somemethods", "METHOD")
    assert things.names() == ["one", "two"]
    assert "somemethods.one" not in sys.modules
    assert things.get("one") == "somemethods.one"


@pytest.mark.parametrize("names", [METHODS, MODELS, TASKS], ids=lambda names: names.kind)
def test_everything_registered_can_be_imported_and_knows_its_name(names: Registry[Any]) -> None:
    for name in names.names():
        assert names.get(name).name == name
        assert names.get(name).summary


@pytest.mark.parametrize(
    "code",
    [
        "import suite, suite.grid, suite.registry, suite.choosing, suite.cli, suite.plugin",
        "from suite.grid import Choice, select; select(Choice(bits=(2,)))",
        "from suite.registry import METHODS, MODELS, TASKS;"
        "[r.names() for r in (METHODS, MODELS, TASKS)]; MODELS.get('deit_tiny')",
        "import sys; from suite.cli import app; app(['--help'], standalone_mode=False)",
        "import sys; from suite.cli import app; app(['run', '--help'], standalone_mode=False)",
        "import suite.summary, suite.results, suite.published",
    ],
    ids=["imports", "selection", "names", "help", "run help", "judgement"],
)
def test_torch_is_not_imported_before_it_is_needed(code: str) -> None:
    heavy = "torch", "timm", "transformers", "torchvision"
    check = f"import sys; bad = [m for m in {heavy} if m in sys.modules]; assert not bad, bad"
    done = subprocess.run(
        [sys.executable, "-c", f"{code}\n{check}"], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
