"""The command line: `lowbit list | run | show | prepare | doctor | certify`."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from suite.choosing import CHOICES, choice_from, options_from
from suite.errors import LowbitError

app = typer.Typer(
    help="Does this paper hold? Cells of the papers' tables, rerun with one command.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)


def _option(name: str) -> Any:
    return typer.Option(f"--{name}", help=CHOICES[name], show_default=False)


Many = list[str] | None
MethodO = Annotated[Many, _option("method")]
ModelO = Annotated[Many, _option("model")]
TaskO = Annotated[Many, _option("task")]
BitsO = Annotated[Many, _option("bits")]
WBitsO = Annotated[Many, _option("w-bits")]
EBitsO = Annotated[Many, _option("e-bits")]
TextsO = Annotated[Many, _option("texts")]
DrawsO = Annotated[Many, _option("draws")]
GroupsO = Annotated[Many, _option("groups")]
PermuteO = Annotated[Many, _option("permute")]
AtO = Annotated[Many, _option("at")]
PlacesO = Annotated[Many, _option("places")]
PerBatchO = Annotated[Many, _option("texts-per-batch")]
BatchesO = Annotated[Many, _option("batches")]
ABitsO = Annotated[Many, _option("a-bits")]
SeedO = Annotated[Many, _option("seed")]
VariantO = Annotated[Many, _option("variant")]
SetO = Annotated[Many, _option("set")]
RecipeO = Annotated[Many, _option("recipe")]
ResultsO = Annotated[Many, _option("results")]
DataO = Annotated[Many, _option("data")]
WeightsO = Annotated[Many, _option("weights")]
LabelsO = Annotated[Many, _option("soft-labels")]
DeviceO = Annotated[Many, _option("device")]
ThreadsO = Annotated[Many, _option("threads")]
WorkersO = Annotated[Many, _option("workers")]
CompileO = Annotated[Many, _option("compile")]
MinutesO = Annotated[Many, _option("checkpoint-minutes")]
AllO = Annotated[bool, typer.Option("--all", help="take every cell that fits")]
FreshO = Annotated[bool, typer.Option("--fresh", help="run again although a record is stored")]
NoGateO = Annotated[bool, typer.Option("--no-gate", help="go on below the FP32 gate")]


@app.command("list")
def list_(
    what: Annotated[str, typer.Argument(help="methods, models, tasks, cells or all")] = "all",
    data: DataO = None,
    results: ResultsO = None,
) -> None:
    """Show methods, models, tasks and cells, and what each lacks on this machine."""
    from suite.listing import listing

    print(listing(what, options_from(_named(data=data, results=results))))


@app.command()
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

    value = _named(**locals())
    raise typer.Exit(run_cells(choice_from(value), options_from(value)))


@app.command()
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

    value = _named(**locals())
    prepare_cells(choice_from(value), options_from(value))


@app.command()
def show(
    cell: Annotated[str, typer.Argument(help="a cell id or the beginning of one")],
    results: ResultsO = None,
) -> None:
    """Print every record of a cell as JSON, oldest first."""
    from suite.listing import records_of

    for record in records_of(cell, options_from(_named(results=results)).results):
        print(record.model_dump_json(indent=1))


@app.command()
def outliers(
    cell: Annotated[str, typer.Argument(help="a cell id or the beginning of one")],
    out: Annotated[Path, typer.Option(help="folder for the pictures")] = Path("."),
    results: ResultsO = None,
) -> None:
    """Draw where a calibrated text cell has outliers, as PNG and SVG."""
    from suite.listing import records_of
    from suite.report.outliers import draw
    from suite.results import Store

    options = options_from(_named(results=results))
    done = [r for r in records_of(cell, options.results) if r.status == "done"]
    for path in draw(done[-1], Store(options.results), out) if done else ():
        print(path)


@app.command()
def doctor(data: DataO = None, results: ResultsO = None) -> None:
    """Say what is installed, found and missing, and the command that mends it."""
    from suite.doctor import diagnose

    text, healthy = diagnose(options_from(_named(data=data, results=results)))
    print(text)
    raise typer.Exit(0 if healthy else 3)


@app.command()
def certify(
    golden: Annotated[Path | None, typer.Option(help="folder with *.npz golden values")] = None,
) -> None:
    """Replay the authors' values against the code that the methods run."""
    from suite.certify import certify as replay
    from suite.certify.report import render

    report = replay(golden)
    print(render(report))
    raise typer.Exit(0 if report.ok else 1)


def _named(**given: Any) -> Any:
    """A lookup by option name over a command's arguments (`w_bits` is `w-bits`)."""
    values = {name.rstrip("_").replace("_", "-"): value for name, value in given.items()}
    return values.get


def main() -> None:
    """Entry point: an expected error is one sentence on standard error and its exit code."""
    try:
        app()
    except LowbitError as problem:
        print(f"lowbit: {problem}", file=sys.stderr)
        sys.exit(problem.exit_code)
