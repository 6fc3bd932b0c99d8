"""One declaration of an option serves every command that takes it."""

from __future__ import annotations

from typing import Annotated, Any

import pytest
import typer
from typer.testing import CliRunner

from suite.choosing import CHOICES, SWITCHES
from suite.commands.given import EXECUTING, SELECTING, taking


def app(*names: str) -> typer.Typer:
    found = typer.Typer()

    @found.command()
    @taking(*names)
    def command(
        given: dict[str, Any], own: Annotated[int, typer.Option(help="its own")] = 3
    ) -> None:
        """What it does."""
        print(own, given)

    return found


def test_values_arrive_by_option_name_beside_the_commands_own() -> None:
    words = ["--w-bits", "2", "--own", "4", "--set", "a=1", "--set", "b=2", "--all"]
    done = CliRunner().invoke(app("w-bits", "set", "all", "seed"), words)
    assert (
        done.output.strip()
        == "4 {'w-bits': ['2'], 'set': ['a=1', 'b=2'], 'all': True, 'seed': None}"
    )


def test_help_shows_own_and_shared_options() -> None:
    shown = CliRunner().invoke(app("method", "all"), ["--help"]).output
    assert "its own" in shown
    assert SWITCHES["all"][:20] in shown
    assert "--method" in shown


def test_an_option_that_does_not_exist_cannot_be_taken() -> None:
    with pytest.raises(KeyError):
        taking("metod")


def test_every_option_of_the_pytest_front_end_is_one_of_the_commands() -> None:
    assert {*CHOICES, *SWITCHES} == {*SELECTING, *EXECUTING, "workers", "fresh"}
