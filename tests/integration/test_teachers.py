"""A teacher is the very network that its cell scored, what the recipe changes in it included."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from suite import labels
from suite.cell import Cell, make_cell
from suite.data import open_data
from suite.evaluate import evaluate
from suite.finished import teacher
from suite.method import Finished
from suite.options import Options
from suite.progress import Reporter
from suite.recipes import recipe
from suite.registry import METHODS
from suite.results import Record, Store
from suite.runner import obtain

pytestmark = pytest.mark.usefixtures("fewer")

CPU = torch.device("cpu")


def trained(results: Path, **changes: Any) -> Record:
    cell = make_cell(
        method="fp32", model="deit_pico", task="fashion", recipe=recipe("fashion-smoke", **changes)
    )
    return obtain(cell, Options(results=results, threads=1), Reporter(quiet=True)).record


def student() -> Cell:
    chosen = recipe("fashion-qat-multicrop", fp32_recipe="fashion-smoke", label_crops=1)
    return make_cell(
        method="variation",
        model="deit_pico",
        task="fashion",
        w_bits=2,
        a_bits=2,
        variant="released",
        recipe=chosen,
    )


@pytest.mark.parametrize("clamped", [False, True])
def test_a_teacher_scores_what_its_cell_scored(results: Path, clamped: bool) -> None:
    record = trained(results, clamp_gelu=clamped, epochs=2)
    path = Store(results).beside(record.cell_id, record.run_id, "safetensors")
    cell = make_cell(**record.cell)
    data = open_data(cell, Options(results=results))
    net = teacher(Finished(cell, path), data.classes, CPU)
    assert evaluate(net, data, CPU).metrics["loss"] == record.metrics["loss"]


def test_soft_labels_are_the_answers_of_the_clamped_network(
    results: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And are stored under another name than those that the same weights gave without the clamp."""
    record = trained(results, clamp_gelu=True, epochs=2)
    cell = student()
    options = Options(results=results)
    data: Any = open_data(cell, options)
    asked: dict[str, Any] = {}

    def take(_: Any, logits: Any, **given: Any) -> None:
        asked.update(given, logits=logits)

    monkeypatch.setattr(labels, "generate", take)
    method = METHODS.get("variation")(cell)
    store, quiet = Store(results), Reporter(quiet=True)
    labels.labels_for(cell, method, {"fp32": record}, data, store, options, CPU, quiet)
    net = torch.nn.Module()
    net.forward = asked["logits"]  # type: ignore[method-assign]
    assert evaluate(net, data, CPU).metrics["loss"] == record.metrics["loss"]
    assert asked["meta"]["teacher"] == f"{record.provenance['weights']} clamped"
    plain = record.model_copy(update={"cell": {**record.cell, "recipe": {}}})
    names = [labels._meta(cell, {"fp32": r}, data, options)["teacher"] for r in (record, plain)]
    assert names[1] == record.provenance["weights"] != names[0]
