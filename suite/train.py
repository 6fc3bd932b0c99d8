"""The training loop: one for every trained cell, resumable after any step."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import torch
from torch import Tensor, nn

from suite import checkpoint, measure
from suite.cell import Recipe
from suite.checkpoint import State
from suite.distributed import Ranks, wrap
from suite.errors import LowbitError
from suite.evaluate import evaluate
from suite.method import Method, Progress
from suite.optimize import optimizer_of, set_rate
from suite.progress import Reporter
from suite.schedule import Pass, passes, step_rate
from suite.signals import Interrupted, StopFlag
from suite.tasks.base import Batch, Dataset, to_device
from suite.tasks.draws import seed_of

if TYPE_CHECKING:
    from suite.tasks.base import Inputs

COMPILE_PARAMETERS = 2_000_000
COMPILE_STEPS = 300
"""Below either, compiling costs more than it saves on a CPU (docs/performance.md)."""


@dataclass
class Training:
    """Everything one training needs; `model` already holds its quantizers.

    metric: the task's main metric; path: the checkpoint file; minutes: how often to save within
    a pass; compiled: whether the step goes through torch.compile; calibrated: the quantizers
    hold their scales already; stage: name of the stage that this training is; rests: digests of
    what it rests on besides its data, see suite.checkpoint.State; resumed: how
    often the ones before it were continued; on_step: called after every step, for tests and probes;
    load: how busy the machine is meanwhile.
    """

    cell_id: str
    label: str
    metric: str
    seed: int
    recipe: Recipe
    method: Method
    model: nn.Module
    dataset: Dataset
    labels: Any
    device: torch.device
    ranks: Ranks
    path: Path
    minutes: float
    compiled: bool
    reporter: Reporter
    calibrated: bool = False
    stage: str = ""
    rests: dict[str, str] = field(default_factory=dict)
    resumed: int = 0
    on_step: Callable[[State], None] | None = None
    load: measure.Load = field(default_factory=measure.Load)


def pays_to_compile(model: nn.Module, device: torch.device, steps: int) -> bool:
    """Whether `compile=auto` compiles: on CUDA, or for a large model and a long training."""
    if device.type == "cuda":
        return True
    size = sum(p.numel() for p in model.parameters())
    return size >= COMPILE_PARAMETERS and steps >= COMPILE_STEPS


def planned_steps(recipe: Recipe, dataset: Dataset, world: int) -> int:
    """Steps of the whole training."""
    return sum(_steps(recipe, p, dataset, world) for p in passes(recipe))


def train(job: Training) -> State:
    """Train to the recipe's end, from a checkpoint if there is one; returns the final state.

    Raises Interrupted after saving when a stop signal arrived, LowbitError when the loss is
    not finite.
    """
    plan = passes(job.recipe)
    job.method.begin(job.stage, job.model)
    job.load = measure.Load()
    optimizer = optimizer_of(job.model, job.recipe)
    measure.reset_peaks(job.device)
    state, net = _start(job, optimizer)
    if job.compiled:
        net = cast(nn.Module, torch.compile(net))
    with StopFlag() as stop:
        for number in range(state.number, len(plan)):
            _one_pass(job, net, optimizer, state, plan[number], stop)
            _close_pass(job, state, plan[number])
            if job.ranks.first:
                checkpoint.save(job.path, state, job.model, optimizer)
    return state


def _start(job: Training, optimizer: torch.optim.Optimizer) -> tuple[State, nn.Module]:
    """Restore or calibrate, then wrap: scales must be equal on all ranks before averaging."""
    data = job.dataset.digests
    state = checkpoint.load(job.path, job.cell_id, data, job.model, optimizer, job.rests)
    if state is not None or job.calibrated:
        job.method.adopt(job.model, Calibration(job))
    if state is not None:
        job.reporter.say(f"{job.label}: goes on at pass {state.number + 1}, step {state.step}")
        return state, wrap(job.method.around(job.model), job.ranks, job.device)
    early = job.method.calibrates_before_wrapping
    if early and not job.calibrated:
        _calibrate(job, rank=0)
    net = wrap(job.method.around(job.model), job.ranks, job.device)
    if not early and not job.calibrated:
        _calibrate(job, rank=job.ranks.rank)
    threads = torch.get_num_threads()
    state = State(
        cell=job.cell_id, data=data, rests=job.rests, resumed=job.resumed, threads=threads
    )
    return state, net


def _calibrate(job: Training, rank: int) -> None:
    """Let the method set its scales; a rank after the first takes its own first batch."""
    job.model.eval()
    if rank == 0:
        job.method.initialise(job.model, Calibration(job))
        return
    own = next(_batches(job, passes(job.recipe)[0], start=0)).inputs
    with torch.no_grad():
        job.method.calibrate(job.model, to_device(own, job.device), rank)


@dataclass(frozen=True)
class Calibration:
    """The calibration data of a training; see suite.method.Draw."""

    job: Training

    @property
    def limits(self) -> tuple[float, float] | None:
        found: tuple[float, float] | None = getattr(self.job.dataset, "limits", None)
        return found

    def batch(self, split: str) -> Inputs:
        job = self.job
        found = job.dataset.calibration(split, job.recipe.calibration_images, job.seed)
        return to_device(found, job.device)

    def batches(self, size: int, count: int) -> list[Inputs]:
        job = self.job
        found = job.dataset.calibration_batches(size, count, job.seed)
        return [to_device(inputs, job.device) for inputs in found]

    def advance(self, done: int, total: int) -> None:
        if self.job.ranks.first:
            self.job.reporter.advance(f"{self.job.label}: calibration", done, total)


def _one_pass(
    job: Training,
    net: nn.Module,
    optimizer: torch.optim.Optimizer,
    state: State,
    current: Pass,
    stop: StopFlag,
) -> None:
    job.model.train()
    steps = _steps(job.recipe, current, job.dataset, job.ranks.world)
    progress = Progress(current.epoch, job.recipe.epochs, job.stage)
    # Goes on from the saved sum, in double: the reported mean is the undisturbed run's.
    total = torch.tensor(state.loss, dtype=torch.float64, device=job.device)
    saved = clock = time.perf_counter()
    batches = _batches(job, current, state.step)
    while state.step < steps:
        batch = next(batches)
        inputs = to_device(batch.inputs, job.device)
        targets = batch.targets.to(job.device, non_blocking=True)
        waited = time.perf_counter() - clock
        torch.manual_seed(seed_of(job.seed, state.number, state.step, job.ranks.rank))
        set_rate(optimizer, step_rate(job.recipe, current, state.step, steps))
        total += _step(job, net, optimizer, inputs, targets, progress)
        state.step += 1
        state.images += len(targets) * job.ranks.world
        state.data_seconds += waited
        if state.step == steps:
            _synchronize(job.device)
        state.seconds += time.perf_counter() - clock
        _tell(job, state, current, steps)
        leaving = job.ranks.any(bool(stop), job.device)
        late = time.perf_counter() - saved >= 60 * job.minutes
        if leaving or (late and state.step < steps):
            _absorb(job, state, total)
            if job.ranks.first:
                checkpoint.save(job.path, state, job.model, optimizer)
            saved = time.perf_counter()
        if leaving:
            raise Interrupted(
                f"{job.label} stopped by {stop.name or 'a signal'} at pass {state.number + 1}, "
                f"step {state.step}; its state is saved, the same command continues it."
            )
        if job.on_step:
            job.on_step(state)
        clock = time.perf_counter()
    _absorb(job, state, total)


def _step(
    job: Training,
    net: nn.Module,
    optimizer: torch.optim.Optimizer,
    inputs: Inputs,
    targets: Tensor,
    progress: Progress,
) -> Tensor:
    """One optimizer step; returns the objective without the method's penalty."""
    optimizer.zero_grad(set_to_none=True)
    loss = job.method.objective(net, inputs, targets, progress)
    penalty = job.method.penalty(job.model, progress)
    (loss if penalty is None else loss + penalty).backward()
    optimizer.step()
    return loss.detach()


def _close_pass(job: Training, state: State, current: Pass) -> None:
    """Evaluate, add a row to the history and set the sums back."""
    found = evaluate(job.model, job.dataset, job.device, job.ranks).metrics
    _check_finite(job, state, found)
    row = {
        "epoch": current.epoch,
        "crops": current.crops,
        "steps": state.step,
        "images": state.images,
        "seconds": round(state.seconds, 4),
        "data_seconds": round(state.data_seconds, 4),
        "train_loss": round(state.loss / max(state.step, 1), 6),
        job.metric: found[job.metric],
        "val_loss": found["loss"],
    }
    state.history.append(row)
    job.reporter.say(
        f"{job.label}: epoch {current.epoch + current.crops}/{job.recipe.epochs} "
        f"loss {row['train_loss']:.4f} {job.metric} {row[job.metric]:.2f} in {row['seconds']:.1f} s"
    )
    state.peaks = measure.largest(state.peaks, measure.peaks(job.device))
    state.number += 1
    state.step = state.images = 0
    state.seconds = state.data_seconds = state.loss = 0.0


def _check_finite(job: Training, state: State, metrics: dict[str, float]) -> None:
    """A training that diverged in the last step of a pass shows it in weights or metrics alone."""
    odd = [name for name, value in metrics.items() if not math.isfinite(value)]
    odd += filter(None, [checkpoint.first_nonfinite(job.model.state_dict())])
    if odd:
        raise LowbitError(
            f"{job.label} has diverged by pass {state.number + 1}, step {state.step}: "
            f"{', '.join(odd)} is NaN or infinite; try a smaller learning rate (--recipe lr=...)."
        )


def _absorb(job: Training, state: State, total: Tensor) -> None:
    """Copy the device's loss sum into the state; the one place that reads it."""
    state.load = job.load.add(state.load)
    state.loss = float(total)
    if not math.isfinite(state.loss):
        raise LowbitError(
            f"The loss of {job.label} is not finite by pass {state.number + 1}, step {state.step}; "
            "try a smaller learning rate (--recipe lr=...)."
        )


def _batches(job: Training, current: Pass, start: int) -> Iterator[Batch]:
    return job.dataset.train_batches(
        epoch=current.epoch,
        seed=job.seed,
        batch=_images_a_step(job.recipe, current, job.ranks.world),
        crops=current.crops,
        labels=job.labels,
        rank=job.ranks.rank,
        world=job.ranks.world,
        start=start,
    )


def _images_a_step(recipe: Recipe, current: Pass, world: int) -> int:
    """Images of one process: the recipe's batch counts crops over all processes (P1 code)."""
    return max(1, math.ceil(recipe.batch_size / current.crops) // world)


def _steps(recipe: Recipe, current: Pass, dataset: Dataset, world: int) -> int:
    steps = dataset.steps(_images_a_step(recipe, current, world), world)
    if steps == 0:
        raise LowbitError(
            f"The training set has {dataset.train_size} images, fewer than one batch of "
            f"{recipe.batch_size}; set a smaller one with --recipe batch_size=N."
        )
    return min(steps, recipe.max_steps) if recipe.max_steps else steps


def _synchronize(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def _tell(job: Training, state: State, current: Pass, steps: int) -> None:
    if job.ranks.first:
        speed = state.images / max(state.seconds, 1e-9)
        what = f"{job.label}: epoch {current.epoch}/{job.recipe.epochs}"
        job.reporter.advance(what, state.step, steps, f"{speed:.0f} samples/s")
        done = current.epoch + current.crops * state.step / steps
        job.reporter.at(done, job.recipe.epochs, state.step, steps)
