"""The teacher of a distilled cell: the full-precision model of a cell that is finished."""

from __future__ import annotations

import torch
from torch import nn

from suite.method import Finished
from suite.models.starting import start_model
from suite.options import Options
from suite.registry import model_spec

UNTRAINED = {"start": "fp32", "drop_path": 0.0, "dropout": None, "fp32_seed": None}
"""Recipe fields that shape a training model; a teacher only answers."""


def teacher(finished: Finished, classes: int, device: torch.device) -> nn.Module:
    """The finished FP32 model in eval mode on `device`; its parameters take no gradients.

    classes: outputs of a text model. Raises EnvironmentProblem when the weights do not fit.
    """
    cell = finished.cell
    recipe = cell.recipe.model_copy(update=UNTRAINED)
    spec = model_spec(cell.model)
    model, _ = start_model(
        spec, cell.model_copy(update={"recipe": recipe}), classes, finished.weights, Options()
    )
    return model.requires_grad_(False).eval().to(device)
