"""Small text cells: a tiny encoder's folder, cells on the shipped sentences, and their records."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import torch
from transformers import BertConfig, BertModel

from suite.cell import Cell, make_cell
from suite.models.text_loading import read_vocabulary, wordpiece
from suite.options import Options
from suite.progress import Reporter
from suite.recipes import recipe
from suite.results import Record
from suite.runner import obtain
from suite.tasks.snippets import FOLDER

WIDTH, LONGEST = 24, 128
VOCABULARY = FOLDER / "vocab.txt"

SMOKE = {"fp32_recipe": "snippets-smoke", "gate": None, "max_length": 24, "calibration_images": 4}
TRAINED = {**SMOKE, "epochs": 2, "max_steps": 3, "batch_size": 16}
CELLS: dict[str, dict[str, Any]] = {
    "minmax_ptq": {"w_bits": 8, "a_bits": 8},
    "peg": {"w_bits": 8, "a_bits": 8},
    "mixed_precision": {"w_bits": 8, "a_bits": 8},
    "adaround": {"w_bits": 4, "a_bits": 32, "settings": {"iterations": 5, "samples": 16}},
    "range_qat": {"w_bits": 4, "a_bits": 8, "e_bits": 2},
}


def snippets_cell(method: str, task: str = "snippets", **fields: Any) -> Cell:
    trains = method == "range_qat"
    name, changes = ("snippets-pico-qat", TRAINED) if trains else ("snippets-pico-ptq", SMOKE)
    return make_cell(
        method=method,
        model="bert_pico",
        task=task,
        variant="released",
        recipe=recipe(name, **{"fp32_recipe": "snippets-smoke", **changes}),
        **{**CELLS[method], **fields},
    )


def write_encoder(folder: Path) -> Path:
    """A folder with a tiny BERT and its tokenizer; dimension 7 stands out after every FFN."""
    torch.manual_seed(0)
    config = BertConfig(
        vocab_size=len(read_vocabulary(VOCABULARY)),
        hidden_size=WIDTH,
        num_hidden_layers=2,
        num_attention_heads=4,
        intermediate_size=40,
        max_position_embeddings=LONGEST,
        initializer_range=0.3,
    )
    model = BertModel(config)
    with torch.no_grad():
        for layer in model.encoder.layer:
            layer.output.dense.weight[7] *= 40
            layer.output.LayerNorm.weight[7] = 0.1
    model.save_pretrained(folder)
    wordpiece(VOCABULARY, LONGEST).save_pretrained(folder)
    return folder


def finished(cell: Cell, results: Path, **options: Any) -> Record:
    """The record of a cell that is run (or found) in `results`."""
    chosen = Options(results=results, threads=1, **options)
    record = obtain(cell, chosen, Reporter(quiet=True)).record
    assert record.status == "done"
    return record


def complete(record: Record, metric: str, quantized: bool = True) -> None:
    """Everything that a reader of a record expects of a text cell."""
    assert np.isfinite(record.metrics[metric])
    assert record.metrics["samples"] > 0
    assert record.memory["cpu_rss"] > 0
    assert record.provenance["weights"]
    assert record.protocol["evaluation"]["tokenizer"]
    assert record.audit.get("ok", False) is quantized
    json.dumps(record.model_dump(), allow_nan=False)
