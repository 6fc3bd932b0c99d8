"""Models of cells that are finished: a teacher, or an earlier stage of the same method.

Whoever needs the model that a cell left asks here: it is the network that the cell scored, what
its recipe changes in it included.
"""

from __future__ import annotations

from typing import cast

import torch
from torch import nn

from suite.errors import UsageError
from suite.method import Finished
from suite.models.checkpoint import State, fits, read_tensors
from suite.models.encoder import TextModel
from suite.registry import METHODS, model_spec


def finished_model(finished: Finished, classes: int) -> nn.Module:
    """The model that a finished cell left behind, with its quantizers if it has any.

    classes: outputs of a text model's task (0: none; an image model has its own number). Raises
    EnvironmentProblem when the weights do not fit.
    """
    cell = finished.cell
    spec = model_spec(cell.model)
    model: nn.Module = (
        spec.build(seed=cell.seed, clamp_gelu=cell.recipe.clamp_gelu)
        if spec.modality == "image"
        else spec.skeleton(max(classes, 1), seed=cell.seed)
    )
    METHODS.get(cell.method)(cell).place(model)
    load(model, finished)
    return model


def finished_text(finished: Finished, classes: int) -> TextModel:
    """`finished_model` of a text cell."""
    return cast(TextModel, finished_model(finished, classes))


def teacher(finished: Finished, classes: int, device: torch.device) -> nn.Module:
    """`finished_model` in eval mode on `device`; its parameters take no gradients."""
    return finished_model(finished, classes).requires_grad_(False).eval().to(device)


def load(model: nn.Module, finished: Finished) -> State:
    """Load a finished cell's weights into a model of the same places; returns them."""
    state = read_tensors(finished.weights)
    fits(model.state_dict(), state, str(finished.weights))
    model.load_state_dict(state)
    return state


def check_teacher(finished: Finished, task: str, model: str, classes: int) -> None:
    """Raise UsageError unless the finished cell can teach one of `task` on `model`: the same task,
    as many outputs, and the same tokens."""
    cell = finished.cell
    if cell.task != task:
        raise UsageError(
            f"The teacher {cell.label} was trained on {cell.task}, its student is to learn {task}; "
            "take the FP32 cell of the same task."
        )
    outputs = _outputs(read_tensors(finished.weights))
    if outputs != max(classes, 1):
        raise UsageError(
            f"The teacher {cell.label} has {outputs} outputs, but {task} needs {max(classes, 1)}; "
            "take the FP32 cell of the same task."
        )
    if cell.model != model and _tokens(cell.model) != _tokens(model):
        raise UsageError(
            f"The teacher {cell.label} reads other tokens than {model}; take a teacher with the "
            "same tokenizer."
        )


def _outputs(state: State) -> int | None:
    """Rows of the last layer, whatever its name (`classifier`, or RoBERTa's `out_proj`)."""
    last = [k for k in state if k.endswith((".out_proj.weight", "classifier.weight"))]
    return len(state[last[0]]) if last else None


def _tokens(model: str) -> dict[str, int]:
    found: dict[str, int] = model_spec(model).tokenizer().get_vocab()
    return found
