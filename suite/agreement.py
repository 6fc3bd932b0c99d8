"""Evaluation without labels: an encoder's embeddings against those of its FP32 self."""

from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np
import torch
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save_file

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
    path = store.root / "embeddings" / f"{name}.safetensors"
    kept = _kept(path)
    if kept is not None:
        return kept
    found = embed(model, texts, device)
    content, mark = {"embeddings": found}, {"sha256": _sha256(found)}
    write_atomically(path, lambda temporary: save_file(content, temporary, metadata=mark))
    return found


def _kept(path: Path) -> np.ndarray | None:
    """Embeddings that were kept; None where there are none, or other bytes than were written."""
    try:
        with safe_open(path, framework="numpy") as content:
            found: np.ndarray = content.get_tensor("embeddings")
            mark = (content.metadata() or {}).get("sha256")
    except (OSError, SafetensorError):
        return None
    return found if mark == _sha256(found) else None


def _sha256(array: np.ndarray) -> str:
    return hashlib.sha256(np.ascontiguousarray(array).tobytes()).hexdigest()


def compare(model: TextModel, texts: Texts, fp32: np.ndarray, device: torch.device) -> Evaluation:
    """Agreement with the FP32 embeddings; there is no correctness of single samples."""
    ours = embed(model, texts, device)
    nothing = np.zeros(0)
    metrics = texts.score(Rows(ours, fp32, nothing, nothing))
    return Evaluation({**metrics, "samples": float(len(ours))}, None)
