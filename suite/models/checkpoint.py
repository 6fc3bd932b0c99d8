"""Weights from files and the hub: plain tensors only, and every key must fit."""

from __future__ import annotations

import hashlib
import pickle
import struct
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from suite.errors import EnvironmentProblem, Missing
from suite.files import write_atomically
from suite.models.catalog import ModelSpec
from suite.models.deit import split_qkv
from suite.models.p1_layout import BANK, from_p1, is_p1

State = dict[str, Tensor]

UNREADABLE = (
    SafetensorError,
    RuntimeError,
    EOFError,
    OSError,
    ValueError,
    LookupError,
    TypeError,
    AssertionError,
    AttributeError,
    struct.error,
)
"""What the loaders raise for a file that is truncated or damaged."""

PARTS = (".safetensors", ".bin", ".json", ".txt", ".model")
"""Suffixes of the files in a folder of transformers' layout that make up model and tokenizer."""

CONTAINERS = ("state_dict", "model", "model_state")
"""Names under which training scripts keep the weights in a checkpoint."""


def read_tensors(path: Path) -> State:
    """The tensors of a safetensors file, or of a PyTorch file that holds plain data.

    Raises Missing when there is no such file, EnvironmentProblem when it is damaged, holds
    anything but plain data, or no weights.
    """
    if not path.is_file():
        raise Missing(f"There is no weights file {path}; name one with --weights FILE.")
    try:
        if path.suffix == ".safetensors":
            return load_file(path)
        content = torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as problem:
        if any(words in str(problem) for words in ("invalid load key", "Unsupported operand")):
            raise _unreadable(path, problem) from problem
        raise EnvironmentProblem(
            f"The weights {path} hold more than plain tensors, and nothing else is loaded from a "
            "file; save its state_dict alone, best as safetensors."
        ) from problem
    except UNREADABLE as problem:
        raise _unreadable(path, problem) from problem
    return _weights_in(content, path)


def _unreadable(path: Path, problem: BaseException) -> EnvironmentProblem:
    return EnvironmentProblem(
        f"The weights {path} cannot be read ({_first_line(problem)}); the file is truncated or "
        "not a weights file: copy it again."
    )


def save_weights(path: Path, tensors: State) -> None:
    """Write a safetensors file, atomically."""
    write_atomically(path, lambda temporary: save_file(tensors, temporary))


def digest(tensors: State) -> str:
    """SHA-256 over names, types, shapes and values, in order of names: 16 hex digits."""
    found = hashlib.sha256()
    for name in sorted(tensors):
        value = tensors[name].detach().cpu().contiguous()
        found.update(f"{name}:{value.dtype}:{tuple(value.shape)}:".encode())
        found.update(value.reshape(-1).view(torch.uint8).numpy().tobytes())
    return found.hexdigest()[:16]


def folder_digest(folder: Path) -> str:
    """SHA-256 over the names and contents of a model folder's files: 16 hex digits."""
    found = hashlib.sha256()
    for file in sorted(f for f in folder.iterdir() if f.suffix in PARTS):
        with file.open("rb") as handle:
            found.update(f"{file.name}:".encode() + hashlib.file_digest(handle, "sha256").digest())
    return found.hexdigest()[:16]


def pretrained(spec: ModelSpec, weights: Path | None) -> tuple[State, str, str]:
    """FP32 weights of a model, their digest and origin: from `weights`, else the hub via timm.

    Raises Missing when the hub cannot be reached or has none.
    """
    if weights is not None:
        state = read_tensors(weights)
        return state, digest(state), weights.name
    if not spec.timm:
        raise Missing(f"{spec.name} has no public weights; name a file with --weights FILE.")
    state = _from_hub(spec)
    return state, digest(state), f"timm/{spec.timm}"


def load_fp(model: nn.Module, state: State, source: str) -> None:
    """Load FP32 weights into a model with empty slots.

    Takes timm's layout (fused qkv), the P1 code's (separate projections, `module.` prefix,
    quantizer entries ignored) and the suite's own. Raises EnvironmentProblem naming the keys
    that do not fit; nothing is loaded then.
    """
    state = {k: v for k, v in split_qkv(_bare(state)).items() if k.split(".")[-1] not in BANK}
    fits(model.state_dict(), state, source)
    model.load_state_dict(state)


def load_quantized(model: nn.Module, state: State, source: str) -> None:
    """Load a quantized checkpoint into a model whose slots hold step banks.

    Takes the P1 code's layout (`blocks.0.attn.proj_q.alpha`) and the suite's own.
    """
    state = _bare(state)
    if is_p1(state):
        state = from_p1(model, state)
    fits(model.state_dict(), state, source)
    model.load_state_dict(state)


def fits(wanted: State, found: State, source: str) -> None:
    """Raise EnvironmentProblem unless names and shapes agree."""
    lacking = sorted(wanted.keys() - found.keys())
    extra = sorted(found.keys() - wanted.keys())
    shapes = sorted(
        f"{k} {tuple(found[k].shape)} for {tuple(wanted[k].shape)}"
        for k in wanted.keys() & found.keys()
        if found[k].shape != wanted[k].shape
    )
    if lacking or extra or shapes:
        parts = [
            f"{len(keys)} {word} ({_some(keys)})"
            for word, keys in (("missing", lacking), ("unexpected", extra), ("misshapen", shapes))
            if keys
        ]
        raise EnvironmentProblem(
            f"The weights of {source} do not fit this model: {', '.join(parts)}; name a file of "
            "this model with --weights FILE."
        )


def _bare(state: State) -> State:
    """Without the prefix that a parallel wrapper leaves."""
    return {name.removeprefix("module."): value for name, value in state.items()}


def _weights_in(content: Any, path: Path) -> State:
    for name in CONTAINERS:
        if isinstance(content, dict) and isinstance(content.get(name), dict):
            content = content[name]
            break
    if isinstance(content, dict) and content:
        tensors = {str(k): v for k, v in content.items() if isinstance(v, Tensor)}
        if len(tensors) == len(content):
            return tensors
    raise EnvironmentProblem(
        f"The file {path} holds no table of weights; it must be a state_dict, alone or under "
        f"{', '.join(CONTAINERS)}."
    )


def _from_hub(spec: ModelSpec) -> State:
    import timm
    from huggingface_hub.errors import HfHubHTTPError, LocalEntryNotFoundError

    try:
        return timm.create_model(spec.timm, pretrained=True).state_dict()
    except (OSError, HfHubHTTPError, LocalEntryNotFoundError, RuntimeError) as problem:
        raise Missing(
            f"The weights timm/{spec.timm} cannot be had from the hub "
            f"({_first_line(problem)}); download them elsewhere and name the file with "
            "--weights FILE."
        ) from problem


def _first_line(problem: BaseException) -> str:
    text = str(problem).strip().splitlines()
    return text[0][:160] if text else type(problem).__name__


def _some(keys: Iterable[str]) -> str:
    keys = list(keys)
    return ", ".join(keys[:4]) + (", ..." if len(keys) > 4 else "")
