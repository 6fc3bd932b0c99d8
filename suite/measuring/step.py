"""One training step of a case, on random inputs and random weights."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from tempfile import TemporaryDirectory
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, cast

import torch
from torch import nn

from suite.cell import Cell, make_cell
from suite.measuring.cases import Case
from suite.method import Finished, Method, Progress
from suite.models.checkpoint import save_weights
from suite.optimize import optimizer_of
from suite.registry import METHODS, model_spec
from suite.runner import needs
from suite.train import Training, _step

if TYPE_CHECKING:
    from suite.tasks.base import Inputs

CLASSES = 2
"""Outputs of a text model; an image model has its own number."""

CALIBRATED = 8
"""Samples that set the initial scales, outside of what is measured."""

FIRST, LAST = "first", "last"


@dataclasses.dataclass(frozen=True)
class _Random:
    """Calibration data drawn at random; see suite.method.Draw."""

    inputs: Inputs
    limits: None = None

    def batch(self, split: str) -> Inputs:
        return self.inputs

    def batches(self, size: int, count: int) -> list[Inputs]:
        return [self.inputs] * count

    def advance(self, done: int, total: int) -> None:
        pass


class Subject:
    """A model with its quantizers and optimizer, ready for steps.

    The step is the training loop's own, of the last stage. phases: `first` and `last` epoch for a
    method whose penalty is zero at first and not at last, else `last` alone.
    """

    def __init__(self, case: Case) -> None:
        self.cell = make_cell(**case.cell)
        self.device = torch.device(case.device)
        torch.manual_seed(0)
        self.method, self.model = _quantized(self.cell, case, self.device)
        inputs, classes = _inputs(self.cell, case)
        self.inputs = _moved(inputs, self.device)
        self.targets = _targets(self.method, case.batch, classes).to(self.device)
        self.stage = self.method.stages()[-1]
        self.method.begin(self.stage.name, self.model)
        self.model.train()
        net = self.method.around(self.model)
        self.net = cast(nn.Module, torch.compile(net)) if case.compiled else net
        self.optimizer = optimizer_of(self.model, self.stage.recipe)
        self.phases = self._phases()

    def step(self, phase: str) -> None:
        """Forward, loss, penalty, backward and optimizer, without waiting for the device."""
        job = cast(Training, SimpleNamespace(method=self.method, model=self.model))
        progress = self.phases[phase]
        _step(job, self.net, self.optimizer, self.inputs, self.targets, progress)

    def wait(self) -> None:
        if self.device.type == "cuda":
            torch.cuda.synchronize(self.device)

    def _phases(self) -> dict[str, Progress]:
        epochs, name = max(self.stage.recipe.epochs, 1), self.stage.name
        first, last = Progress(0, epochs, name), Progress(epochs - 1, epochs, name)
        late = self.method.penalty(self.model, first) is None
        late = late and self.method.penalty(self.model, last) is not None
        return {FIRST: first, LAST: last} if late else {LAST: last}


def load_libraries(case: Case) -> None:
    """Import all that the case needs, by building its model once."""
    cell = make_cell(**case.cell)
    METHODS.get(cell.method)
    _model(cell, case)


def _quantized(cell: Cell, case: Case, device: torch.device) -> tuple[Method, nn.Module]:
    """The method, and a model with random weights that holds its quantizers, scales set."""
    method: Method = METHODS.get(cell.method)(cell)
    model = _model(cell, case).to(device)
    inputs = _moved(_some(_inputs(cell, case)[0]), device)
    with TemporaryDirectory() as folder:
        found = _finished(cell, case, device, Path(folder))
        method.receive(found, 0 if model_spec(cell.model).modality == "image" else CLASSES, device)
        method.place(model)
        model.to(device).eval()
        method.initialise(model, _Random(inputs))
    return method, model


def _finished(cell: Cell, case: Case, device: torch.device, folder: Path) -> dict[str, Finished]:
    """Stand-ins, with random weights, for the cells that the method asks for: a teacher, say."""
    found: dict[str, Finished] = {}
    if METHODS.get(cell.method).receive is Method.receive:
        return found
    for role, need in needs(cell).items():
        _, model = _quantized(need, case, device)
        path = folder / f"{role}.safetensors"
        state = {name: value.cpu().contiguous() for name, value in model.state_dict().items()}
        save_weights(path, state)
        found[role] = Finished(need, path)
    return found


def _spec(cell: Cell, case: Case) -> Any:
    spec = model_spec(cell.model)
    if spec.modality == "text":
        return spec
    return dataclasses.replace(spec, image_size=case.size or spec.image_size)


def _model(cell: Cell, case: Case) -> nn.Module:
    spec = _spec(cell, case)
    if spec.modality == "text":
        model: nn.Module = spec.skeleton(CLASSES)
    else:
        model = spec.build(drop_path=cell.recipe.drop_path, clamp_gelu=cell.recipe.clamp_gelu)
    return model


def _inputs(cell: Cell, case: Case) -> tuple[Inputs, int]:
    """A batch of random inputs, and the number of classes."""
    spec = _spec(cell, case)
    generator = torch.Generator().manual_seed(0)
    if spec.modality == "image":
        shape = (case.batch, spec.channels, spec.image_size, spec.image_size)
        return torch.randn(shape, generator=generator), spec.classes
    tokens = case.size or cell.recipe.max_length or spec.max_length
    # Identifiers that every vocabulary has, past the special ones.
    ids = torch.randint(5, 1000, (case.batch, tokens), generator=generator)
    return {"input_ids": ids, "attention_mask": torch.ones_like(ids)}, CLASSES


def _targets(method: Method, batch: int, classes: int) -> torch.Tensor:
    """Soft labels where the method trains on them, else class ids."""
    generator = torch.Generator().manual_seed(1)
    if method.soft_labels:
        return torch.softmax(torch.randn(batch, classes, generator=generator), dim=1)
    return torch.randint(classes, (batch,), generator=generator)


def _moved(inputs: Inputs, device: torch.device) -> Inputs:
    if isinstance(inputs, Mapping):
        return {name: value.to(device) for name, value in inputs.items()}
    return inputs.to(device)


def _some(inputs: Any) -> Inputs:
    """The first samples of a batch."""
    if isinstance(inputs, Mapping):
        return {name: value[:CALIBRATED] for name, value in inputs.items()}
    return cast("Inputs", inputs[:CALIBRATED])
