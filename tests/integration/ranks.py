"""One rank of a short training; rank 0 prints every rank's parameters and first gradients as JSON.

torchrun --nproc-per-node N -m tests.integration.ranks METHOD VARIANT FOLDER
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

import torch

from suite.cell import make_cell
from suite.checkpoint import State
from suite.distributed import join, leave
from suite.evaluate import evaluate
from suite.progress import Reporter
from suite.recipes import recipe
from suite.registry import METHODS, MODELS, TASKS
from suite.tasks.base import DataOptions
from suite.train import Training, train
from tests.unit.embedded_models import embedded_model, receive


def main(name: str, variant: str, folder: str) -> None:
    torch.set_num_threads(1)
    ranks = join()
    settings = {"distill": False} if name == "variation" else {}
    cell = make_cell(
        method=name,
        model=embedded_model(name),
        task="fashion",
        w_bits=4,
        a_bits=4,
        variant=variant,
        settings=settings,
        recipe=recipe("fashion-qat", epochs=1, max_steps=4, batch_size=32),
    )
    method = METHODS.get(name)(cell)
    dataset = TASKS.get("fashion").open(DataOptions(image_size=28, classes=10))
    model = MODELS.get(cell.model).build(seed=0)
    receive(method)
    method.place(model)
    gradients: dict[str, list[float]] = {}

    def keep_first(_: State) -> None:
        for key, p in model.named_parameters() if not gradients else ():
            if p.grad is not None:
                gradients[key] = p.grad.flatten().tolist()

    job = Training(
        cell_id="ranks",
        label=cell.label,
        metric="top1",
        seed=0,
        recipe=cell.recipe,
        method=method,
        model=model,
        dataset=dataset,
        labels=None,
        device=torch.device("cpu"),
        ranks=ranks,
        path=Path(folder) / "checkpoint.pt",
        minutes=10,
        compiled=False,
        reporter=Reporter(quiet=True),
        on_step=keep_first,
    )
    train(job)
    found = evaluate(model, dataset, torch.device("cpu"), ranks)
    own = {n: p.detach().flatten().tolist() for n, p in model.named_parameters()}
    everyone = ranks.gather(own)
    if ranks.first:
        correct = found.correct.astype(int).tolist()
        found_here = {"metrics": found.metrics, "correct": correct, "gradients": gradients}
        print(json.dumps({"ranks": everyone, **found_here}))
    leave()


if __name__ == "__main__":
    main(*sys.argv[1:])
