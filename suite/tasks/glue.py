"""GLUE's eight tasks (without WNLI), from a folder in any of three layouts or from the hub."""

from __future__ import annotations

import os
import urllib.error
import urllib.request
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from suite.errors import Missing
from suite.tasks.augmentation import AUGMENTED, Augmented, read_augmented
from suite.tasks.base import DataOptions
from suite.tasks.encoding import Examples, joined
from suite.tasks.glue_spec import RATINGS, Spec
from suite.tasks.glue_tables import (
    HUB,
    is_parquet,
    is_saved,
    offline,
    read_hub,
    read_parquet,
    read_saved,
)
from suite.tasks.glue_tsv import is_tsv, read_tsv
from suite.tasks.text import TextDataset, encoder_for
from suite.tasks.text_metrics import MAIN, Metrics, score, score_parts

VARIABLE = "LOWBIT_GLUE"
PROBE_SECONDS = 5.0
ENTAILMENT = ("entailment", "not_entailment")
PAIR = ("sentence1", "sentence2")
NLI = ("entailment", "neutral", "contradiction")

SPECS = (
    Spec(
        key="cola",
        folder="CoLA",
        columns=("sentence",),
        names=("unacceptable", "acceptable"),
        metric="matthews",
        tsv_columns=("sentence",),
        tsv_label="label",
        header=("source", "label", "mark", "sentence"),
        sizes={"train": 8551, "validation": 1043},
    ),
    Spec(
        key="sst2",
        folder="SST-2",
        columns=("sentence",),
        names=("negative", "positive"),
        metric="accuracy",
        tsv_columns=("sentence",),
        tsv_label="label",
        sizes={"train": 67349, "validation": 872},
    ),
    Spec(
        key="mrpc",
        folder="MRPC",
        columns=PAIR,
        names=("not_equivalent", "equivalent"),
        metric="accuracy_f1",
        tsv_columns=("#1 String", "#2 String"),
        tsv_label="Quality",
        sizes={"train": 3668, "validation": 408},
    ),
    Spec(
        key="stsb",
        folder="STS-B",
        columns=PAIR,
        names=(),
        metric="correlations",
        tsv_columns=PAIR,
        tsv_label="score",
        sizes={"train": 5749, "validation": 1500},
    ),
    Spec(
        key="qqp",
        folder="QQP",
        columns=("question1", "question2"),
        names=("not_duplicate", "duplicate"),
        metric="accuracy_f1",
        tsv_columns=("question1", "question2"),
        tsv_label="is_duplicate",
        broken=1e-3,
        sizes={"train": 363846, "validation": 40430},
    ),
    Spec(
        key="mnli",
        folder="MNLI",
        columns=("premise", "hypothesis"),
        names=NLI,
        metric="accuracy",
        tsv_columns=PAIR,
        tsv_label="gold_label",
        words=NLI,
        dev={"validation_matched": "dev_matched", "validation_mismatched": "dev_mismatched"},
        sizes={"train": 392702, "validation_matched": 9815, "validation_mismatched": 9832},
    ),
    Spec(
        key="qnli",
        folder="QNLI",
        columns=("question", "sentence"),
        names=ENTAILMENT,
        metric="accuracy",
        tsv_columns=("question", "sentence"),
        tsv_label="label",
        words=ENTAILMENT,
        sizes={"train": 104743, "validation": 5463},
    ),
    Spec(
        key="rte",
        folder="RTE",
        columns=PAIR,
        names=ENTAILMENT,
        metric="accuracy",
        tsv_columns=PAIR,
        tsv_label="label",
        words=ENTAILMENT,
        sizes={"train": 2490, "validation": 277},
    ),
)


class GlueTask:
    """One GLUE task; its data comes from --data, $LOWBIT_GLUE or the hub, in that order.

    A folder may be the GLUE folder (with CoLA/ or cola/ inside) or the task's own, and hold the
    official TSV files, a `save_to_disk` data set or parquet files.
    """

    modality = "text"

    def __init__(self, spec: Spec) -> None:
        self.spec = spec
        self.name = spec.name
        self.metric = MAIN[spec.metric]
        self.class_names = spec.names
        self.variable = VARIABLE
        self.summary = f"GLUE {spec.folder}: {spec.valid}; {self.metric} on the validation split"

    def missing(self, options: DataOptions) -> Missing | None:
        """None when a folder holds the task or the hub (or its cache) can give it."""
        root = _root(options)
        if root is None:
            reason = None if _cached(self.spec.key) else hub_problem()
            return offline(self.spec, reason) if reason else None
        return None if _found(root, self.spec) else _nothing(root, self.spec)

    def open(self, options: DataOptions) -> TextDataset:
        """Read and check every split, then tokenise."""
        encoder = encoder_for(self.name, options)
        root = _root(options)
        splits = self._read(root)
        sizes = {name: len(split) for name, split in splits.items()}
        notes: dict[str, Any] = {"rows": sizes, "official_size": sizes == self.spec.sizes}
        more = self._augmented(root) if options.augmented else None
        if options.augmented:
            notes["augmentation"] = more.words if more else f"none: no {AUGMENTED} in the folder"
        dev = [splits[name] for name in self.spec.dev]
        return TextDataset(
            more.examples if more else splits["train"],
            joined(dev),
            encoder,
            classes=len(self.spec.names) or 1,
            scorer=lambda prediction, target: self._score(sizes, prediction, target),
            limits=None if self.spec.names else RATINGS,
            notes=notes,
            digests={AUGMENTED: more.digest} if more else None,
        )

    def _augmented(self, root: Path | None) -> Augmented | None:
        folder = _found(root, self.spec) if root else None
        return read_augmented(folder, self.spec) if folder else None

    def _read(self, root: Path | None) -> dict[str, Examples]:
        if root is None:
            return read_hub(self.spec)
        folder = _found(root, self.spec)
        if folder is None:
            raise _nothing(root, self.spec)
        if is_tsv(folder, self.spec):
            return read_tsv(folder, self.spec)
        return (read_saved if is_saved(folder) else read_parquet)(folder, self.spec)

    def _score(self, sizes: dict[str, int], prediction: np.ndarray, target: np.ndarray) -> Metrics:
        if len(self.spec.dev) == 1:
            return score(self.spec.metric, prediction, target)
        parts = {name.removeprefix("validation_"): sizes[name] for name in self.spec.dev}
        return score_parts(parts, prediction, target)


def _root(options: DataOptions) -> Path | None:
    named = options.root or os.environ.get(VARIABLE)
    return Path(named).expanduser() if named else None


def _found(root: Path, spec: Spec) -> Path | None:
    """The folder of the task: the task's own one inside `root`, or `root` itself."""
    for folder in (root / spec.folder, root / spec.key, root):
        if is_tsv(folder, spec) or is_saved(folder) or is_parquet(folder):
            return folder
    return None


def _nothing(root: Path, spec: Spec) -> Missing:
    what = "is not a folder" if not root.is_dir() else "does not hold the task"
    for folder in (root / spec.folder, root / spec.key, root):
        if (folder / "state.json").is_file():
            what = f"holds one split alone ({folder} is a Dataset, not a DatasetDict)"
    return Missing(
        f"No data for {spec.name}: {root} {what}; it needs {spec.folder}/ or {spec.key}/ with the "
        "official TSV files, a save_to_disk data set or parquet files (train-*.parquet, ...); see "
        "README, Data."
    )


def _cached(key: str) -> bool:
    from datasets import config

    folder = Path(config.HF_DATASETS_CACHE) / HUB.replace("/", "___") / key
    return folder.is_dir()


@cache
def hub_problem() -> str | None:
    """Why the hub cannot be reached, or None; asked once a process, without retries."""
    from huggingface_hub import constants

    if constants.HF_HUB_OFFLINE:
        return "offline mode is on"
    request = urllib.request.Request(f"{constants.ENDPOINT}/datasets/{HUB}", method="HEAD")
    try:
        with urllib.request.urlopen(request, timeout=PROBE_SECONDS):
            return None
    except urllib.error.URLError as problem:
        return str(problem.reason)
    except OSError as problem:
        return str(problem)


COLA, SST2, MRPC, STSB, QQP, MNLI, QNLI, RTE = (GlueTask(spec) for spec in SPECS)
