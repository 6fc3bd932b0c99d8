"""Running one cell here, from data and weights to a finished record."""

from __future__ import annotations

import os
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, cast

import torch
from torch import nn

from suite import measure
from suite.audit import audit
from suite.cell import Cell
from suite.checkpoint import State
from suite.distributed import Ranks, join
from suite.errors import EnvironmentProblem, LowbitError, UsageError
from suite.evaluate import Evaluation, evaluate
from suite.labels import labels_for
from suite.method import Method
from suite.models.checkpoint import digest, save_weights
from suite.models.starting import load_whole, start_model
from suite.options import Options
from suite.progress import Reporter
from suite.provenance import provenance
from suite.registry import TASKS, model_spec
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
    spec = model_spec(cell.model)
    model, source = start_model(spec, cell, dataset.classes, _fp32_weights(before, store), options)
    labels = labels_for(cell, method, before, dataset, store, options, device, reporter)
    model.to(device)
    score = _scorer(model, dataset, store, device, ranks)
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
    final = score()
    coverage = _audited(method, model, dataset, cell, device)
    tensors = {k: v.detach().cpu().contiguous() for k, v in model.state_dict().items()}
    kept = tensors if method.keeps_weights else _of_quantizers(tensors)
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
        diagnosis=method.diagnosis,
        needs={role: record.run_id for role, record in before.items()},
        provenance={
            **provenance(device),
            "data": dataset.digests,
            "start": source,
            "weights": digest(tensors),
        },
        files=_files(run_id, method, final),
    )
    if ranks.first:
        save_weights(store.beside(name, run_id, "safetensors"), kept)
        if method.tensors:
            save_weights(store.beside(name, run_id, "outliers.safetensors"), method.tensors)
        if final.correct is not None:
            store.write_bitmap((name, run_id), final.correct)
        if final.values is not None:
            store.write_values((name, run_id), final.values)
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
    """How the cell's data is opened: what its model takes, and where this machine has it."""
    spec, recipe = model_spec(cell.model), cell.recipe
    shared: dict[str, Any] = {"root": options.data, "workers": options.workers}
    if spec.modality == "image":
        return DataOptions(
            **shared,
            image_size=spec.image_size,
            classes=spec.classes,
            crop_scale=recipe.crop_scale,
        )
    return DataOptions(
        **shared,
        tokenizer=lambda: spec.tokenizer(options.weights),
        max_length=recipe.max_length or spec.max_length,
        pad=recipe.pad,
        texts=options.texts,
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


def _scorer(
    model: nn.Module, dataset: Any, store: Store, device: torch.device, ranks: Ranks
) -> Callable[[], Evaluation]:
    """How the finished model is scored: on labels, or against its own FP32 embeddings."""
    if getattr(dataset, "texts", None) is None:
        return partial(evaluate, model, dataset, device, ranks)
    from suite.agreement import compare, reference

    weights = digest({k: v.detach() for k, v in model.state_dict().items()})
    fp32 = reference(cast(Any, model), dataset, weights, store, device)
    return partial(compare, cast(Any, model), dataset, fp32, device)


def _of_quantizers(tensors: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """The quantizers' state alone: the weights are the FP32 model's, which is kept already."""
    return {name: value for name, value in tensors.items() if ".quantizer." in name}


def _files(run_id: str, method: Method, final: Evaluation) -> dict[str, str]:
    """Names of the files beside the record."""
    state = "weights" if method.keeps_weights else "quantizers"
    found = {state: f"{run_id}.safetensors"}
    if method.tensors:
        found["outliers"] = f"{run_id}.outliers.safetensors"
    if final.correct is not None:
        found["correct"] = f"{run_id}.correct.npy"
    if final.values is not None:
        found["values"] = f"{run_id}.values.npy"
    return found


def _fp32_weights(before: dict[str, Record], store: Store) -> Path | None:
    record = before.get("fp32")
    return store.beside(record.cell_id, record.run_id, "safetensors") if record else None


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
