"""The options that commands share, and their values by name."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from suite.choosing import CHOICES


def option(name: str) -> Any:
    return typer.Option(f"--{name}", help=CHOICES[name], show_default=False)


Many = list[str] | None
MethodO = Annotated[Many, option("method")]
ModelO = Annotated[Many, option("model")]
TaskO = Annotated[Many, option("task")]
BitsO = Annotated[Many, option("bits")]
WBitsO = Annotated[Many, option("w-bits")]
EBitsO = Annotated[Many, option("e-bits")]
TextsO = Annotated[Many, option("texts")]
DrawsO = Annotated[Many, option("draws")]
GroupsO = Annotated[Many, option("groups")]
PermuteO = Annotated[Many, option("permute")]
AtO = Annotated[Many, option("at")]
PlacesO = Annotated[Many, option("places")]
PerBatchO = Annotated[Many, option("texts-per-batch")]
BatchesO = Annotated[Many, option("batches")]
ABitsO = Annotated[Many, option("a-bits")]
SeedO = Annotated[Many, option("seed")]
VariantO = Annotated[Many, option("variant")]
SetO = Annotated[Many, option("set")]
RecipeO = Annotated[Many, option("recipe")]
ResultsO = Annotated[Many, option("results")]
DataO = Annotated[Many, option("data")]
WeightsO = Annotated[Many, option("weights")]
LabelsO = Annotated[Many, option("soft-labels")]
DeviceO = Annotated[Many, option("device")]
ThreadsO = Annotated[Many, option("threads")]
WorkersO = Annotated[Many, option("workers")]
CompileO = Annotated[Many, option("compile")]
MinutesO = Annotated[Many, option("checkpoint-minutes")]
AllO = Annotated[bool, typer.Option("--all", help="take every cell that fits")]
FreshO = Annotated[bool, typer.Option("--fresh", help="run again although a record is stored")]
NoGateO = Annotated[bool, typer.Option("--no-gate", help="go on below the FP32 gate")]


def named(**given: Any) -> Any:
    """A lookup by option name over a command's arguments (`w_bits` is `w-bits`)."""
    values = {name.rstrip("_").replace("_", "-"): value for name, value in given.items()}
    return values.get
