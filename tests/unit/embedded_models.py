"""Image methods as tests run them: on the embedded model of their grid entry, beside a teacher."""

from __future__ import annotations

import tempfile
from functools import cache
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from suite.grid import entries
from suite.method import Finished, Method, Progress
from suite.models.checkpoint import save_weights
from suite.registry import MODELS


def embedded_model(method: str) -> str:
    """The model on which the grid has an image method run on Fashion-MNIST."""
    found = [e.models[0] for e in entries() if e.method == method and e.task == "fashion"]
    return found[0] if found else "deit_pico"


def embedded_recipe(method: str) -> str:
    """The name of that entry's recipe."""
    found = [e.recipe for e in entries() if e.method == method and e.task == "fashion"]
    return found[0] if found else "fashion-qat"


def spec_of(method: Method) -> Any:
    return MODELS.get(method.cell.model)


@cache
def _weights(model: str) -> Path:
    """Random weights, other than a test's own, as a finished FP32 cell would leave them."""
    path = Path(tempfile.mkdtemp()) / f"{model}.safetensors"
    save_weights(path, MODELS.get(model).build(seed=7).state_dict())
    return path


def receive(method: Method) -> None:
    """Give the method what the cells that it needs would leave behind."""
    needed = {role: Finished(cell, _weights(cell.model)) for role, cell in method.needs().items()}
    method.receive(needed, spec_of(method).classes, torch.device("cpu"))


def own_loss(method: Method, model: nn.Module, images: Tensor, targets: Tensor) -> Tensor:
    """The loss of one batch as a training step of the method computes it, penalty excluded."""
    receive(method)
    return method.objective(method.around(model), images, targets, Progress(9, 10))
