"""Cost of a training step of the split binary model against the ternary half-width one.

Run alone, on an idle machine: pytest tests/perf/test_binary_ratio.py -s
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any

import pytest
import torch

from suite.cell import Recipe, make_cell
from suite.models.narrow import narrow
from suite.models.text_loading import model_from_config
from suite.optimize import optimizer_of
from suite.registry import METHODS
from suite.text_distillation import Distilled, LogitRule, Open
from tests.perf.alternate import alternate, ratios

ROWS, TOKENS, LAYERS, ROUNDS = 8, 64, 2, 6
CONFIG = {"model_type": "bert", "num_hidden_layers": LAYERS}
"""BERT-base's dimensions, with fewer layers: the ratio is a layer's."""

RECIPE = Recipe(optimizer="bertadam", lr=1e-5, quantizer_lr=1e-4)
TWICE = 2.0


def inputs() -> dict[str, torch.Tensor]:
    ids = torch.randint(5, 30_000, (ROWS, TOKENS), generator=torch.Generator().manual_seed(0))
    return {"input_ids": ids, "attention_mask": torch.ones_like(ids)}


def step_of(name: str, w_bits: int, a_bits: int, settings: dict[str, Any]) -> Callable[[], None]:
    """One distilled step: forward of teacher and student, backward, optimizer."""
    model = model_from_config(CONFIG, 2, seed=0)
    variant = "released" if name == "binarybert" else "binarybert"
    cell = make_cell(
        method=name,
        model="bert_base",
        task="glue-sst2",
        variant=variant,
        w_bits=w_bits,
        a_bits=a_bits,
        settings=settings,
        recipe=RECIPE,
    )
    method = METHODS.get(name)(cell)
    method.place(model)
    batch = inputs()
    method.calibrate(model, batch)
    teacher = model_from_config(CONFIG, 2, seed=1).requires_grad_(False).eval()
    narrow(teacher, 0.5)
    net = Distilled(Open(model), Open(teacher), ("attention", "hidden", "logits"), LogitRule())
    optimizer = optimizer_of(model, RECIPE)
    model.train()

    def step() -> None:
        optimizer.zero_grad(set_to_none=True)
        net(batch).backward()
        optimizer.step()

    return step


@pytest.mark.perf
@pytest.mark.parametrize("a_bits", [8, 4])
def test_a_split_step_costs_little_more_than_two_ternary_ones(benchmark: Any, a_bits: int) -> None:
    logging.getLogger("torch.__trace").setLevel(logging.WARNING)
    steps = {
        "ternary": step_of("ternarybert", 2, a_bits, {"width": 0.5}),
        "binary": step_of("binarybert", 1, a_bits, {}),
    }
    seconds = benchmark.pedantic(lambda: alternate(steps, ROUNDS), rounds=1, iterations=1)
    found = ratios(seconds, "ternary")
    benchmark.extra_info.update(ratios=found, threads=torch.get_num_threads())
    print(f"\nbinary step over ternary half-width step, a{a_bits}: {found['binary']}")
    assert found["binary"] <= 1.25 * TWICE
