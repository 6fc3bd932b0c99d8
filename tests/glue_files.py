"""Small GLUE data in the official TSV files, a `save_to_disk` folder and parquet files."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from datasets import ClassLabel, Dataset, DatasetDict, Features, Value

from suite.tasks.glue import SPECS
from suite.tasks.glue_spec import Spec

KEYS = [spec.key for spec in SPECS]
BY_KEY = {spec.key: spec for spec in SPECS}
LAYOUTS = ("tsv", "saved", "parquet")

TEXTS = [
    'He said "no and left',
    '"The film" is good ',
    "life\u2028and love, über all",
    "'' war '' is a story",
    "a",
    "The people watch the music\u0085again",
    '""',
]
"""What a reader that takes quotes or odd line ends seriously would tear apart."""


def samples(spec: Spec, split: str) -> list[dict[str, Any]]:
    """Rows in the hub's columns; labels as class ids or ratings."""
    count = {"train": 9, "validation_mismatched": 5}.get(split, 6)
    shift = sum(map(ord, split)) % 7
    found = []
    for i in range(count):
        texts = {
            column: TEXTS[(i + shift + 3 * place) % len(TEXTS)]
            for place, column in enumerate(spec.columns)
        }
        label = i % len(spec.names) if spec.names else [5.0, 0.0, 3.8, 2.75][i % 4]
        found.append({**texts, "label": label, "idx": i})
    return found


LEADING = {
    "sst2": (),
    "mrpc": ("#1 ID", "#2 ID"),
    "stsb": ("index", "genre", "filename", "year", "old_index", "source1", "source2"),
    "qqp": ("id", "qid1", "qid2"),
    "mnli": (
        *("index", "promptID", "pairID", "genre", "sentence1_binary_parse"),
        *("sentence2_binary_parse", "sentence1_parse", "sentence2_parse"),
    ),
    "qnli": ("index",),
    "rte": ("index",),
}
"""Columns of the official files before the texts."""


def tsv_label(spec: Spec, label: float) -> str:
    return spec.words[int(label)] if spec.names else f"{label:.3f}"


def tsv(spec: Spec, split: str) -> str:
    """One file as the official archive has it."""
    lines = []
    for i, row in enumerate(samples(spec, split)):
        texts = [row[c] for c in spec.columns]
        label = tsv_label(spec, row["label"])
        if spec.key == "cola":
            lines.append(["gj04", label, "" if row["label"] else "*", *texts])
            continue
        numbers = [f"{n}{i}" for n in range(len(LEADING[spec.key]))]
        annotators = [label] * (5 if "dev" in spec.splits[split] else 1)
        extra = annotators if spec.key == "mnli" else []
        front = [label] if spec.key == "mrpc" else []
        back = [] if front else [label]
        lines.append([*front, *numbers, *texts, *extra, *back])
    head = header(spec, split)
    return "\n".join("\t".join(line) for line in [*head, *lines]) + "\n"


def header(spec: Spec, split: str) -> list[list[str]]:
    if spec.key == "cola":
        return []
    front = [spec.tsv_label] if spec.key == "mrpc" else []
    back = [] if front else [spec.tsv_label]
    many = 5 if "dev" in spec.splits[split] else 1
    extra = [f"label{i + 1}" for i in range(many)] if spec.key == "mnli" else []
    return [[*front, *LEADING[spec.key], *spec.tsv_columns, *extra, *back]]


def write_tsv(root: Path, spec: Spec) -> Path:
    folder = root / spec.folder
    folder.mkdir(parents=True)
    mark = "\ufeff" if spec.key == "mrpc" else ""
    for split, stem in spec.splits.items():
        (folder / f"{stem}.tsv").write_bytes((mark + tsv(spec, split)).encode())
    return folder


def hub_data(spec: Spec) -> DatasetDict:
    """The data set as the hub has it, with its class names and an unlabelled test split."""
    label = ClassLabel(names=list(spec.names)) if spec.names else Value("float32")
    texts = {column: Value("string") for column in spec.columns}
    features = Features({**texts, "label": label, "idx": Value("int32")})
    found = {s: Dataset.from_list(samples(spec, s), features=features) for s in spec.splits}
    hidden = [{**row, "label": -1} for row in samples(spec, "train")[:2]]
    found["test"] = Dataset.from_list(hidden, features=features)
    return DatasetDict(found)


def write_saved(root: Path, spec: Spec) -> Path:
    hub_data(spec).save_to_disk(str(root / spec.key))
    return root / spec.key


def write_parquet(root: Path, spec: Spec) -> Path:
    folder = root / spec.key
    folder.mkdir(parents=True)
    for split, dataset in hub_data(spec).items():
        dataset.to_parquet(str(folder / f"{split}-00000-of-00001.parquet"))
    return folder


WRITERS: dict[str, Callable[[Path, Spec], Path]] = {
    "tsv": write_tsv,
    "saved": write_saved,
    "parquet": write_parquet,
}
