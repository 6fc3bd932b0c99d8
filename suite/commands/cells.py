"""Cells: list, run, prepare, show, outliers; and this machine: doctor, certify."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from suite.choosing import choice_from, options_from
from suite.commands.given import (
    ABitsO,
    AllO,
    AtO,
    BatchesO,
    BitsO,
    CompileO,
    DataO,
    DeviceO,
    DrawsO,
    EBitsO,
    FreshO,
    GroupsO,
    LabelsO,
    MethodO,
    MinutesO,
    ModelO,
    NoGateO,
    PerBatchO,
    PermuteO,
    PlacesO,
    RecipeO,
    ResultsO,
    SeedO,
    SetO,
    TaskO,
    TextsO,
    ThreadsO,
    VariantO,
    WBitsO,
    WeightsO,
    WorkersO,
    named,
)


def list_(
    what: Annotated[str, typer.Argument(help="methods, models, tasks, cells or all")] = "all",
    data: DataO = None,
    results: ResultsO = None,
) -> None:
    """Show methods, models, tasks and cells, and what each lacks on this machine."""
    from suite.listing import listing

    print(listing(what, options_from(named(data=data, results=results))))


def run(
    method: MethodO = None,
    model: ModelO = None,
    task: TaskO = None,
    bits: BitsO = None,
    w_bits: WBitsO = None,
    a_bits: ABitsO = None,
    e_bits: EBitsO = None,
    seed: SeedO = None,
    variant: VariantO = None,
    draws: DrawsO = None,
    groups: GroupsO = None,
    permute: PermuteO = None,
    at: AtO = None,
    places: PlacesO = None,
    texts_per_batch: PerBatchO = None,
    batches: BatchesO = None,
    set_: SetO = None,
    recipe: RecipeO = None,
    results: ResultsO = None,
    data: DataO = None,
    weights: WeightsO = None,
    soft_labels: LabelsO = None,
    texts: TextsO = None,
    device: DeviceO = None,
    threads: ThreadsO = None,
    workers: WorkersO = None,
    compile_: CompileO = None,
    checkpoint_minutes: MinutesO = None,
    all_: AllO = False,
    fresh: FreshO = False,
    no_gate: NoGateO = False,
) -> None:
    """Run the selected cells (stored ones are not run again) and print their table."""
    from suite.session import run_cells

    value = named(**locals())
    raise typer.Exit(run_cells(choice_from(value), options_from(value)))


def prepare(
    method: MethodO = None,
    model: ModelO = None,
    task: TaskO = None,
    bits: BitsO = None,
    seed: SeedO = None,
    variant: VariantO = None,
    recipe: RecipeO = None,
    results: ResultsO = None,
    data: DataO = None,
    weights: WeightsO = None,
    soft_labels: LabelsO = None,
    device: DeviceO = None,
    threads: ThreadsO = None,
    workers: WorkersO = None,
    all_: AllO = False,
) -> None:
    """Make what the selected cells need: FP32 models and soft labels."""
    from suite.session import prepare_cells

    value = named(**locals())
    prepare_cells(choice_from(value), options_from(value))


def show(
    cell: Annotated[str, typer.Argument(help="a cell id or the beginning of one")],
    results: ResultsO = None,
) -> None:
    """Print every record of a cell as JSON, oldest first."""
    from suite.listing import records_of

    for record in records_of(cell, options_from(named(results=results)).results):
        print(record.model_dump_json(indent=1))


def outliers(
    cell: Annotated[str, typer.Argument(help="a cell id or the beginning of one")],
    out: Annotated[Path, typer.Option(help="folder for the pictures")] = Path("."),
    results: ResultsO = None,
) -> None:
    """Draw where a calibrated text cell has outliers, as PNG and SVG."""
    from suite.listing import records_of
    from suite.report.outliers import draw
    from suite.results import Store

    options = options_from(named(results=results))
    done = [r for r in records_of(cell, options.results) if r.status == "done"]
    for path in draw(done[-1], Store(options.results), out) if done else ():
        print(path)


def doctor(data: DataO = None, results: ResultsO = None) -> None:
    """Say what is installed, found and missing, and the command that mends it."""
    from suite.doctor import diagnose

    text, healthy = diagnose(options_from(named(data=data, results=results)))
    print(text)
    raise typer.Exit(0 if healthy else 3)


def certify(
    golden: Annotated[Path | None, typer.Option(help="folder with *.npz golden values")] = None,
) -> None:
    """Replay the authors' values against the code that the methods run."""
    from suite.certify import certify as replay
    from suite.certify.report import render

    report = replay(golden)
    print(render(report))
    raise typer.Exit(0 if report.ok else 1)


def register(app: typer.Typer) -> None:
    app.command("list")(list_)
    for command in (run, prepare, show, outliers, doctor, certify):
        app.command()(command)
