"""The words of the front ends: which options exist, and what their values mean."""

from __future__ import annotations

import os
import tomllib
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from suite.cell import short
from suite.errors import UsageError
from suite.options import Compile, Options, default_results

if TYPE_CHECKING:
    from suite.grid import Choice

CHOICES = {
    "method": "methods, comma-separated (lowbit list shows them)",
    "model": "models, comma-separated",
    "task": "tasks, comma-separated",
    "bits": "bit-width of weights and activations: 2 or 2,3,4",
    "e-bits": "bit-width of the word embeddings (text models)",
    "w-bits": "bit-width of the weights alone",
    "a-bits": "bit-width of the activations alone",
    "seed": "seeds, comma-separated",
    "variant": "variants: paper, released, corrected",
    "draws": "calibration draws: seeds 0 to N-1",
    "groups": "embedding groups K of peg (0: one a dimension)",
    "permute": "how peg assigns dimensions to groups: none, own or shared",
    "at": "places with groups, like x,h,y",
    "places": "bits by place, like x=16,h=16,P=fp32",
    "texts-per-batch": "samples of one calibration batch",
    "batches": "calibration batches",
    "set": "a method setting, NAME=VALUE (can be repeated)",
    "recipe": "a recipe field, NAME=VALUE (can be repeated)",
    "results": "results folder (default: $LOWBIT_RESULTS or ./results)",
    "data": "folder of the task's data",
    "weights": "file with FP32 weights, instead of the hub's",
    "weights-state": "which state of the weights file, like state_dict_ema, where it has several",
    "soft-labels": "folder with an archive of soft labels",
    "texts": "UTF-8 file with one text a line, for the task agreement",
    "device": "auto, cpu or cuda",
    "threads": "CPU threads (default: the cores that are free, fewer for a small model)",
    "workers": "data loading processes",
    "compile": "torch.compile the training step: auto, on or off",
    "checkpoint-minutes": "minutes between checkpoints within a pass",
}
"""Options that take a value, with their help."""

SWITCHES = {
    "all": "take every cell that fits, not only the headline one",
    "fresh": "run again although a record is stored",
    "no-gate": "go on even if the FP32 model is worse than it should be",
}

SETTINGS = {"groups": "groups", "permute": "permute", "at": "at", "places": "places"}
RECIPE = {"texts-per-batch": "calibration_images", "batches": "calibration_batches"}
"""Options that stand for a method's setting or a recipe's field."""

NUMBERS = ("groups", "texts-per-batch", "batches")

DIGITS = 18
"""Of a whole number: every store holds it in 64 bits."""

MOST_DRAWS = 10_000

Value = Callable[[str], Any]
"""From an option's name to its value(s): a list of strings, a bool, or None."""


def choice_from(value: Value) -> Choice:
    """Read the selection; raises UsageError on a value that cannot be."""
    from suite.grid import Choice

    return Choice(
        methods=_words(value("method")),
        models=_words(value("model")),
        tasks=_words(value("task")),
        bits=_bits(value, "bits"),
        w_bits=_bits(value, "w-bits"),
        a_bits=_bits(value, "a-bits"),
        e_bits=_bits(value, "e-bits"),
        seeds=_seeds(value),
        variants=_words(value("variant")),
        settings={**_pairs("set", value("set")), **_short(value, SETTINGS)},
        recipe={**_pairs("recipe", value("recipe")), **_short(value, RECIPE)},
        everything=bool(value("all")),
    )


def options_from(value: Value) -> Options:
    """Read how to execute; raises UsageError on a value that cannot be."""
    results = _last(value("results"))
    compiled = _last(value("compile")) or "auto"
    if compiled not in ("auto", "on", "off"):
        raise UsageError(f"--compile cannot be {compiled!r}; valid: auto, on, off.")
    weights, state = _path(value("weights")), _last(value("weights-state")) or ""
    if state and (weights is None or os.path.isdir(weights)):
        raise UsageError(f"--weights-state {state} is of a file; name it with --weights FILE.")
    return Options(
        results=Path(results).expanduser() if results else default_results(),
        data=_path(value("data")),
        weights=weights,
        weights_state=state,
        soft_labels=_path(value("soft-labels")),
        texts=_path(value("texts")),
        device=_last(value("device")) or "auto",
        threads=_whole("threads", _last(value("threads")) or "0"),
        workers=_whole("workers", _last(value("workers")) or "0"),
        compile=cast(Compile, compiled),
        checkpoint_minutes=_minutes(_last(value("checkpoint-minutes")) or "10"),
        fresh=bool(value("fresh")),
        gate=not value("no-gate"),
    )


def _words(values: list[str] | None) -> tuple[str, ...]:
    words = [w.strip() for v in values or [] for w in v.split(",")]
    return tuple(dict.fromkeys(w for w in words if w))


def _bits(value: Value, name: str) -> tuple[int, ...]:
    from suite.grid import parse_bits

    return tuple(b for text in value(name) or [] for b in parse_bits(text, f"--{name}"))


def _seeds(value: Value) -> tuple[int, ...]:
    draws = _last(value("draws"))
    if draws is None:
        return tuple(_whole("seed", word) for word in _words(value("seed")))
    if value("seed") or not 1 <= _whole("draws", draws) <= MOST_DRAWS:
        raise UsageError(
            f"--draws {draws} stands for seeds 0 to N-1; give 1 to {MOST_DRAWS}, and no --seed."
        )
    return tuple(range(int(draws)))


def _short(value: Value, names: dict[str, str]) -> dict[str, Any]:
    """The options among `names` that were given, by what they stand for."""
    found: dict[str, Any] = {}
    for option, field in names.items():
        word = _last(value(option))
        if word is not None:
            found[field] = _whole(option, word) if option in NUMBERS else word
    return found


def _whole(name: str, word: str) -> int:
    if not (word.isascii() and word.isdigit() and len(word) <= DIGITS):
        raise UsageError(
            f"--{name} cannot be {short(word)}; give a whole number, 0 or more, of at most "
            f"{DIGITS} digits."
        )
    return int(word)


def _minutes(word: str) -> float:
    try:
        minutes = float(word)
    except ValueError:
        minutes = -1.0
    if not minutes >= 0:
        raise UsageError(f"--checkpoint-minutes cannot be {word!r}; give a number, 0 or more.")
    return minutes


def _pairs(name: str, values: list[str] | None) -> dict[str, Any]:
    """NAME=VALUE with TOML values; a bare word is a string."""
    found = {}
    for text in values or []:
        key, equals, word = text.partition("=")
        if not equals or not key.strip().isidentifier():
            raise UsageError(f"--{name} cannot be {text!r}; write NAME=VALUE, like epochs=3.")
        try:
            found[key.strip()] = tomllib.loads(f"value = {word}")["value"]
        except (ValueError, RecursionError):
            found[key.strip()] = word.strip()
    return found


def _last(values: list[str] | None) -> str | None:
    return values[-1] if values else None


def _path(values: list[str] | None) -> Path | None:
    last = _last(values)
    return Path(last).expanduser() if last else None
