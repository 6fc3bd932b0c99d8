"""How far an array is from a golden one."""

from __future__ import annotations

import numpy as np
import pytest

from suite.certify.case import difference

INFINITE = float("inf")


@pytest.mark.parametrize(
    ("mine", "golden", "wanted"),
    [
        ([0.0, 0.0, 0.0], 0.0, 0.0),
        ([[0.0], [0.0]], [0.0], 0.0),
        (0.0, [0.0, 0.0], 0.0),
        ([0.0, 1.0, 0.0], 0.0, 1.0),
        ([4.0, 4.0], 2.0, 1.0),
        ([1.0, 2.0], [1.0, 2.0, 3.0], INFINITE),
        ([[1.0, 2.0]], [[1.0], [2.0]], 0.0),
        ([[1.0, 2.0], [3.0, 4.0]], [1.0, 2.0, 3.0, 4.0], INFINITE),
        ([], 0.0, INFINITE),
        ([np.nan, 0.0], 0.0, INFINITE),
    ],
)
def test_one_value_stands_for_every_element_and_other_shapes_do_not(
    mine: object, golden: object, wanted: float
) -> None:
    assert difference(np.array(mine), np.array(golden)) == wanted
