"""Evaluation without labels: an encoder's embeddings against those of its FP32 self."""

from __future__ import annotations

import hashlib

import numpy as np
import torch

from suite.evaluate import Evaluation
from suite.files import write_atomically
from suite.models.encoder import TextModel
from suite.models.slot import quantized_once
from suite.results import Store
from suite.tasks.base import Rows, to_device
from suite.tasks.embeddings import pooled
from suite.tasks.texts import DEFAULT, Texts

BATCH = 64
SHOWN = 500
"""Texts that are embedded and compared, spread evenly over the file; calibration draws from all."""


@torch.no_grad()
def embed(model: TextModel, texts: Texts, device: torch.device) -> np.ndarray:
    """Embeddings of the compared texts [texts, dim] at unit length, pooled as the encoder's own
    users do, in eval mode."""
    model.eval()
    rows = texts.sample(SHOWN)
    found = None
    with quantized_once(model):
        for places, inputs in texts.batches(BATCH, rows):
            moved = to_device(inputs, device)
            assert isinstance(moved, dict)
            mask, how = moved["attention_mask"], texts.reading.pooling
            part = pooled(model.encode(moved), mask, how).cpu().numpy()
            if found is None:
                found = np.empty((len(rows), part.shape[1]), dtype=np.float32)
            found[places] = part
    assert found is not None
    return found


def reference(
    model: TextModel, texts: Texts, weights: str, store: Store, device: torch.device
) -> np.ndarray:
    """`embed` of the model before anything is quantized; kept, since every draw needs it.

    weights: digest of the model's weights.
    """
    key = f"{weights}:{texts.digests['texts']}:{texts.encoder.describe()}:{SHOWN}"
    if texts.reading.pooling != DEFAULT.pooling:
        key += f":{texts.reading.pooling}"
    name = hashlib.sha256(key.encode()).hexdigest()[:16]
    path = store.root / "embeddings" / f"{name}.npy"
    if path.is_file():
        kept: np.ndarray = np.load(path, allow_pickle=False)
        return kept
    found = embed(model, texts, device)

    def save(temporary: object) -> None:
        with open(str(temporary), "wb") as handle:
            np.save(handle, found)

    write_atomically(path, save)
    return found


def compare(model: TextModel, texts: Texts, fp32: np.ndarray, device: torch.device) -> Evaluation:
    """Agreement with the FP32 embeddings; there is no correctness of single samples."""
    ours = embed(model, texts, device)
    nothing = np.zeros(0)
    metrics = texts.score(Rows(ours, fp32, nothing, nothing))
    return Evaluation({**metrics, "samples": float(len(ours))}, None)
