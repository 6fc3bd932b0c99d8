"""One image's soft labels in the authors' layout (FKD): what torch.save made of boxes, flips and
labels.

Their generator saves boxes as a NumPy array float32 [crops, 4], flips as a NumPy array of bool
[crops] and labels as a tensor [crops, 2, k] of class ids and probabilities; with --use_fp16 all as
NumPy arrays, boxes and labels float16. Lists of the same are read too, slowly.
"""

from __future__ import annotations

import pickle
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from torch import Tensor

from suite.errors import EnvironmentProblem
from suite.tasks.label_values import fault_of_boxes, fault_of_classes
from suite.torchfile import ARRAYS, DAMAGE, is_plain, load_plain

HALF = 2048
"""Whole numbers up to here are exact in float16."""


@dataclass(frozen=True)
class Labels:
    """Crops of one image: boxes float32 [crops, 4], flips bool [crops], ids int16 and probs float32
    [crops, k]."""

    boxes: np.ndarray
    flips: np.ndarray
    ids: np.ndarray
    probs: np.ndarray


def read(path: Path | str, classes: int) -> Labels:
    """The labels in one file, for a model of `classes` outputs.

    Raises EnvironmentProblem, naming the file, when it is damaged or holds anything else than
    finite boxes within the image, flips and distributions over those classes.
    """
    content = _content(path)
    if not isinstance(content, (tuple, list)) or len(content) != 3:
        raise _wrong(path, "the file holds no three arrays of boxes, flips and labels")
    limit = Path(path).stat().st_size
    try:
        boxes, flips, labels = (_numbers(part, limit) for part in content)
    except (ValueError, TypeError, OverflowError, RuntimeError) as problem:
        raise _wrong(path, f"it holds no arrays of numbers: {_line(problem)}") from problem
    crops = len(boxes) if boxes.ndim else 0
    right = boxes.shape == (crops, 4) and flips.shape == (crops,) and crops > 0
    if not (right and labels.ndim == 3 and labels.shape[:2] == (crops, 2) and labels.shape[2]):
        raise EnvironmentProblem(
            f"The soft labels {path} are not of the marginal-smoothing kind: boxes "
            f"{boxes.shape}, flips {flips.shape}, labels {labels.shape}, expected [crops, 4], "
            "[crops] and [crops, 2, k]."
        )
    fault = _fault(boxes, flips, labels, classes)
    if fault:
        raise _wrong(path, fault)
    return Labels(
        boxes.astype(np.float32),
        flips.astype(bool),
        labels[:, 0].astype(np.int16),
        labels[:, 1].astype(np.float32),
    )


def _content(path: Path | str) -> Any:
    try:
        return load_plain(Path(path), ARRAYS)
    except pickle.UnpicklingError as problem:
        raise _wrong(
            path, f"it is damaged or holds more than arrays: {_line(problem)}"
        ) from problem
    except DAMAGE as problem:
        raise _wrong(path, f"it is damaged: {_line(problem)}") from problem


def _fault(boxes: np.ndarray, flips: np.ndarray, labels: np.ndarray, classes: int) -> str:
    if not ((flips == 0) | (flips == 1)).all():
        return "flips are neither true nor false"
    if labels.dtype == np.float16 and classes > HALF:
        return f"class ids are float16, which cannot tell {classes} classes apart"
    of_classes = fault_of_classes(labels[:, 0], labels[:, 1].astype(np.float32), classes)
    return fault_of_boxes(boxes.astype(np.float32)) or of_classes


def _numbers(part: Any, limit: int) -> np.ndarray:
    """An array of real numbers from an array, a tensor, or lists of numbers or tensors.

    limit: bytes of the file, which lists of one entry over and over could exceed.
    """
    if isinstance(part, Tensor):
        if not is_plain(part):
            raise ValueError("a tensor is not dense")
        part = part.detach().numpy()
    elif isinstance(part, (list, tuple)):
        part = np.array(_plain_lists(part, [limit]))
    if not isinstance(part, np.ndarray) or part.dtype.kind not in "fiub":
        raise ValueError(f"{_kind(part)} is no array of real numbers")
    return part


def _plain_lists(part: Any, left: list[int]) -> Any:
    """Lists with tensors and arrays in them as lists of numbers alone."""
    if isinstance(part, (Tensor, np.ndarray)):
        part = _numbers(part, left[0])
        left[0] -= part.size
        found: Any = part.tolist()
    elif isinstance(part, (list, tuple)):
        left[0] -= 1
        found = [_plain_lists(one, left) for one in part if left[0] >= 0]
    elif isinstance(part, (bool, int, float)):
        left[0] -= 1
        found = part
    else:
        raise ValueError(f"{_kind(part)} is no number")
    if left[0] < 0:
        raise ValueError("lists repeat their entries")
    return found


def _kind(part: Any) -> str:
    return str(part.dtype) if isinstance(part, np.ndarray) else type(part).__name__


def _line(problem: BaseException) -> str:
    text = str(problem).strip().splitlines() or [type(problem).__name__]
    return text[0][:160].rstrip(".")


def _wrong(path: Path | str, what: str) -> EnvironmentProblem:
    return EnvironmentProblem(f"The soft labels {path} cannot be used ({what}); unpack them again.")
