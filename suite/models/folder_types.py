"""Whether the tensors in a folder of transformers' layout are of types that can be weights.

transformers turns integers, booleans, complex and 8-bit floating-point numbers into weights without
a word; without the scales that belong to them they are other ones.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from pickle import UnpicklingError

from safetensors import SafetensorError, safe_open
from torch import Tensor

from suite.errors import EnvironmentProblem
from suite.torchfile import DAMAGE, FLOATS, SCALARS, load_plain

WEIGHTS = ("F64", "F32", "F16", "BF16")
"""safetensors' names of the types of weights."""

COUNTS = ("position_ids", "token_type_ids", "num_batches_tracked", "relative_position_index")
"""Last parts of the names of tensors that hold whole numbers in some models."""


def check_types(folder: Path) -> None:
    """Raise EnvironmentProblem, naming the first tensor, if one cannot be weights. A file that
    cannot be read is left to the loader."""
    for file in sorted(folder.glob("*.safetensors")) or sorted(folder.glob("pytorch_model*.bin")):
        of = _of_safetensors if file.suffix == ".safetensors" else _of_pickle
        for name, kind in of(file):
            if kind and name.rpartition(".")[2] not in COUNTS:
                raise EnvironmentProblem(
                    f"The tensor {name} in {file} is of type {kind}, and such numbers are no "
                    "weights; save the model in float32, float16 or bfloat16."
                )


def _of_safetensors(file: Path) -> Iterator[tuple[str, str]]:
    """Names of the tensors in a file, each with its type, or "" if that is one of weights."""
    try:
        with safe_open(file, "pt") as tensors:
            kinds = {name: tensors.get_slice(name).get_dtype() for name in tensors.keys()}  # noqa: SIM118
    except (SafetensorError, OSError, ValueError):
        return
    for name, kind in kinds.items():
        yield name, "" if kind in WEIGHTS else kind


def _of_pickle(file: Path) -> Iterator[tuple[str, str]]:
    """The same of a PyTorch file."""
    try:
        content = load_plain(file, SCALARS)
    except (UnpicklingError, *DAMAGE):
        return
    for name, value in content.items() if isinstance(content, dict) else ():
        if isinstance(value, Tensor):
            yield str(name), "" if value.dtype in FLOATS else str(value.dtype)
