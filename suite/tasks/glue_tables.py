"""GLUE as the `datasets` library keeps it: saved to disk, as parquet files, or on the hub."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from suite.errors import EnvironmentProblem, Missing
from suite.files import refuse_pointers
from suite.tasks.encoding import Examples
from suite.tasks.glue_spec import Spec, unlabelled

HUB = "nyu-mll/glue"
LABELS = ("label", "labels")
"""Names of the label's column: the hub's, and the one that transformers' collators rename it to."""

SHARD = re.compile(r"-(\d{5})-of-(\d{5})\.parquet$")


def is_saved(folder: Path) -> bool:
    """Whether `folder` was written by `save_to_disk`, whole or split by split."""
    return any((folder / name).is_file() for name in ("dataset_dict.json", "train/state.json"))


def is_parquet(folder: Path) -> bool:
    """Whether `folder` holds parquet files named after splits."""
    return bool(_shards(folder, "train"))


def read_saved(folder: Path, spec: Spec) -> dict[str, Examples]:
    """Every split of a `save_to_disk` folder."""
    from datasets import load_from_disk

    found = {}
    for split in spec.splits:
        path = folder / split
        if not (path / "state.json").is_file():
            raise Missing(_no_split(folder, split, spec, "folder"))
        with _damaged(path):
            dataset = load_from_disk(str(path))
            table = dataset.with_format("arrow")[:]
        found[split] = _examples(table, dataset.features, str(path), spec)
    return found


def read_parquet(folder: Path, spec: Spec) -> dict[str, Examples]:
    """Every split of a folder of parquet files, as on the hub or one file a split."""
    import pyarrow as pa
    import pyarrow.parquet as pq
    from datasets import Features

    found = {}
    for split in spec.splits:
        paths = _shards(folder, split)
        if not paths:
            raise Missing(_no_split(folder, split, spec, "file"))
        refuse_pointers(paths)
        _check_complete(paths)
        with _damaged(folder):
            table = pa.concat_tables([pq.read_table(path) for path in paths])
            features = Features.from_arrow_schema(table.schema)
        found[split] = _examples(table, features, f"{split} of {folder}", spec)
    return found


def read_hub(spec: Spec) -> dict[str, Examples]:
    """Every split from the hub or its cache; raises Missing when neither can be reached."""
    from datasets import load_dataset

    try:
        whole = load_dataset(HUB, spec.key)
    except OSError as problem:
        raise offline(spec, str(problem)) from problem
    found = {}
    for split in spec.splits:
        dataset = whole[split]
        table = dataset.with_format("arrow")[:]
        found[split] = _examples(table, dataset.features, f"{split} of {HUB}", spec)
    return found


def offline(spec: Spec, why: str) -> Missing:
    """The error when there is neither a folder nor a hub."""
    return Missing(
        f"No data for {spec.name}: no folder under --data or $LOWBIT_GLUE, and the hub ({HUB}) "
        f"cannot be reached ({why}); see README, Data."
    )


def _shards(folder: Path, split: str) -> list[Path]:
    whole = folder / f"{split}.parquet"
    return [whole] if whole.is_file() else sorted(folder.glob(f"{split}-*.parquet"))


def _check_complete(paths: list[Path]) -> None:
    named = SHARD.search(paths[0].name)
    if named and len(paths) != int(named[2]):
        raise EnvironmentProblem(
            f"{paths[0].parent} holds {len(paths)} of the {int(named[2])} files of "
            f"{paths[0].name}; get the missing ones."
        )


def _no_split(folder: Path, split: str, spec: Spec, what: str) -> str:
    return (
        f"{folder} has no {what} for the split {split!r}; {spec.name} needs "
        f"{', '.join(spec.splits)} (a test split has no labels and cannot stand in)."
    )


@contextmanager
def _damaged(path: Path) -> Iterator[None]:
    """Arrow's complaints are ValueErrors and OSErrors; so are those about its JSON files."""
    try:
        yield
    except (OSError, ValueError, KeyError) as problem:
        reason = str(problem).split("\n")[0]
        raise EnvironmentProblem(
            f"{path} cannot be read, it is damaged or incomplete ({reason}); copy or make it again."
        ) from problem


def _examples(table: Any, features: Any, where: str, spec: Spec) -> Examples:
    label = next((name for name in LABELS if name in table.column_names), LABELS[0])
    needed = (*spec.columns, label)
    lacking = [name for name in needed if name not in table.column_names]
    if lacking == [label]:
        raise EnvironmentProblem(
            f"{where} has no column 'label' (or 'labels'), it has "
            f"{', '.join(table.column_names)}; a test split has none and cannot be scored: use the "
            "official train and validation (dev) files."
        )
    if lacking:
        raise EnvironmentProblem(
            f"{where} has no column {', '.join(map(repr, lacking))}; {spec.name} needs "
            f"{', '.join(map(repr, needed))}, and it has {', '.join(table.column_names)}."
        )
    texts = [table[name].to_pylist() for name in spec.columns]
    for number, row in enumerate(zip(*texts, strict=True)):
        if any(text is None for text in row) or not any(text.strip() for text in row):
            raise EnvironmentProblem(
                f"Row {number} of {where} has no text; remove it or get the data again."
            )
    targets = _targets(table[label].to_pylist(), features[label], where, spec)
    return Examples(texts[0], texts[1] if len(texts) > 1 else None, spec.targets(targets))


def _targets(values: list[Any], feature: Any, where: str, spec: Spec) -> list[int | float]:
    if not spec.names:
        return [spec.rating(v, f"Row {i} of {where}") for i, v in enumerate(values)]
    names = _class_names(values, feature, spec)
    if not set(names) <= {*spec.names, *spec.words}:
        raise EnvironmentProblem(
            f"{where} has the labels {', '.join(map(str, names))}; {spec.name} has {spec.valid}; "
            "get the official data."
        )
    known = {name: i for words in (spec.words, spec.names) for i, name in enumerate(words)}
    ids: dict[Any, int] = {value: known[name] for value, name in enumerate(names)}
    ids.update({name: known[name] for name in names})
    for number, value in enumerate(values):
        if value not in ids:
            raise _bad_label(value, f"Row {number} of {where}", spec)
    return [ids[value] for value in values]


def _class_names(values: list[Any], feature: Any, spec: Spec) -> list[str]:
    """The names of the column's ids; its distinct texts when it holds texts."""
    if hasattr(feature, "names"):
        return list(feature.names)
    if any(isinstance(value, str) for value in values):
        return sorted({value for value in values if value not in (None, "", "-1")})
    return list(spec.names)


def _bad_label(value: Any, where: str, spec: Spec) -> EnvironmentProblem:
    if value in (None, -1, "", "-1"):
        return unlabelled(where)
    last = len(spec.names) - 1
    return EnvironmentProblem(
        f"{where} has the label {value!r}; {spec.name} has 0 to {last} ({spec.valid})."
    )
