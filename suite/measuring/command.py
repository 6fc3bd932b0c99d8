"""What `lowbit measure` does: plan, measure, store, print."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from suite.choosing import _words
from suite.errors import UsageError
from suite.grid import parse_bits
from suite.measuring.cases import Conditions, cases_of, cells_of, images_of
from suite.options import Options, default_results
from suite.results import Store


def run(given: dict[str, Any], say: Callable[[str], None]) -> int:
    """Measure as the command's options say; returns 1 if a case could not be measured."""
    from suite.device import choose_device
    from suite.distributed import join
    from suite.measuring import benchmark, records
    from suite.measuring.session import measure
    from suite.measuring.table import table

    results = Path(given["results"][-1]).expanduser() if given["results"] else default_results()
    methods = _words(given["method"]) or ("fp32",)
    cells = cells_of(given["model"], methods, _pairs(given), _words(given["variant"]))
    _check(cells)
    shared = ("batch", "size", "steps", "rounds", "threads", "compiled")
    conditions = Conditions(
        images=images_of(given["model"], given["images"]),
        device=choose_device(Options(device=given["device"]), join()).type,
        **{name: given[name] for name in shared},
    )
    Store(results).prepare()
    found = measure(cases_of(cells, conditions), conditions, say)
    for one in found:
        records.write(one, results)
    if given["benchmark_json"]:
        benchmark.write(found, given["benchmark_json"])
    print(table(found))
    return 1 if any(one.lacking for one in found) else 0


def _pairs(given: dict[str, Any]) -> list[tuple[int, int]]:
    """Bits of weights and of activations; --w-bits or --a-bits alone stands for both."""
    both, weights, activations = (
        [bits for text in given[name] or [] for bits in parse_bits(text, f"--{name}")]
        for name in ("bits", "w-bits", "a-bits")
    )
    if both and (weights or activations):
        raise UsageError("--bits sets weights and activations; leave out --w-bits and --a-bits.")
    if weights and activations:
        return [(w, a) for w in weights for a in activations]
    return [(bits, bits) for bits in both or weights or activations]


def _check(cells: list[Any]) -> None:
    """Refuse impossible cells before anything is measured."""
    from suite.runner import method_of

    for cell in cells:
        method_of(cell)
