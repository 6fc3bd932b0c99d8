"""Running one cell here, from data and weights to a finished record."""

from __future__ import annotations

import os
from typing import Any

import torch
from torch import nn

from suite import measure
from suite.audit import audit
from suite.cell import Cell
from suite.checkpoint import State
from suite.distributed import Ranks, join
from suite.errors import EnvironmentProblem, LowbitError, Missing, UsageError
from suite.evaluate import Evaluation, evaluate
from suite.labels import labels_for
from suite.method import Method
from suite.models.checkpoint import (
    digest,
    load_fp,
    load_quantized,
    pretrained,
    read_tensors,
    save_weights,
)
from suite.options import Options
from suite.progress import Reporter
from suite.provenance import provenance
from suite.registry import MODELS, TASKS
from suite.results import Record, Store, new_run_id, now
from suite.tasks.base import DataOptions, Dataset, to_device
from suite.train import Training, pays_to_compile, planned_steps, train

AUDIT_IMAGES = 16


class AuditFailed(LowbitError):
    """A tensor that should be quantized to b bits is not."""


class GateClosed(EnvironmentProblem):
    """The FP32 model is worse than it must be for a quantized number to mean anything."""


def execute(
    cell: Cell,
    method: Method,
    before: dict[str, Record],
    store: Store,
    options: Options,
    reporter: Reporter,
    last: dict[str, Any],
) -> Record:
    """Run `cell` and write its record. `last["step"]` follows the training, for a failure."""
    from suite.runner import cell_id

    started, run_id, name = now(), new_run_id(), cell_id(cell)
    ranks = join()
    device = choose_device(options, ranks)
    set_threads(options, ranks)
    dataset = open_data(cell, options)
    check_gate(cell, before, options)
    model, source = build(cell, before, store, options)
    labels = labels_for(cell, method, before, dataset, store, options, device, reporter)
    method.place(model)
    if cell.recipe.start == "quantized":
        source = load_whole(model, options)
    model.to(device)
    job = Training(
        cell_id=name,
        label=cell.label,
        metric=TASKS.get(cell.task).metric,
        seed=cell.seed,
        recipe=cell.recipe,
        method=method,
        model=model,
        dataset=dataset,
        labels=labels,
        device=device,
        ranks=ranks,
        path=store.work(name) / "state" / "checkpoint.pt",
        minutes=options.checkpoint_minutes,
        compiled=_compiled(cell, options, model, dataset, device, ranks),
        calibrated=cell.recipe.start == "quantized",
        reporter=reporter,
        on_step=lambda state: last.update(step=[state.number, state.step]),
    )
    state = train(job)
    final = evaluate(model, dataset, device, ranks)
    coverage = _audited(method, model, dataset, cell, device)
    tensors = {k: v.detach().cpu().contiguous() for k, v in model.state_dict().items()}
    record = Record(
        cell_id=name,
        run_id=run_id,
        cell=cell.delta(),
        status="done",
        started=started,
        finished=now(),
        metrics=_metrics(final, state, job.metric),
        history=state.history,
        time=measure.timing(state.history),
        memory=measure.largest(state.peaks, measure.peaks(device)),
        execution={
            "compile": job.compiled,
            "precision": "fp32",
            "threads": torch.get_num_threads(),
            "processes": ranks.world,
            "workers": options.workers,
            "resumed": state.resumed,
            "gate": options.gate,
        },
        protocol={**method.protocol(), "evaluation": dataset.transform, **_labels_note(labels)},
        audit=coverage,
        needs={role: record.run_id for role, record in before.items()},
        provenance={
            **provenance(device),
            "data": dataset.digests,
            "start": source,
            "weights": digest(tensors),
        },
        files={"weights": f"{run_id}.safetensors", "correct": f"{run_id}.correct.npy"},
    )
    if ranks.first:
        save_weights(store.beside(name, run_id, "safetensors"), tensors)
        store.write_bitmap((name, run_id), final.correct)
        store.write(record)
        job.path.unlink(missing_ok=True)
    ranks.wait()
    return record


def choose_device(options: Options, ranks: Ranks) -> torch.device:
    """`auto`: this process's CUDA device if there is one, else the CPU."""
    if options.device not in ("auto", "cpu", "cuda"):
        raise UsageError(f"--device cannot be {options.device!r}; valid: auto, cpu, cuda.")
    if options.device == "cuda" and not torch.cuda.is_available():
        raise EnvironmentProblem(
            "--device cuda was asked for, but PyTorch sees no CUDA device; run `lowbit doctor`."
        )
    if options.device == "cpu" or not torch.cuda.is_available():
        return torch.device("cpu")
    return torch.device("cuda", ranks.local % torch.cuda.device_count())


def set_threads(options: Options, ranks: Ranks) -> None:
    """All cores, shared among the processes, unless told otherwise."""
    share = max(1, len(os.sched_getaffinity(0)) // ranks.world)
    torch.set_num_threads(options.threads or share)


def data_options(cell: Cell, options: Options) -> DataOptions:
    spec = MODELS.get(cell.model)
    return DataOptions(
        root=options.data,
        workers=options.workers,
        image_size=spec.image_size,
        classes=spec.classes,
        crop_scale=cell.recipe.crop_scale,
    )


def open_data(cell: Cell, options: Options) -> Dataset:
    """The task's data; raises Missing with what to do when it is not here."""
    task = TASKS.get(cell.task)
    where = data_options(cell, options)
    missing = task.missing(where)
    if missing:
        raise missing
    return task.open(where)


def check_gate(cell: Cell, before: dict[str, Record], options: Options) -> None:
    """Refuse to pay for a quantized cell when its FP32 model is not what it should be."""
    gate = cell.recipe.gate
    if gate is None or "fp32" not in before or not options.gate:
        return
    measured = before["fp32"].metrics[TASKS.get(cell.task).metric]
    if measured < gate:
        raise GateClosed(
            f"{cell.label}: the FP32 model reaches {measured:.2f} % where at least {gate:.2f} % "
            "are expected, so a quantized number would mean nothing; check data and weights, or go "
            "on with --no-gate."
        )


def build(
    cell: Cell, before: dict[str, Record], store: Store, options: Options
) -> tuple[nn.Module, dict[str, Any]]:
    """The FP32 model with its starting weights, and where these come from."""
    spec = MODELS.get(cell.model)
    recipe, start = cell.recipe, cell.recipe.start
    model = spec.build(drop_path=recipe.drop_path, seed=cell.seed, clamp_gelu=recipe.clamp_gelu)
    if start in ("scratch", "quantized"):
        return model, {"start": start, "seed": cell.seed}
    if start == "pretrained":
        state, sha, source = pretrained(spec, options.weights)
        load_fp(model, state, source=source)
        return model, {"start": start, "source": source, "digest": sha}
    record = before["fp32"]
    path = store.beside(record.cell_id, record.run_id, "safetensors")
    load_fp(model, read_tensors(path), source=str(path))
    return model, {"start": start, "digest": record.provenance["weights"]}


def load_whole(model: nn.Module, options: Options) -> dict[str, Any]:
    """Load a checkpoint with the quantizers' state into a model that holds them."""
    if options.weights is None:
        raise Missing("start=quantized reads a quantized checkpoint; name it with --weights FILE.")
    state = read_tensors(options.weights)
    load_quantized(model, state, source=str(options.weights))
    return {"start": "quantized", "source": options.weights.name, "digest": digest(state)}


def _compiled(
    cell: Cell,
    options: Options,
    model: nn.Module,
    dataset: Dataset,
    device: torch.device,
    ranks: Ranks,
) -> bool:
    if options.compile != "auto":
        return options.compile == "on"
    return pays_to_compile(model, device, planned_steps(cell.recipe, dataset, ranks.world))


def _metrics(final: Evaluation, state: State, metric: str) -> dict[str, float]:
    """Last and best epoch both, since papers report either."""
    best = max([row[metric] for row in state.history] + [final.metrics[metric]])
    return {**final.metrics, f"{metric}_best": best}


def _audited(
    method: Method, model: nn.Module, dataset: Dataset, cell: Cell, device: torch.device
) -> dict[str, Any]:
    """Coverage of a quantized model; raises AuditFailed when a tensor has too many levels."""
    if not method.quantizes:
        return {}
    inputs = dataset.calibration("validation", AUDIT_IMAGES, cell.seed)
    report = audit(model, to_device(inputs, device))
    if not report.ok:
        raise AuditFailed(
            f"{cell.label}: the coverage audit found {len(report.problems)} problem(s), first: "
            f"{report.problems[0]}."
        )
    return report.to_dict()


def _labels_note(labels: Any) -> dict[str, Any]:
    return {"soft_labels": dict(labels.meta)} if labels is not None else {}
