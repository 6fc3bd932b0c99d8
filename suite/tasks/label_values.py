"""What soft labels must be like: which arrays there are, and what their values may be."""

from __future__ import annotations

from typing import Any

import numpy as np

ARRAYS = ("boxes", "flips", "ids", "probs")

TOLERANCE = 0.01
"""By how much shares and sums may leave their limits: rounding of float16, which archives use."""


def shapes(images: int, crops: int, k: int) -> dict[str, tuple[Any, tuple[int, ...]]]:
    """Type and shape of every array of a folder of labels."""
    return {
        "boxes": (np.float32, (images, crops, 4)),
        "flips": (np.bool_, (images, crops)),
        "ids": (np.int16, (images, crops, k)),
        "probs": (np.float32, (images, crops, k)),
    }


def fault_of_boxes(boxes: np.ndarray) -> str:
    """What is wrong with crops [..., 4] = top, left, height, width as shares of an image; "" if
    nothing."""
    if not np.isfinite(boxes).all():
        return "crop boxes hold NaN or infinity"
    corner, size = boxes[..., :2], boxes[..., 2:]
    inside = (corner >= -TOLERANCE).all() and (corner + size <= 1 + TOLERANCE).all()
    return "" if inside and (size > 0).all() else "crop boxes leave the image"


def fault_of_classes(ids: np.ndarray, probs: np.ndarray, classes: int) -> str:
    """What is wrong with the k best classes [..., k] and their probabilities; "" if nothing.

    ids: whole numbers of any type below `classes`, no class twice.
    """
    if not np.isfinite(ids).all() or not np.isfinite(probs).all():
        return "labels hold NaN or infinity"
    if (ids != np.rint(ids)).any() or (ids < 0).any() or (ids >= classes).any():
        return f"class ids are not whole numbers from 0 to {classes - 1}"
    if (np.diff(np.sort(ids, axis=-1), axis=-1) == 0).any():
        return "a class is there twice in the label of one crop"
    if (probs < 0).any() or (probs > 1).any() or (probs.sum(axis=-1) > 1 + TOLERANCE).any():
        return "probabilities are not from 0 to 1, with a sum of at most 1"
    return ""
