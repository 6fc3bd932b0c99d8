"""Cost of calibrating and of running a quantized BERT-base, against FP32 in one process.

Run alone, on an idle machine: pytest tests/perf/test_ptq_ratio.py -s
"""

from __future__ import annotations

import logging
import statistics
import time
from typing import Any

import pytest
import torch

from baselines.minmax_ptq import MinMaxPTQ
from suite.cell import make_cell
from suite.models.slot import quantized_once, quantized_weights
from suite.models.text_catalog import BERT_BASE
from suite.models.text_loading import model_from_config
from suite.ptq import quantizers
from tests.perf.alternate import alternate, ratios

ROWS, TOKENS = 16, 128

CONFIG = {"model_type": "bert"}
"""transformers' defaults are BERT-base's dimensions."""


def bert() -> Any:
    torch.manual_seed(0)
    model = model_from_config(CONFIG, 2, seed=0)
    return model.eval()


def inputs() -> dict[str, torch.Tensor]:
    ids = torch.randint(5, 30_000, (ROWS, TOKENS), generator=torch.Generator().manual_seed(0))
    return {"input_ids": ids, "attention_mask": torch.ones_like(ids)}


def placed(model: Any) -> MinMaxPTQ:
    cell = make_cell(
        method="minmax_ptq",
        model=BERT_BASE.name,
        task="glue-sst2",
        variant="released",
        w_bits=8,
        a_bits=8,
    )
    method = MinMaxPTQ(cell)
    method.place(model)
    return method


@pytest.fixture(autouse=True)
def quiet() -> None:
    logging.getLogger("torch.__trace").setLevel(logging.WARNING)


@pytest.mark.perf
def test_calibration(benchmark: Any) -> None:
    """Activations within a forward and a half of FP32; all 102 weight ranges besides."""
    plain, model, batch = bert(), bert(), inputs()
    placed(model)

    def weights() -> float:
        start = time.perf_counter()
        for _, weight, quantizer in quantized_weights(model):
            quantizer.initialise(weight)
            quantizer.fix()
        return time.perf_counter() - start

    searched = benchmark.pedantic(weights, rounds=1, iterations=1)
    activations = quantizers(model, "activation")

    def calibrate() -> None:
        for quantizer in activations:
            quantizer.estimate()
        model(batch)

    @torch.no_grad()
    def measured() -> dict[str, list[float]]:
        with quantized_once(model):
            return alternate({"fp32": lambda: plain(batch), "calibration": calibrate}, 6)

    seconds = measured()
    found = ratios(seconds, "fp32")
    forward = statistics.median(seconds["fp32"])
    benchmark.extra_info.update(ratios=found, weights_to_forward=searched / forward)
    print(
        f"\ncalibration over FP32 forward: {found}; weight ranges {searched / forward:.2f} of one"
    )
    assert found["calibration"] < 1.9


@pytest.mark.perf
def test_evaluation(benchmark: Any) -> None:
    """A quantized evaluation forward, weights quantized once, eager and compiled."""
    plain, model, batch = bert(), bert(), inputs()
    placed(model).calibrate(model, batch)
    fast = torch.compile(model)

    @torch.no_grad()
    def measured() -> dict[str, list[float]]:
        with quantized_once(model):
            steps = {
                "fp32": lambda: plain(batch),
                "w8a8": lambda: model(batch),
                "w8a8 compiled": lambda: fast(batch),
            }
            return alternate(steps, 8)

    found = ratios(benchmark.pedantic(measured, rounds=1, iterations=1), "fp32")
    benchmark.extra_info.update(ratios=found, threads=torch.get_num_threads())
    print(f"\nevaluation over FP32 eager ({torch.get_num_threads()} threads): {found}")
    assert found["w8a8"] < 1.6
    assert found["w8a8 compiled"] < 1.3
