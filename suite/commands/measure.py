"""Memory and time of training steps: measure."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from suite.commands.given import ABitsO, BitsO, MethodO, ResultsO, VariantO, WBitsO

StepsO = Annotated[int, typer.Option(min=1, help="timed steps a turn")]
RoundsO = Annotated[int, typer.Option(min=1, help="turns of every case")]


def measure(
    model: Annotated[str, typer.Option(help="the model to train")] = "deit_tiny",
    method: MethodO = None,
    bits: BitsO = None,
    w_bits: WBitsO = None,
    a_bits: ABitsO = None,
    variant: VariantO = None,
    batch: Annotated[int, typer.Option(min=1, help="samples a step")] = 8,
    size: Annotated[int, typer.Option(min=0, help="pixels or tokens (0: the model's own)")] = 0,
    images: Annotated[
        int, typer.Option(min=0, help="samples of an epoch (0: ImageNet's 1,281,167)")
    ] = 0,
    steps: StepsO = 3,
    rounds: RoundsO = 5,
    device: Annotated[str, typer.Option(help="auto, cpu or cuda")] = "auto",
    threads: Annotated[int, typer.Option(min=0, help="CPU threads (0: all cores)")] = 0,
    compile_: Annotated[bool, typer.Option("--compile", help="torch.compile the step")] = False,
    results: ResultsO = None,
    benchmark_json: Annotated[
        Path | None, typer.Option(help="also write pytest-benchmark's JSON", show_default=False)
    ] = None,
) -> None:
    """Compare methods by peak memory and time per epoch, beside FP32 and the authors' code."""
    from suite.measuring.command import run

    given: dict[str, Any] = {
        **locals(),
        "compiled": compile_,
        "w-bits": w_bits,
        "a-bits": a_bits,
    }
    raise typer.Exit(run(given, lambda text: print(text, file=sys.stderr)))


def register(app: typer.Typer) -> None:
    app.command()(measure)
