"""Which output of a classifier means which class: its config.json says so, not their order."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from suite.errors import UsageError

NUMBERED = re.compile(r"(?:label|class)?[_ -]?(\d+)")
"""`LABEL_1`, as transformers names outputs of which nothing is known, or `1`."""

SYNONYMS = {
    "neg": "negative",
    "pos": "positive",
    "entails": "entailment",
    "entailed": "entailment",
    "non_entailment": "not_entailment",
    "notentailment": "not_entailment",
    "contradicts": "contradiction",
    "contradictory": "contradiction",
    "not_acceptable": "unacceptable",
    "paraphrase": "equivalent",
    "not_paraphrase": "not_equivalent",
    "non_equivalent": "not_equivalent",
    "non_duplicate": "not_duplicate",
}
"""Words for the classes of GLUE that other people's checkpoints use."""


def output_order(
    config: Mapping[int, Any], names: Sequence[str], source: str | Path
) -> list[int] | None:
    """The output that belongs to each class of `names`, in their order; None for their own order.

    config: the checkpoint's `id2label`, output -> name. Outputs that are only numbered say nothing
    of their meaning: number k is class k. Raises UsageError when the outputs have other names.
    """
    found = [_word(config.get(i)) for i in range(len(config))]
    numbers = [int(match[1]) if (match := NUMBERED.fullmatch(word)) else -1 for word in found]
    wanted: Sequence[Any] = [_word(name) for name in names]
    told: Sequence[Any] = found
    if sorted(numbers) == list(range(len(names))):
        told, wanted = numbers, range(len(names))
    if sorted(map(str, told)) != sorted(map(str, wanted)):
        raise UsageError(
            f"The outputs of {source} are {', '.join(str(config.get(i)) for i in config)} "
            f"(id2label in its config.json), the task's classes are {', '.join(names)}; name a "
            "checkpoint that was trained for them, or correct id2label if it is wrong."
        )
    order = [list(told).index(name) for name in wanted]
    return None if order == list(range(len(names))) else order


def _word(name: Any) -> str:
    """A class name as it is compared: lower case, parts joined by `_`."""
    plain = re.sub(r"[\s_-]+", "_", str(name).strip().lower())
    return SYNONYMS.get(plain, plain)
