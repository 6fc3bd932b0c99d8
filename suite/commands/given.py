"""The options that commands share: declared once, and handed to a command by name."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from functools import wraps
from inspect import Parameter, Signature
from typing import Annotated, Any

import typer

from suite.choosing import CHOICES, SWITCHES

Many = list[str] | None
"""Values of an option that can be repeated."""


def option(name: str) -> Any:
    return Annotated[Many, typer.Option(f"--{name}", help=CHOICES[name], show_default=False)]


def switch(name: str) -> Any:
    return Annotated[bool, typer.Option(f"--{name}", help=SWITCHES[name])]


ResultsO = option("results")
DataO = option("data")
MethodO = option("method")
BitsO = option("bits")
WBitsO = option("w-bits")
ABitsO = option("a-bits")
VariantO = option("variant")

FoldersO = Annotated[
    Many, typer.Option("--results", help="results folders (can be repeated)", show_default=False)
]
PaperO = Annotated[
    str | None, typer.Option("--paper", help="of one paper, like P1 or OFQ", show_default=False)
]
MixO = Annotated[
    bool, typer.Option("--mix", help="set records side by side that differ in data or versions")
]

SELECTING = (
    *("method", "model", "task", "bits", "w-bits", "a-bits", "e-bits", "seed", "variant"),
    *("draws", "groups", "permute", "at", "places", "texts-per-batch", "batches", "set"),
    *("recipe", "all"),
)
"""Which cells."""

EXECUTING = (
    *("results", "data", "weights", "weights-state", "soft-labels", "texts", "device", "threads"),
    *("compile", "checkpoint-minutes", "no-gate"),
)
"""How they run."""


def taking(*names: str) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Give a command these options besides its own parameters; it gets their values as `given`, a
    dict by option name, which `choice_from(given.get)` and `options_from(given.get)` read."""
    added = [_parameter(name) for name in names]

    def decorate(command: Callable[..., None]) -> Callable[..., None]:
        own = inspect.signature(command, eval_str=True).parameters.values()
        every = [p.replace(kind=Parameter.KEYWORD_ONLY) for p in own if p.name != "given"] + added

        @wraps(command)
        def called(**values: Any) -> None:
            given = {name: values.pop(_word(name)) for name in names}
            command(**values, given=given)

        # What typer reads; it finds no names to look up in annotations that are types already.
        called.__dict__["__signature__"] = Signature(every)
        called.__annotations__ = {p.name: p.annotation for p in every}
        return called

    return decorate


def _parameter(name: str) -> Parameter:
    annotation, default = (switch(name), False) if name in SWITCHES else (option(name), None)
    return Parameter(_word(name), Parameter.KEYWORD_ONLY, default=default, annotation=annotation)


def _word(name: str) -> str:
    return name.replace("-", "_")
