"""Text methods on a tiny BERT with real sentences, as the contract tests calibrate them."""

from __future__ import annotations

from functools import cache
from types import SimpleNamespace
from typing import Any

import torch
from torch import Tensor

from suite.cell import Recipe, make_cell
from suite.errors import LowbitError
from suite.method import Method
from suite.models.encoder import TextModel
from suite.models.text_catalog import BERT_PICO
from suite.progress import Reporter
from suite.ptq import RangeMethod
from suite.registry import METHODS
from suite.tasks.base import DataOptions
from suite.tasks.snippets import SNIPPETS, SNIPPETS_RATING
from suite.tasks.text import TextDataset
from suite.train import Calibration

RECIPE = Recipe(calibration_images=6, calibration_batches=2)
BRIEF = {"adaround": {"iterations": 5, "samples": 16}, "peg": {"collect_batches": 2}}
"""Settings that let a method end within a second."""


def text_methods() -> list[str]:
    """Methods of P2's kind; tests/contract/test_distilled_texts.py has the distilled ones."""
    return [n for n in METHODS.names() if issubclass(METHODS.get(n), RangeMethod)]


@cache
def data(rating: bool = False) -> TextDataset:
    task = SNIPPETS_RATING if rating else SNIPPETS
    return task.open(DataOptions(tokenizer=BERT_PICO.tokenizer, max_length=24))


@cache
def texts() -> dict[str, Tensor]:
    """A batch of real sentences, with padding."""
    return data().calibration("validation", 4, 1)


def method_of(name: str, **fields: Any) -> RangeMethod:
    """The method of a cell with these fields, of its first variant unless they name another."""
    fields.setdefault("variant", next(iter(METHODS.get(name).variants)))
    fields["settings"] = {**BRIEF.get(name, {}), **fields.get("settings", {})}
    cell = make_cell(method=name, model="bert_pico", task="snippets", recipe=RECIPE, **fields)
    method: RangeMethod = METHODS.get(name)(cell)
    return method


def draw(rating: bool = False, seed: int = 0) -> Calibration:
    """The real draw of a training on the sentences."""
    job: Any = SimpleNamespace(
        dataset=data(rating),
        recipe=RECIPE,
        seed=seed,
        device=torch.device("cpu"),
        label="a cell",
        ranks=SimpleNamespace(first=True),
        reporter=Reporter(quiet=True),
    )
    return Calibration(job)


def placed(method: Method, classes: int = 2, seed: int = 0) -> TextModel:
    model = BERT_PICO.skeleton(classes, seed=seed).eval()
    method.place(model)
    return model


def calibrated(method: Method, rating: bool = False) -> TextModel:
    model = placed(method, classes=1 if rating else 2)
    method.initialise(model, draw(rating))
    return model


def logits(model: TextModel) -> Tensor:
    with torch.no_grad():
        return model(texts())


@cache
def fp32() -> Tensor:
    return logits(BERT_PICO.skeleton(2, seed=0).eval())


def one_sentence(problem: LowbitError) -> bool:
    text = str(problem)
    return text.endswith(".") and "\n" not in text
