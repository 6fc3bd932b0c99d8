"""Running one cell here, from data and weights to a finished record."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, cast

import torch
from torch import nn

from suite import measure
from suite.audit import audit
from suite.cell import Cell, make_cell
from suite.checkpoint import State, first_nonfinite, threads_of
from suite.code_state import outside
from suite.cores import Threads
from suite.data import open_data
from suite.device import choose_device, set_threads, step_work
from suite.distributed import Ranks, join
from suite.errors import LowbitError
from suite.evaluate import Evaluation, evaluate
from suite.gate import check_gate
from suite.kept import left_by
from suite.labels import labels_for
from suite.method import Finished, Method
from suite.model_size import sizes_of
from suite.models.architecture import architecture
from suite.models.checkpoint import digest, save_weights
from suite.models.starting import load_whole, start_model
from suite.options import Options
from suite.progress import Reporter
from suite.provenance import provenance
from suite.registry import TASKS, model_spec
from suite.results import Record, Store, now
from suite.stages import last_stage, path_of, told, train_stages
from suite.tasks.base import Dataset, to_device
from suite.train import Training, pays_to_compile, planned_steps

AUDIT_IMAGES = 16


class AuditFailed(LowbitError):
    """A tensor that should be quantized to b bits is not."""


@dataclass(frozen=True)
class Run:
    """One run of one cell: what it is asked to do, where, and under which id.

    before: records of the cells that it needs; last: `step` follows the training, for a failure.
    """

    cell: Cell
    method: Method
    before: dict[str, Record]
    store: Store
    options: Options
    reporter: Reporter
    last: dict[str, Any]
    name: str
    run_id: str
    started: str
    ranks: Ranks
    device: torch.device


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

    started, ranks = now(), join()
    device = choose_device(options, ranks)
    # One id for all ranks: the cells that need this one look for its files by it.
    run_id = ranks.share(store.next_run_id(cell_id(cell)))
    run = Run(
        cell,
        method,
        before,
        store,
        options,
        reporter,
        last,
        cell_id(cell),
        run_id,
        started,
        ranks,
        device,
    )
    dataset = open_data(cell, options)
    check_gate(cell, before, options)
    return _run(run, dataset)


def _run(run: Run, dataset: Dataset) -> Record:
    """Model, labels, quantizers, training, score, audit, record."""
    cell, method = run.cell, run.method
    finished = _finished(run.before, run.store)
    spec, fp32 = model_spec(cell.model), finished["fp32"].weights if "fp32" in finished else None
    model, source = start_model(spec, cell, dataset.classes, fp32, run.options)
    built = architecture(model)
    threads = _threads(run, model, dataset)
    labels = labels_for(
        cell, method, run.before, dataset, run.store, run.options, run.device, run.reporter
    )
    model.to(run.device)
    method.receive(finished, dataset.classes, run.device)
    score = _scorer(model, dataset, run.store, run.device, run.ranks)
    method.place(model)
    if cell.recipe.start == "quantized":
        source = load_whole(model, run.options)
    model.to(run.device)
    job = training_of(run, model, dataset, labels)
    job.rests = _rests(run, source, labels)
    state = train_stages(job, method.stages())
    final = score()
    audited = _audited(method, model, dataset, cell, run.device)
    tensors = {k: v.detach().cpu().contiguous() for k, v in model.state_dict().items()}
    _check_finite(cell, tensors, final, state)
    record = Record(
        **_identity(run),
        metrics=_metrics(final, state, job.metric),
        history=state.history,
        time={**measure.timing(state.history), **measure.per_second(state.load)},
        memory=measure.largest(state.peaks, measure.peaks(run.device)),
        execution=_execution(run, job, state, threads),
        protocol={**method.protocol(), "evaluation": dataset.transform, **_labels_note(labels)},
        audit=audited,
        diagnosis={**method.diagnosis, **told(state.history, job.metric), **sizes_of(model)},
        provenance={
            **provenance(run.device),
            "data": dataset.digests,
            **_outputs(dataset),
            "start": source,
            "weights": digest(tensors),
            **_digest_of_kept(method, tensors),
            "architecture": built,
            "outside": outside(cell),
        },
        files=_files(run.run_id, method, final),
    )
    if run.ranks.first:
        _keep(run, record, tensors, final)
        for stage in method.stages():
            path_of(job.path, stage.name).unlink(missing_ok=True)
    run.ranks.wait()
    return record


def training_of(run: Run, model: nn.Module, dataset: Dataset, labels: Any) -> Training:
    """The training of a prepared model: quantizers placed, labels at hand."""
    cell, options = run.cell, run.options
    return Training(
        cell_id=run.name,
        label=cell.label,
        metric=TASKS.get(cell.task).metric,
        seed=cell.seed,
        recipe=cell.recipe,
        method=run.method,
        model=model,
        dataset=dataset,
        labels=labels,
        device=run.device,
        ranks=run.ranks,
        path=_checkpoint(run),
        minutes=options.checkpoint_minutes,
        compiled=_compiled(cell, options, model, dataset, run.device, run.ranks),
        calibrated=cell.recipe.start == "quantized",
        reporter=run.reporter,
        on_step=lambda state: run.last.update(step=[state.number, state.step]),
    )


def _identity(run: Run) -> dict[str, Any]:
    return {
        "cell_id": run.name,
        "run_id": run.run_id,
        "cell": run.cell.delta(),
        "status": "done",
        "started": run.started,
        "finished": now(),
        "needs": {role: record.run_id for role, record in run.before.items()},
    }


def _threads(run: Run, model: nn.Module, dataset: Dataset) -> Threads:
    """The cell's threads: those that its run began with, if it is continued."""
    kept = threads_of(path_of(_checkpoint(run), stage.name) for stage in run.method.stages())
    on_cpu = run.device.type == "cpu"
    recipe = run.cell.recipe
    work = step_work(model, dataset, recipe.batch_size, run.cell.seed) if on_cpu else 0.0
    found = set_threads(run.options, run.ranks, kept=kept, work=work, watch=on_cpu)
    if kept and run.options.threads not in (0, kept):
        run.reporter.say(
            f"{run.cell.label}: goes on with {kept} threads, as it began; others give other bits "
            "(--fresh starts over)"
        )
    return found


def _checkpoint(run: Run) -> Path:
    return run.store.work(run.name) / "state" / "checkpoint.pt"


def _execution(run: Run, job: Training, state: State, threads: Threads) -> dict[str, Any]:
    return {
        "compile": job.compiled,
        "precision": "fp32",
        "threads": threads.count,
        "threads_by": threads.why,
        "cores": threads.cores,
        "processes": run.ranks.world,
        "workers": run.options.workers,
        "resumed": state.resumed,
        "gate": run.options.gate,
    }


def _keep(run: Run, record: Record, tensors: dict[str, torch.Tensor], final: Evaluation) -> None:
    """Write what lies beside the record, then the record: it is there only when all is."""
    store, own = run.store, (run.name, run.run_id)
    kept = tensors if run.method.keeps_weights else _of_quantizers(tensors)
    save_weights(store.beside(*own, "safetensors"), kept)
    if run.method.tensors:
        save_weights(store.beside(*own, "outliers.safetensors"), run.method.tensors)
    if final.correct is not None:
        store.write_bitmap(own, final.correct)
    if final.values is not None:
        store.write_values(own, final.values)
    store.write(record)


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


def _outputs(dataset: Dataset) -> dict[str, Any]:
    """Which output of the model each class of the data is, where no list is published."""
    found = getattr(dataset, "outputs", None)
    return {"outputs": found} if found else {}


def _finished(before: dict[str, Record], store: Store) -> dict[str, Finished]:
    """What the needed cells left behind, by their roles; each is what its record says."""
    return {
        role: Finished(make_cell(**record.cell), left_by(record, store))
        for role, record in before.items()
    }


def _rests(run: Run, source: dict[str, Any], labels: Any) -> dict[str, str]:
    """Digests of what the training rests on besides its data."""
    needed = {role: str(one.provenance["weights"]) for role, one in run.before.items()}
    start = {"start": str(source["digest"])} if "digest" in source else {}
    # Labels of before have no digest; their folder's name is one of what they were made from.
    learnt = {} if labels is None else {"soft labels": labels.digest or labels.path.name}
    return {**start, **needed, **learnt}


def _check_finite(
    cell: Cell, tensors: dict[str, torch.Tensor], final: Evaluation, state: State
) -> None:
    """NaN or infinity in what would be kept is a failure, whether the cell trained or not."""
    odd = [name for name, value in final.metrics.items() if not math.isfinite(value)]
    odd += filter(None, [first_nonfinite(tensors)])
    if odd:
        steps = sum(row["steps"] for row in state.history)
        raise LowbitError(
            f"{cell.label} ended after {steps} steps with NaN or infinity in {', '.join(odd)}; "
            "look at the weights that it starts from, or try a smaller learning rate."
        )


def _digest_of_kept(method: Method, tensors: dict[str, torch.Tensor]) -> dict[str, str]:
    """Digest of the file beside the record, where that does not hold all weights."""
    return {} if method.keeps_weights else {"quantizers": digest(_of_quantizers(tensors))}


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
    """Last and best epoch both, since papers report either (of the last stage)."""
    best = max([row[metric] for row in last_stage(state.history)] + [final.metrics[metric]])
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
