"""A few measured training steps of a cell, on the hardware at hand."""

from __future__ import annotations

import tempfile
import time
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from suite.cell import Cell
from suite.cluster.forecasts import Pace
from suite.options import Options

if TYPE_CHECKING:
    import torch
    from torch import Tensor, nn

    from suite.checkpoint import State
    from suite.execute import Run
    from suite.method import Finished, Method
    from suite.tasks.soft_labels import Chosen

WARM_UP = 3
"""Steps before the measured ones: compilation, caches, the first allocation."""

STEPS = 10


class Enough(Exception):
    """The measured steps are done."""


@dataclass
class Watch:
    """Looks at the clock after each step; raises Enough after the last measured one."""

    device: torch.device
    last: int
    stamps: list[tuple[float, int]] = field(default_factory=list)

    def __call__(self, state: State) -> None:
        import torch

        if self.device.type == "cuda":
            torch.cuda.synchronize(self.device)
        self.stamps.append((time.perf_counter(), state.images))
        if len(self.stamps) >= self.last:
            raise Enough

    @property
    def sample(self) -> float:
        """Seconds a sample, over the steps after the warm-up."""
        kept = self.stamps[min(WARM_UP, len(self.stamps) - 1) - 1 :]
        (start, before), (end, after) = kept[0], kept[-1]
        return (end - start) / (after - before)


@dataclass(frozen=True)
class DrawnLabels:
    """Soft labels that nobody made: crops as the task draws them, uniform probabilities. They
    cost a step what real ones do, without the teacher's hours."""

    data: Any
    k: int = 5
    meta: dict[str, Any] = field(default_factory=dict)

    def take(self, rows: Tensor, crops: int, key: tuple[object, ...]) -> Chosen:
        import torch

        from suite.tasks.soft_labels import Chosen

        k = min(self.k, self.data.classes - 1)
        boxes, flips = self.data.draw(rows, crops, key)
        ids = torch.arange(k, dtype=torch.int16).expand(len(rows), crops, k)
        return Chosen(boxes, flips, ids, torch.full((len(rows), crops, k), 0.9 / k))


def probe(cell: Cell, options: Options, processes: int = 1) -> Pace | None:
    """Train `cell` for a few steps from random weights and measure them after a warm-up.

    processes: of the profile; one process gets its share of the batch, and the exchange of
    gradients between processes is not measured. None for a cell that does not train. Raises
    Missing when its data or a cell that teaches it is not here.
    """
    if cell.recipe.epochs == 0:
        return None
    with tempfile.TemporaryDirectory() as folder:
        return _measured(_as_one_process(cell, processes), options, Path(folder), processes)


def _as_one_process(cell: Cell, processes: int) -> Cell:
    changes: dict[str, Any] = {"batch_size": max(1, cell.recipe.batch_size // processes)}
    return cell.model_copy(update={"recipe": cell.recipe.model_copy(update=changes)})


@dataclass(frozen=True)
class _Bench:
    """Where the cell and the stand-ins for what it needs are built."""

    data: Any
    options: Options
    folder: Path
    device: torch.device

    def prepared(self, cell: Cell, method: Method) -> nn.Module:
        """The cell's model with quantizers, ready to train, from random weights: speed does not
        depend on their values, and the FP32 ones may not exist yet."""
        from suite.models.starting import start_model
        from suite.registry import model_spec
        from suite.runner import needs

        recipe = cell.recipe.model_copy(update={"start": "scratch"})
        random = cell.model_copy(update={"recipe": recipe})
        classes = self.data.classes
        model, _ = start_model(model_spec(cell.model), random, classes, None, self.options)
        model.to(self.device)
        found = {role: self.stand_in(role, need) for role, need in needs(cell).items()}
        method.receive(found, classes, self.device)
        method.place(model)
        return model.to(self.device)

    def stand_in(self, role: str, cell: Cell) -> Finished:
        """A teacher or an earlier stage with random weights."""
        from suite.method import Finished
        from suite.models.checkpoint import save_weights
        from suite.runner import cell_id, method_of

        model = self.prepared(cell, method_of(cell))
        path = self.folder / f"{role}-{cell_id(cell)}.safetensors"
        tensors = {k: v.detach().cpu().contiguous() for k, v in model.state_dict().items()}
        save_weights(path, tensors)
        return Finished(cell, path)


def _measured(cell: Cell, options: Options, folder: Path, processes: int) -> Pace:
    from suite import measure
    from suite.data import open_data
    from suite.device import choose_device, set_threads
    from suite.distributed import Ranks
    from suite.execute import training_of
    from suite.runner import learns_from_labels, method_of
    from suite.train import planned_steps, train

    device = choose_device(options, Ranks())
    set_threads(options, Ranks())
    data, method = open_data(cell, options), method_of(cell)
    model = _Bench(data, options, folder, device).prepared(cell, method)
    labels = DrawnLabels(data) if learns_from_labels(cell, method) else None
    job = training_of(_run(cell, method, options, folder, device), model, data, labels)
    job.minutes = float("inf")
    planned = planned_steps(cell.recipe, data, 1) // max(cell.recipe.epochs, 1)
    job.on_step = watch = Watch(device, min(WARM_UP + STEPS, max(planned, 2)))
    with suppress(Enough):
        train(job)
    return Pace(
        hardware=_hardware(device),
        processes=processes,
        sample=watch.sample / processes,
        epoch_samples=float(data.train_size),
        steps=len(watch.stamps) - WARM_UP,
        memory=measure.peaks(device),
        probed=True,
    )


def _run(cell: Cell, method: Method, options: Options, folder: Path, device: torch.device) -> Run:
    from suite.distributed import Ranks
    from suite.execute import Run
    from suite.progress import Reporter
    from suite.results import Store, new_run_id, now
    from suite.runner import cell_id

    return Run(
        cell=cell,
        method=method,
        before={},
        store=Store(folder),
        options=options,
        reporter=Reporter(quiet=True),
        last={},
        name=cell_id(cell),
        run_id=new_run_id(),
        started=now(),
        ranks=Ranks(),
        device=device,
    )


def _hardware(device: torch.device) -> str:
    import torch

    from suite.provenance import cpu_name, device_name

    if device.type == "cpu":
        return f"{cpu_name()}, {torch.get_num_threads()} threads"
    return device_name(device)
