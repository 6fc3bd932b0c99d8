"""PyTorch files as plain data: what torch.load may rebuild beside tensors, and no more."""

from __future__ import annotations

import argparse
import struct
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch

_SCALAR = np.float64(0).__reduce__()[0]
_RECONSTRUCT = np.empty(0).__reduce__()[0]

MODULES = ("numpy.core.multiarray", "numpy._core.multiarray")
"""Where NumPy 1 and NumPy 2 say that they rebuild from."""


FLOATS = (torch.float16, torch.bfloat16, torch.float32, torch.float64)
"""Types of weights. Others stand for a value together with a scale that a state does not say."""

DAMAGE = (
    RuntimeError,
    EOFError,
    OSError,
    ValueError,
    LookupError,
    TypeError,
    AssertionError,
    AttributeError,
    ArithmeticError,
    MemoryError,
    struct.error,
    zlib.error,
)
"""What torch.load raises for a file that is truncated or damaged, beside UnpicklingError."""


def _dtypes(codes: str) -> list[Any]:
    return [type(np.dtype(code)) for code in codes]


SCALARS: tuple[Any, ...] = (
    argparse.Namespace,
    np.dtype,
    *_dtypes("?bBhHiIlLqQefd"),
    *((_SCALAR, f"{module}.scalar") for module in MODULES),
)
"""What training scripts keep beside weights: their arguments, and a metric as a NumPy scalar."""

ARRAYS: tuple[Any, ...] = (
    np.ndarray,
    np.dtype,
    *_dtypes("?efd"),
    *((_RECONSTRUCT, f"{module}._reconstruct") for module in MODULES),
)
"""NumPy arrays of booleans and floating-point numbers."""


@contextmanager
def nothing_but(allowed: tuple[Any, ...]) -> Iterator[None]:
    """Let torch.load rebuild these alone, not what libraries have added for their own files.

    torch makes a table of all of them at every name in a file: with some seventy that it has
    itself, that takes nine tenths of the time of reading a small file.
    """
    before = torch.serialization.get_safe_globals()
    torch.serialization.clear_safe_globals()
    torch.serialization.add_safe_globals(list(allowed))
    try:
        yield
    finally:
        torch.serialization.clear_safe_globals()
        torch.serialization.add_safe_globals(before)


def load_plain(path: Path, allowed: tuple[Any, ...]) -> Any:
    """The content of a file that torch.save wrote, its tensors on the CPU; nothing in it is run.

    Raises what torch.load raises: pickle.UnpicklingError for anything that is not `allowed`.
    """
    with nothing_but(allowed):
        return torch.load(path, map_location="cpu", weights_only=True)


def is_plain(value: torch.Tensor) -> bool:
    """Whether a tensor has all its numbers in memory: it is not sparse, quantized, on no device, or
    one number that stands for many."""
    return (
        value.layout == torch.strided
        and not (value.is_meta or value.is_quantized)
        and value.numel() * value.element_size() <= value.untyped_storage().nbytes()
    )
