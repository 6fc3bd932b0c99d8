"""Reading one file of an archive of soft labels: ImageNet has 1.28 million of them."""

from __future__ import annotations

from pathlib import Path
from time import perf_counter

import numpy as np
import torch

from suite.tasks.label_file import read
from suite.torchfile import ARRAYS, nothing_but

CROPS, K = 500, 5
LONGEST_MS = 2.0


def test_a_file_is_read_in_two_milliseconds(tmp_path: Path) -> None:
    """The best of a hundred: what else the machine does makes the others longer."""
    ids = np.tile(np.arange(K, dtype=np.float32), (CROPS, 1))
    labels = np.stack([ids, np.full((CROPS, K), 0.1, np.float32)], axis=1)
    boxes = np.full((CROPS, 4), 0.25, np.float32)
    path = tmp_path / "image.tar"
    torch.save([boxes, np.zeros(CROPS, bool), torch.from_numpy(labels)], path)
    taken = []
    with nothing_but(ARRAYS):
        for _ in range(100):
            start = perf_counter()
            found = read(path, 1000)
            taken.append(1000 * (perf_counter() - start))
    assert found.ids.shape == (CROPS, K)
    print(f"best {min(taken):.2f} ms, median {sorted(taken)[50]:.2f} ms")
    assert min(taken) <= LONGEST_MS
