"""Weights from files and the hub: plain tensors only, and every key must fit."""

from __future__ import annotations

import hashlib
import os
import pickle
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from suite.errors import EnvironmentProblem, Missing, UsageError
from suite.files import write_atomically
from suite.models.catalog import ModelSpec
from suite.models.deit import split_qkv
from suite.models.p1_layout import BANK, from_p1, is_p1
from suite.torchfile import DAMAGE, FLOATS, SCALARS, is_plain, load_plain

State = dict[str, Tensor]

UNREADABLE = (SafetensorError, *DAMAGE)
"""What the loaders raise for a file that is truncated or damaged."""

PARTS = (".safetensors", ".bin", ".json", ".txt", ".model")
"""Suffixes of the files in a folder of transformers' layout that make up model and tokenizer."""

CONTAINERS = ("state_dict", "model", "model_state")
"""Names under which training scripts usually keep the weights in a checkpoint."""

WRAPPERS = ("module", "_orig_mod", "_fsdp_wrapped_module", "_checkpoint_wrapped_module")
"""Parts of a name that data parallelism, torch.compile, FSDP and activation checkpointing add."""


@dataclass(frozen=True)
class Weights:
    """Tensors of a file and the name of the state there that they are ("" where it has one alone,
    without a name)."""

    tensors: State
    state: str


def read_tensors(path: Path) -> State:
    """The tensors of a file that holds one state; see `read_weights`."""
    return read_weights(path).tensors


def read_weights(path: Path, state: str = "") -> Weights:
    """A state of a safetensors file, or of a PyTorch file that holds plain data.

    state: its name, where a file has several. Raises Missing when there is no such file,
    UsageError when `state` is not one of its states, or none is named where there are several,
    EnvironmentProblem when it is damaged, holds anything but plain data, or no weights.
    """
    if not os.path.isfile(path):
        raise Missing(f"There is no weights file {path}; name one with --weights FILE.")
    try:
        if path.suffix == ".safetensors":
            return _chosen({"": load_file(path)}, path, state)
        content = load_plain(path, SCALARS)
    except pickle.UnpicklingError as problem:
        if any(words in str(problem) for words in ("invalid load key", "Unsupported operand")):
            raise _unreadable(path, problem) from problem
        raise EnvironmentProblem(
            f"The weights {path} hold more than plain tensors, and nothing else is loaded from a "
            "file; save its state_dict alone, best as safetensors."
        ) from problem
    except UNREADABLE as problem:
        raise _unreadable(path, problem) from problem
    return _chosen(_states_in(content), path, state)


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


def pretrained(spec: ModelSpec, weights: Path | None, named: str = "") -> tuple[State, str, str]:
    """FP32 weights of a model, their digest and origin: from `weights` (its state `named`), else
    the hub via timm.

    Raises Missing when the hub cannot be reached or has none.
    """
    if weights is not None:
        state = read_weights(weights, named).tensors
        return state, digest(state), weights.name
    if not spec.timm:
        raise Missing(f"{spec.name} has no public weights; name a file with --weights FILE.")
    state = _from_hub(spec)
    return state, digest(state), f"timm/{spec.timm}"


def load_fp(model: nn.Module, state: State, source: str) -> None:
    """Load FP32 weights into a model with empty slots.

    Takes timm's layout (fused qkv), the P1 code's (separate projections, quantizer entries
    ignored) and the suite's own, under the names that wrappers leave. Raises EnvironmentProblem
    naming the keys that do not fit; nothing is loaded then.
    """
    state = split_qkv(_bare(state, source))
    state = {k: v for k, v in state.items() if k.split(".")[-1] not in BANK}
    fits(model.state_dict(), state, source)
    model.load_state_dict(state)


def load_quantized(model: nn.Module, state: State, source: str) -> None:
    """Load a quantized checkpoint into a model whose slots hold step banks.

    Takes the P1 code's layout (`blocks.0.attn.proj_q.alpha`) and the suite's own.
    """
    state = _bare(state, source)
    if is_p1(state):
        state = from_p1(model, state)
    fits(model.state_dict(), state, source)
    model.load_state_dict(state)


def fits(wanted: State, found: State, source: str) -> None:
    """Raise EnvironmentProblem unless names, shapes and kinds of type agree and all is finite."""
    shared = sorted(wanted.keys() & found.keys())
    shapes = [
        f"{k} {tuple(found[k].shape)} for {tuple(wanted[k].shape)}"
        for k in shared
        if found[k].shape != wanted[k].shape
    ]
    kinds = [
        f"{k} {_kind(found[k])} for {_kind(wanted[k])}"
        for k in shared
        if _kind(found[k]) != _kind(wanted[k])
    ]
    odd = {
        "missing": sorted(wanted.keys() - found.keys()),
        "unexpected": sorted(found.keys() - wanted.keys()),
        "misshapen": shapes,
        "of another type": kinds,
    }
    if any(odd.values()):
        parts = [f"{len(keys)} {word} ({_some(keys)})" for word, keys in odd.items() if keys]
        raise EnvironmentProblem(
            f"The weights of {source} do not fit this model: {', '.join(parts)}; name a file of "
            "this model with --weights FILE."
        )
    wrong = [k for k in shared if found[k].is_floating_point() and not found[k].isfinite().all()]
    if wrong:
        raise EnvironmentProblem(
            f"The weights of {source} hold NaN or infinity in {len(wrong)} tensor(s) "
            f"({_some(wrong)}); take a checkpoint from before its training diverged."
        )


def _kind(value: Tensor) -> str:
    """`weights` for floating-point numbers that can be weights, `integer`, or the type itself."""
    if value.dtype in FLOATS:
        return "weights"
    counts = not (value.is_floating_point() or value.is_complex() or value.dtype == torch.bool)
    return "integer" if counts else str(value.dtype).removeprefix("torch.")


def _bare(state: State, source: str) -> State:
    """Without what wrappers add to names, wherever they do."""
    names = defaultdict(list)
    for name in state:
        names[".".join(part for part in name.split(".") if part not in WRAPPERS)].append(name)
    twice = next((both for both in names.values() if len(both) > 1), None)
    if twice:
        raise EnvironmentProblem(
            f"The weights of {source} hold one tensor twice, as {' and as '.join(sorted(twice))}; "
            "save the state of one model alone."
        )
    return {bare: state[both[0]] for bare, both in names.items()}


def _states_in(content: Any) -> dict[str, State]:
    """The tables of weights in a file's content, by name: the content itself ("") or entries."""
    if not isinstance(content, dict):
        return {}
    if all(isinstance(value, Tensor) for value in content.values()) and _is_state(content):
        return {"": content}
    return {k: v for k, v in content.items() if isinstance(k, str) and _is_state(v)}


def _is_state(table: Any) -> bool:
    """Whether this is a table that holds tensors which can be weights: more than single numbers,
    which a table of metrics has, too."""
    return isinstance(table, dict) and any(
        isinstance(v, Tensor) and v.is_floating_point() and v.ndim > 0 for v in table.values()
    )


def _chosen(states: dict[str, State], path: Path, named: str) -> Weights:
    """The state that was named, or the only one."""
    if named and named not in states:
        known = ", ".join(filter(None, states))
        has = f"it has {known}" if known else "it has one alone, so leave out --weights-state"
        raise UsageError(f"The weights {path} have no state {named!r}; {has}.")
    if not states:
        raise EnvironmentProblem(
            f"The file {path} holds no table of weights; it must be a state_dict, alone or under "
            f"{', '.join(CONTAINERS)}."
        )
    if len(states) > 1 and not named:
        raise UsageError(
            f"The weights {path} hold several states ({_some(states)}); name one with "
            "--weights-state."
        )
    name = named or next(iter(states))
    strange = [
        key
        for key, value in states[name].items()
        if not (isinstance(key, str) and isinstance(value, Tensor) and is_plain(value))
    ]
    if strange:
        raise EnvironmentProblem(
            f"The entry {strange[0]!r} in the weights {path} is no tensor of plain numbers under a "
            "name; save the model's state_dict alone."
        )
    return Weights(dict(states[name]), name)


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
