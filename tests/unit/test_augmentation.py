"""TinyBERT's augmented training file: read in the place of the training split, or refused."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import pytest

from suite.errors import EnvironmentProblem, UsageError
from suite.models.text_catalog import BERT_PICO
from suite.tasks.base import DataOptions
from suite.tasks.glue import GlueTask
from suite.tasks.snippets import SNIPPETS
from tests.glue_files import BY_KEY, KEYS, tsv, write_tsv


def opened(root: Path, key: str, augmented: bool = True) -> Any:
    options = DataOptions(
        root=root, tokenizer=BERT_PICO.tokenizer, max_length=24, augmented=augmented
    )
    return GlueTask(BY_KEY[key]).open(options)


def write(folder: Path, text: str) -> Path:
    path = folder / "train_aug.tsv"
    path.write_bytes(text.encode())
    return path


@pytest.mark.parametrize("key", KEYS)
@pytest.mark.parametrize("header", [True, False])
def test_it_takes_the_training_splits_place(tmp_path: Path, key: str, header: bool) -> None:
    spec = BY_KEY[key]
    lines = tsv(spec, "train").rstrip("\n").split("\n")
    first = 0 if spec.header else 1
    rows = lines[first:] + lines[first:] + lines[first : first + 2]
    path = write(write_tsv(tmp_path, spec), "\n".join([*lines[: first if header else 0], *rows]))
    found = opened(tmp_path, key)
    assert found.train_size == len(rows) == 20
    assert found.digests["train_aug.tsv"] == hashlib.sha256(path.read_bytes()).hexdigest()
    assert found.transform["augmentation"] == "train_aug.tsv, 20 rows"
    plain = opened(tmp_path, key, augmented=False)
    assert (plain.train_size, plain.digests["validation"]) == (9, found.digests["validation"])
    assert plain.digests["train"] != found.digests["train"]
    assert "augmentation" not in plain.transform


def test_without_the_file_the_protocol_says_so(tmp_path: Path) -> None:
    write_tsv(tmp_path, BY_KEY["rte"])
    found = opened(tmp_path, "rte")
    assert found.train_size == 9
    assert found.transform["augmentation"] == "none: no train_aug.tsv in the folder"
    assert set(found.digests) == {"train", "validation"}


@pytest.mark.parametrize("other", [key for key in KEYS if key not in ("rte", "qnli")])
def test_a_file_of_another_task_is_refused(tmp_path: Path, other: str) -> None:
    """RTE's and QNLI's have the same columns and labels without a header; others differ."""
    folder = write_tsv(tmp_path, BY_KEY["rte"])
    write(folder, "\n".join(tsv(BY_KEY[other], "train").rstrip("\n").split("\n")[1:]))
    with pytest.raises(EnvironmentProblem, match=r"Line 1 of .*train_aug\.tsv") as caught:
        opened(tmp_path, "rte")
    assert "\n" not in str(caught.value)


def test_an_empty_file_and_a_task_without_such_files_are_refused(tmp_path: Path) -> None:
    write(write_tsv(tmp_path, BY_KEY["sst2"]), "")
    with pytest.raises(EnvironmentProblem, match="holds no rows"):
        opened(tmp_path, "sst2")
    with pytest.raises(UsageError, match="snippets has no augmented texts"):
        SNIPPETS.open(DataOptions(tokenizer=BERT_PICO.tokenizer, max_length=24, augmented=True))
