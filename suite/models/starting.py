"""A cell's model with the weights that it starts from, and where these come from."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from torch import nn

from suite.cell import Cell
from suite.errors import EnvironmentProblem, Missing
from suite.models.catalog import ModelSpec
from suite.models.checkpoint import (
    State,
    Weights,
    digest,
    fits,
    folder_digest,
    load_fp,
    load_quantized,
    pretrained,
    read_tensors,
    read_weights,
)
from suite.models.text_catalog import TextModelSpec
from suite.options import Options
from suite.registry import TASKS, outside

Origin = dict[str, Any]


def start_model(
    spec: Any, cell: Cell, classes: int, fp32: Path | None, options: Options
) -> tuple[nn.Module, Origin]:
    """The model as the recipe's `start` says, and its origin for the record.

    classes: outputs of a text model; fp32: weights of the FP32 cell, if the cell starts from one.
    A `quantized` start gives random weights, for `load_whole` after quantizers are placed.
    """
    model, origin = _STARTS[spec.modality](spec, cell, classes, fp32, options)
    read = cell.recipe.start == "pretrained"
    return model, {**origin, **(_named(cell, options) if read else {})}


def named_weights(cell: Cell, options: Options) -> dict[str, str]:
    """Digest of the weights that --weights names, or else of the folder that the model's name is:
    `digest` of a file's tensors, `files` of a folder; empty when neither is named.

    Raises Missing when --weights names nothing, EnvironmentProblem for a damaged file.
    """
    return {k: v for k, v in _named(cell, options).items() if k != "state"}


def _named(cell: Cell, options: Options) -> dict[str, str]:
    """The same, and which `state` of a file with named ones was taken."""
    folder = Path(cell.model) if outside(cell.model) else None
    path = options.weights or folder
    if path is not None and path.is_dir():
        return {"files": folder_digest(path)}
    return _origin(read_weights(options.weights, options.weights_state)) if options.weights else {}


def _origin(weights: Weights) -> dict[str, str]:
    state = {"state": weights.state} if weights.state else {}
    return {"digest": digest(weights.tensors), **state}


def load_whole(model: nn.Module, options: Options) -> Origin:
    """Load a checkpoint with the quantizers' state into a model that holds them."""
    if options.weights is None:
        raise Missing("start=quantized reads a quantized checkpoint; name it with --weights FILE.")
    found = read_weights(options.weights, options.weights_state)
    load_quantized(model, found.tensors, source=str(options.weights))
    return {"start": "quantized", "source": options.weights.name, **_origin(found)}


def _image(
    spec: ModelSpec, cell: Cell, classes: int, fp32: Path | None, options: Options
) -> tuple[nn.Module, Origin]:
    recipe = cell.recipe
    model = spec.build(drop_path=recipe.drop_path, seed=cell.seed, clamp_gelu=recipe.clamp_gelu)
    if recipe.start == "pretrained":
        state, sha, source = pretrained(spec, options.weights, options.weights_state)
        load_fp(model, state, source=source)
        return model, {"start": recipe.start, "source": source, "digest": sha}
    if recipe.start == "fp32":
        state = _stored(fp32)
        load_fp(model, state, source=str(fp32))
        return model, {"start": recipe.start, "digest": digest(state)}
    return model, {"start": recipe.start, "seed": cell.seed}


def _text(
    spec: TextModelSpec, cell: Cell, classes: int, fp32: Path | None, options: Options
) -> tuple[nn.Module, Origin]:
    recipe = cell.recipe
    seed = cell.seed if recipe.fp32_seed is None else recipe.fp32_seed
    if recipe.start == "pretrained":
        names = () if recipe.epochs else getattr(TASKS.get(cell.task), "class_names", ())
        model = spec.build(
            classes,
            weights=options.weights,
            weights_state=options.weights_state,
            seed=seed,
            names=names,
        )
        source = options.weights.name if options.weights else str(spec.location())
        origin: Origin = {"start": recipe.start, "source": Path(source).name}
        origin["digest"] = digest(dict(model.state_dict()))
        if model.output_order:
            origin["outputs"] = dict(zip(names, model.output_order, strict=True))
    else:
        model = spec.skeleton(max(classes, 1), seed=seed)
        origin = {"start": recipe.start, "seed": seed}
    if recipe.start == "fp32":
        state = _stored(fp32)
        fits(model.state_dict(), state, str(fp32))
        model.load_state_dict(state)
        origin = {"start": recipe.start, "digest": digest(state)}
    if recipe.dropout is not None:
        model.set_dropout(hidden=recipe.dropout, attention=recipe.dropout)
    return model, origin


def _stored(fp32: Path | None) -> State:
    if fp32 is None:
        raise EnvironmentProblem("The FP32 record has no weights beside it; run it with --fresh.")
    return read_tensors(fp32)


_STARTS: dict[str, Callable[..., tuple[nn.Module, Origin]]] = {"image": _image, "text": _text}
