"""PyTorch files as plain data: what torch.load may rebuild beside tensors, and no more."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import numpy as np
import torch

_SCALAR = np.float64(0).__reduce__()[0]
_RECONSTRUCT = np.empty(0).__reduce__()[0]

MODULES = ("numpy.core.multiarray", "numpy._core.multiarray")
"""Where NumPy 1 and NumPy 2 say that they rebuild from."""


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


def load_plain(path: Path, allowed: tuple[Any, ...]) -> Any:
    """The content of a file that torch.save wrote, its tensors on the CPU; nothing in it is run.

    Raises what torch.load raises: pickle.UnpicklingError for anything that is not `allowed`.
    """
    with torch.serialization.safe_globals(list(allowed)):
        return torch.load(path, map_location="cpu", weights_only=True)
