"""Claims and errata: what the papers say, and what records and their code say of it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from suite.commands.given import FoldersO, PaperO
from suite.commands.store import folders_of, tell

if TYPE_CHECKING:
    from suite.collect import Collected


def claims(
    results: FoldersO = None,
    scale: Annotated[str | None, typer.Option(help="paper or embedded", show_default=False)] = None,
    paper: PaperO = None,
) -> None:
    """Print the papers' claims, each with its verdict, and what is missing to decide it."""
    from suite.claims import claims as judged
    from suite.claims.page import checked_scale, told

    chosen = checked_scale(scale)
    print(told(judged(_collected(results), chosen), paper))


def errata(
    name: Annotated[str | None, typer.Argument(help="one erratum's id", metavar="[ID]")] = None,
    paper: PaperO = None,
    results: FoldersO = None,
) -> None:
    """Print where papers, code and published numbers differ, and what it does to a metric."""
    from suite.errata import errata as entries
    from suite.errata import erratum
    from suite.errata_effects import effects
    from suite.errata_page import listed, whole

    chosen = entries(paper) if name is None else [erratum(name)]
    found = effects(chosen, _collected(results))
    print(listed(chosen, found) if name is None else whole(chosen[0], found[chosen[0].id]))


def _collected(results: list[str] | None) -> Collected:
    """The records of the folders; what could not be used is named on standard error."""
    from suite.claims.records import HEAVY, MANY
    from suite.collect import collect

    folders = folders_of(results)
    found = collect(folders)
    tell(found.left_out)
    return collect(folders, heavy=HEAVY) if len(found.runs) <= MANY else found


def register(app: typer.Typer) -> None:
    for command in (claims, errata):
        app.command()(command)
