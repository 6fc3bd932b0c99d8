"""The documents: commands that exist, links that lead somewhere."""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import pytest
import typer

from suite.choosing import choice_from, options_from
from suite.cli import app
from suite.grid import Choice, select
from suite.runner import cell_id, method_of

ROOT = Path(__file__).resolve().parents[2]
README = (ROOT / "README.md").read_text(encoding="utf-8")
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
ELSEWHERE = {"--nproc-per-node", "--no-deps", "--no-install-recommends"}
"""Options of other programs that the documents name."""


def fenced(text: str, language: str) -> list[str]:
    """The contents of the fenced blocks of one language."""
    return re.findall(rf"^```{language}\n(.*?)^```", text, re.MULTILINE | re.DOTALL)


def commands(program: str) -> list[list[str]]:
    """The arguments of every call of `program` in the README's shell blocks."""
    found = []
    for line in "\n".join(fenced(README, "sh")).splitlines():
        for part in re.split(r"&&|;", line):
            words = shlex.split(part, comments=True)
            places = [i for i, word in enumerate(words) if Path(word).name == program]
            found += [words[places[-1] + 1 :]] if places else []
    return found


def parsed(words: list[str]) -> tuple[str, dict[str, Any]]:
    """A `lowbit` command's name and values, by the parser that runs it; nothing is executed."""
    group: Any = typer.main.get_command(app)
    with group.make_context("lowbit", words[:0], resilient_parsing=True) as outer:
        name, command, rest = group.resolve_command(outer, words)
        with command.make_context(name, rest, parent=outer) as inner:
            return name, inner.params


def lookup(values: dict[str, Any]) -> Any:
    return {name.rstrip("_").replace("_", "-"): value for name, value in values.items()}.get


# Commands


def test_the_readme_has_commands_to_check() -> None:
    assert len(commands("lowbit")) >= 9
    assert len(commands("pytest")) >= 2
    assert {words[0] for words in commands("lowbit")} >= {"list", "run", "show", "certify"}


@pytest.mark.parametrize("words", commands("lowbit"), ids=" ".join)
def test_a_lowbit_command_parses_and_its_cells_can_exist(words: list[str]) -> None:
    name, values = parsed(words)
    if name in ("run", "prepare"):
        options_from(lookup(values))
        found = select(choice_from(lookup(values)))
        assert found.cells
        for cell in found.cells:
            method_of(cell)
    if name == "show":
        ids = [cell_id(cell) for cell in select(Choice(everything=True)).cells]
        assert any(known.startswith(values["cell"]) for known in ids)


def test_a_misspelt_option_would_be_noticed() -> None:
    with pytest.raises(Exception, match="No such option"):
        parsed(["run", "--metod", "lsq"])


def test_the_grid_of_the_readme_is_six_cells() -> None:
    (words,) = [w for w in commands("lowbit") if w[0] == "run" and "lsq,variation" in w]
    assert len(select(choice_from(lookup(parsed(words)[1]))).cells) == 6


@pytest.mark.parametrize("words", commands("pytest"), ids=" ".join)
def test_a_pytest_command_collects(words: list[str]) -> None:
    folder, *options = words
    assert (ROOT / folder).is_dir()
    if not options:
        return
    command = [sys.executable, "-m", "pytest", folder, *options, "--collect-only", "-q"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=100)
    assert done.returncode == 0, done.stdout + done.stderr
    asked = dict(option.removeprefix("--").split("=", 1) for option in options)
    expected = select(choice_from(lookup({name: [value] for name, value in asked.items()})))
    assert set(re.findall(r"::test_cell\[(.*)\]", done.stdout)) == {
        cell.label for cell in expected.cells
    }


def test_the_set_up_lines_install_what_exists() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert ["install", "-c", "constraints.txt", "-e", ".[test]"] in commands("pip")
    assert "test" in project["optional-dependencies"]
    assert (ROOT / "constraints.txt").is_file()
    assert "lowbit" in project["scripts"]


def known_options() -> set[str]:
    group: Any = typer.main.get_command(app)
    every = [option for command in group.commands.values() for option in command.params]
    return {word for option in every for word in option.opts if word.startswith("--")}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_option_that_a_page_names_exists(page: Path) -> None:
    named = set(re.findall(r"(?<![\w-])--[a-z][a-z-]*", page.read_text(encoding="utf-8")))
    assert named <= known_options() | ELSEWHERE


def test_the_output_is_shown() -> None:
    section = README.split("## What the output means")[1].split("\n## ")[0]
    assert re.search(r"^\|.*\btop1\b.*\|$", section, re.MULTILINE)


# Links and paths


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_relative_link_leads_somewhere(page: Path) -> None:
    links = re.findall(r"\]\(([^)\s#]+)(?:#[^)]*)?\)", page.read_text(encoding="utf-8"))
    broken = [link for link in links if "://" not in link and not (page.parent / link).exists()]
    assert broken == []


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_path_that_a_page_names_exists(page: Path) -> None:
    text = re.sub(r"^```.*?^```", "", page.read_text(encoding="utf-8"), flags=re.M | re.S)
    named = re.findall(r"`((?:suite|tests|tables|docs|slurm)/[\w./-]+)`", text)
    assert [path for path in named if not (ROOT / path).exists()] == []


def test_every_module_of_the_architecture_exists() -> None:
    text = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
    here = {
        path.name
        for room in ("suite", "baselines", "methods", "tests")
        for path in (ROOT / room).rglob("*.py")
    }
    assert set(re.findall(r"\b\w+\.py\b", text)) <= here
