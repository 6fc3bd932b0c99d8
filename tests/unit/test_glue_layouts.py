"""GLUE's eight tasks from the official TSV files, a `save_to_disk` folder and parquet files."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from datasets import ClassLabel, Dataset, DatasetDict, Value
from text_options import TextOptions, rows

from suite.errors import EnvironmentProblem, LowbitError, Missing
from suite.tasks import glue
from suite.tasks.glue import SPECS, GlueTask
from suite.tasks.glue_spec import Spec
from suite.tasks.text import TextDataset
from suite.tasks.text_metrics import COLUMNS
from tests.glue_files import (
    BY_KEY,
    KEYS,
    LAYOUTS,
    WRITERS,
    hub_data,
    samples,
    tsv,
    write_parquet,
    write_saved,
    write_tsv,
)


def opened(root: Path, spec: Spec) -> TextDataset:
    return GlueTask(spec).open(TextOptions(root=root))


def batches(data: TextDataset) -> list[torch.Tensor]:
    found: list[torch.Tensor] = []
    for batch in data.train_batches(epoch=1, seed=1000, batch=4):
        assert isinstance(batch.inputs, dict)
        found += [*batch.inputs.values(), batch.targets]
    for inputs, targets in data.validation_batches(batch=4):
        found += [*inputs.values(), targets]
    return found


def guess(data: TextDataset) -> np.ndarray:
    """Predictions that are partly wrong, from the order of the samples alone."""
    order = np.arange(len(data.splits["validation"]))
    return order % data.classes if data.classes > 1 else np.sin(order.astype(np.float64))


@pytest.mark.parametrize("key", KEYS)
def test_all_layouts_give_the_same_batches_and_the_same_score(awkward: Path, key: str) -> None:
    spec, task = BY_KEY[key], GlueTask(BY_KEY[key])
    found = {}
    for layout in LAYOUTS:
        root = awkward / layout
        WRITERS[layout](root, spec)
        assert task.missing(TextOptions(root=root)) is None
        found[layout] = opened(root, spec)
    first = found["tsv"]
    expected = [row for split in spec.dev for row in samples(spec, split)]
    assert list(first.splits["validation"].first) == [row[spec.columns[0]] for row in expected]
    assert first.splits["validation"].targets.tolist() == [
        pytest.approx(row["label"]) for row in expected
    ]
    score = first.score(rows(guess(first), first.splits["validation"].targets))
    assert task.metric in score
    for other in (found["saved"], found["parquet"]):
        pairs = zip(batches(first), batches(other), strict=True)
        assert all(torch.equal(a, b) for a, b in pairs)
        assert other.score(rows(guess(other), other.splits["validation"].targets)) == score
        assert other.digests == first.digests
        assert other.transform == first.transform


@pytest.mark.parametrize("layout", LAYOUTS)
def test_a_folder_may_be_the_tasks_own(tmp_path: Path, layout: str) -> None:
    folder = WRITERS[layout](tmp_path, BY_KEY["rte"])
    assert opened(folder, BY_KEY["rte"]).digests == opened(tmp_path, BY_KEY["rte"]).digests


def test_every_task_has_a_column_in_the_macro_score() -> None:
    assert {task.name: task.metric for task in map(GlueTask, SPECS)} == COLUMNS
    named = (glue.COLA, glue.SST2, glue.MRPC, glue.STSB, glue.QQP, glue.MNLI, glue.QNLI, glue.RTE)
    assert [task.name for task in named] == list(COLUMNS)


def test_mnli_is_the_mean_of_matched_and_mismatched(tmp_path: Path) -> None:
    write_tsv(tmp_path, BY_KEY["mnli"])
    data = opened(tmp_path, BY_KEY["mnli"])
    target = data.splits["validation"].targets
    wrong = target.copy()
    wrong[6:] = (wrong[6:] + 1) % 3
    found = data.score(rows(wrong, target))
    assert (found["accuracy_matched"], found["accuracy_mismatched"]) == (100, 0)
    assert found["accuracy"] == 50


def test_a_small_folder_is_told_from_the_official_one(tmp_path: Path) -> None:
    write_tsv(tmp_path, BY_KEY["rte"])
    transform = opened(tmp_path, BY_KEY["rte"]).transform
    assert transform["rows"] == {"train": 9, "validation": 6}
    assert transform["official_size"] is False


def test_the_environment_variable_names_the_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_tsv(tmp_path, BY_KEY["rte"])
    monkeypatch.setenv("LOWBIT_GLUE", str(tmp_path))
    assert glue.RTE.missing(TextOptions()) is None
    assert glue.RTE.open(TextOptions()).train_size == 9


def test_paraphrases_of_the_owner_are_split_by_the_list_of_glue(tmp_path: Path) -> None:
    spec = BY_KEY["mrpc"]
    folder = write_tsv(tmp_path, spec)
    train, dev = (tsv(spec, split).split("\n") for split in ("train", "validation"))
    for i in range(len(dev)):
        dev[i] = dev[i].replace(f"\t0{i - 1}\t1{i - 1}\t", f"\td{i}\te{i}\t")
    mixed = [train[0], *train[1:5], *dev[1:-1], *train[5:-1]]
    expected = opened(tmp_path, spec)
    (folder / "train.tsv").unlink()
    (folder / "dev.tsv").unlink()
    (folder / "msr_paraphrase_train.txt").write_bytes(
        ("\ufeff" + "\r\n".join(mixed) + "\r\n").encode()
    )
    with pytest.raises(Missing, match=r"no dev_ids.tsv"):
        opened(tmp_path, spec)
    ids = "\n".join(f"d{i}\te{i}" for i in range(1, len(dev) - 1))
    (folder / "dev_ids.tsv").write_text(ids + "\n")
    assert opened(tmp_path, spec).digests == expected.digests


def test_parquet_without_class_names_means_the_same(tmp_path: Path) -> None:
    import pyarrow.parquet as pq

    folder = write_parquet(tmp_path, BY_KEY["rte"])
    expected = opened(tmp_path, BY_KEY["rte"]).digests
    for path in folder.iterdir():
        pq.write_table(pq.read_table(path).replace_schema_metadata(None), path)
        path.rename(folder / f"{path.name.split('-')[0]}.parquet")
    assert opened(tmp_path, BY_KEY["rte"]).digests == expected


def test_class_names_in_another_order_are_put_right(tmp_path: Path) -> None:
    spec = BY_KEY["rte"]
    write_tsv(tmp_path, spec)
    expected = opened(tmp_path, spec).digests
    shutil.rmtree(tmp_path / spec.folder)
    turned = ClassLabel(names=list(reversed(spec.names)))
    data = hub_data(spec)
    for split in spec.splits:
        labels = [1 - label for label in data[split]["label"]]
        data[split] = data[split].remove_columns("label").add_column("label", labels)
        data[split] = data[split].cast_column("label", turned)
    data.save_to_disk(str(tmp_path / spec.key))
    assert opened(tmp_path, spec).digests == expected


Change = Callable[[str], str]


def without_column(text: str) -> str:
    return "\n".join("\t".join(line.split("\t")[:-1]) for line in text.split("\n"))


def renamed(text: str) -> str:
    return text.replace("sentence2", "hypothesis", 1)


def with_empty_line(text: str) -> str:
    lines = text.split("\n")
    return "\n".join([*lines[:3], "", *lines[3:]])


def cut_off(text: str) -> str:
    return text[: text.rindex("\t")]


def other_label(text: str) -> str:
    return text.replace("not_entailment", "contradiction", 1)


def unlabelled(text: str) -> str:
    return text.replace("not_entailment", "-1").replace("entailment", "-1")


BAD: list[tuple[Change, str]] = [
    (without_column, r"column 'label'\) has no label .* test split that cannot be scored"),
    (renamed, r"has no column 'sentence2'; glue-rte needs 'sentence1', 'sentence2', 'label'"),
    (with_empty_line, r"Line 4 of .* is empty where 4 columns"),
    (cut_off, r"is cut off at 3 of 4 columns"),
    (other_label, r"has the label 'contradiction'; glue-rte has entailment, not_entailment"),
    (unlabelled, r"has no label .* test split that cannot be scored"),
    (lambda text: text.split("\n")[0] + "\n", r"holds no rows"),
    (lambda text: "", r"has no column 'sentence1'"),
]


@pytest.mark.parametrize(("change", "message"), BAD)
def test_a_bad_file_is_answered_with_one_sentence(
    tmp_path: Path, change: Change, message: str
) -> None:
    path = write_tsv(tmp_path, BY_KEY["rte"]) / "dev.tsv"
    path.write_bytes(change(tsv(BY_KEY["rte"], "validation")).encode())
    with pytest.raises(EnvironmentProblem, match=message) as caught:
        opened(tmp_path, BY_KEY["rte"])
    assert str(path) in str(caught.value)
    assert one_sentence(caught.value)


def one_sentence(problem: LowbitError) -> bool:
    text = str(problem)
    return text.endswith(".") and "\n" not in text and ". " not in text


def test_a_test_file_in_place_of_colas_dev_file_is_recognised(tmp_path: Path) -> None:
    folder = write_tsv(tmp_path, BY_KEY["cola"])
    (folder / "dev.tsv").write_text("index\tsentence\n0\tBill whistled past the house.\n")
    with pytest.raises(EnvironmentProblem, match=r"a test file.* cannot be scored"):
        opened(tmp_path, BY_KEY["cola"])


def test_a_row_without_text_is_refused(tmp_path: Path) -> None:
    folder = write_tsv(tmp_path, BY_KEY["sst2"])
    (folder / "dev.tsv").write_text("sentence\tlabel\ngood\t1\n \t0\n")
    with pytest.raises(EnvironmentProblem, match=r"Line 3 of .* has no text"):
        opened(tmp_path, BY_KEY["sst2"])


def test_a_rating_outside_the_scale_is_refused(tmp_path: Path) -> None:
    folder = write_tsv(tmp_path, BY_KEY["stsb"])
    for word in ("7.000", "nan", "high"):
        text = tsv(BY_KEY["stsb"], "validation").replace("5.000", word, 1)
        (folder / "dev.tsv").write_bytes(text.encode())
        with pytest.raises(EnvironmentProblem, match=f"rating '{word}'.*ratings from 0 to 5"):
            opened(tmp_path, BY_KEY["stsb"])


def test_a_file_that_is_not_utf8_is_refused(tmp_path: Path) -> None:
    folder = write_tsv(tmp_path, BY_KEY["sst2"])
    (folder / "dev.tsv").write_bytes(b"sentence\tlabel\nd\xe9j\xe0 vu\t1\n")
    with pytest.raises(EnvironmentProblem, match=r"Line 2 of .* is not UTF-8"):
        opened(tmp_path, BY_KEY["sst2"])


def test_the_few_torn_rows_of_qqp_are_left_out(tmp_path: Path) -> None:
    spec = BY_KEY["qqp"]
    folder = write_tsv(tmp_path, spec)
    expected = opened(tmp_path, spec).splits["train"]
    lines = tsv(spec, "train").split("\n")
    rest = [lines[1]] * 3000
    torn = [*lines[:4], "9\t1\t2\tWhy", "\tso?\t0", "", *lines[4:-1], *rest]
    (folder / "train.tsv").write_bytes(("\n".join(torn) + "\n").encode())
    found = opened(tmp_path, spec).splits["train"]
    assert len(found) == len(expected) + 3000
    assert list(found.first[:9]) == list(expected.first)
    (folder / "train.tsv").write_bytes("\n".join([*torn, "9\t1\t2\tWhy"]).encode())
    with pytest.raises(EnvironmentProblem, match="is cut off at 4 of 6 columns"):
        opened(tmp_path, spec)


def test_torn_rows_are_refused_where_the_official_file_has_none(tmp_path: Path) -> None:
    folder = write_tsv(tmp_path, BY_KEY["rte"])
    lines = tsv(BY_KEY["rte"], "train").split("\n")
    torn = [*lines[:2], "9\tWhy", *[lines[1]] * 3000, ""]
    (folder / "train.tsv").write_bytes("\n".join(torn).encode())
    with pytest.raises(EnvironmentProblem, match=r"Line 3 of .* has 2 of 4 columns"):
        opened(tmp_path, BY_KEY["rte"])


@pytest.mark.parametrize("layout", LAYOUTS)
def test_a_missing_validation_split_is_named(tmp_path: Path, layout: str) -> None:
    folder = WRITERS[layout](tmp_path, BY_KEY["rte"])
    for path in [*folder.glob("dev.tsv"), *folder.glob("validation*")]:
        shutil.rmtree(path) if path.is_dir() else path.unlink()
    with pytest.raises(Missing, match="test split has no labels and cannot stand in"):
        opened(tmp_path, BY_KEY["rte"])


@pytest.mark.parametrize("layout", ["saved", "parquet"])
def test_a_truncated_file_is_answered_with_one_sentence(tmp_path: Path, layout: str) -> None:
    folder = WRITERS[layout](tmp_path, BY_KEY["rte"])
    pattern = "validation/*.arrow" if layout == "saved" else "validation-*.parquet"
    path = next(folder.glob(pattern))
    path.write_bytes(path.read_bytes()[:-200])
    with pytest.raises(EnvironmentProblem, match="damaged or incomplete") as caught:
        opened(tmp_path, BY_KEY["rte"])
    assert "\n" not in str(caught.value)


def test_a_missing_part_of_a_split_is_refused(tmp_path: Path) -> None:
    folder = write_parquet(tmp_path, BY_KEY["rte"])
    path = folder / "train-00000-of-00001.parquet"
    path.rename(folder / "train-00001-of-00002.parquet")
    with pytest.raises(EnvironmentProblem, match="holds 1 of the 2 files"):
        opened(tmp_path, BY_KEY["rte"])


Edit = Callable[[Dataset], Dataset]

BAD_TABLES: list[tuple[Edit, str]] = [
    (lambda d: d.remove_columns("sentence2"), "has no column 'sentence2'"),
    (lambda d: d.remove_columns("label"), "cannot be scored"),
    (
        lambda d: d.cast_column("label", ClassLabel(names=["yes", "no"])),
        "labels yes, no; glue-rte has entailment, not_entailment",
    ),
    (lambda d: d.map(lambda row: {"label": -1}), "cannot be scored"),
    (lambda d: d.map(lambda row: {"sentence1": "", "sentence2": " "}), "Row 0 of .* has no text"),
    (
        lambda d: d.cast_column("label", Value("int64")).map(lambda row: {"label": 7}),
        r"label 7; glue-rte has 0 to 1 \(entailment, not_entailment\)",
    ),
]


@pytest.mark.parametrize(("edit", "message"), BAD_TABLES)
@pytest.mark.parametrize("layout", ["saved", "parquet"])
def test_a_bad_table_is_answered_with_one_sentence(
    tmp_path: Path, layout: str, edit: Edit, message: str
) -> None:
    spec = BY_KEY["rte"]
    folder = WRITERS[layout](tmp_path, spec)
    bad = edit(hub_data(spec)["validation"])
    if layout == "saved":
        shutil.rmtree(folder / "validation")
        bad.save_to_disk(str(folder / "validation"))
    else:
        bad.to_parquet(str(folder / "validation-00000-of-00001.parquet"))
    with pytest.raises(EnvironmentProblem, match=message) as caught:
        opened(tmp_path, spec)
    assert one_sentence(caught.value)


def test_a_folder_without_the_task_says_what_it_needs(tmp_path: Path) -> None:
    found = glue.COLA.missing(TextOptions(root=tmp_path))
    assert isinstance(found, Missing)
    assert "does not hold the task; it needs CoLA/ or cola/" in str(found)
    assert "is not a folder" in str(glue.COLA.missing(TextOptions(root=tmp_path / "none")))
    with pytest.raises(Missing, match="does not hold the task"):
        opened(tmp_path, BY_KEY["cola"])


def test_without_folder_and_hub_the_task_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("LOWBIT_GLUE", raising=False)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    monkeypatch.setattr(glue, "_cached", lambda key: False)
    glue.hub_problem.cache_clear()
    found = glue.RTE.missing(TextOptions())
    glue.hub_problem.cache_clear()
    assert isinstance(found, Missing)
    assert "no folder under --data or $LOWBIT_GLUE" in str(found)
    assert "offline mode is on" in str(found)


def test_an_unreachable_hub_is_missing_data(monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(*_: Any, **__: Any) -> None:
        raise ConnectionError("no route")

    monkeypatch.delenv("LOWBIT_GLUE", raising=False)
    monkeypatch.setattr("datasets.load_dataset", fails)
    with pytest.raises(Missing, match=r"cannot be reached \(no route\)"):
        glue.RTE.open(TextOptions())


def test_the_hub_gives_what_the_files_give(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    spec = BY_KEY["mnli"]
    write_tsv(tmp_path, spec)
    asked: list[tuple[str, ...]] = []
    monkeypatch.delenv("LOWBIT_GLUE", raising=False)

    def load(*name: str) -> DatasetDict:
        asked.append(name)
        return hub_data(spec)

    monkeypatch.setattr("datasets.load_dataset", load)
    assert glue.MNLI.open(TextOptions()).digests == opened(tmp_path, spec).digests
    assert asked == [("nyu-mll/glue", "mnli")]


SST2 = BY_KEY["sst2"]


def test_a_label_column_of_another_common_name_is_taken(tmp_path: Path) -> None:
    """transformers' collators want `labels`, so that people save it so."""
    expected = opened(write_saved(tmp_path / "a", SST2), SST2)
    data = hub_data(SST2).rename_column("label", "labels")
    data.save_to_disk(str(tmp_path / "b" / SST2.key))
    found = opened(tmp_path / "b", SST2)
    assert found.digests == expected.digests


def test_a_split_without_any_label_column_is_told_from_a_withheld_label(tmp_path: Path) -> None:
    hub_data(SST2).remove_columns("label").save_to_disk(str(tmp_path / SST2.key))
    with pytest.raises(EnvironmentProblem, match=r"has no column 'label' \(or 'labels'\), it has"):
        opened(tmp_path, SST2)


def test_one_saved_split_is_no_data_set_of_all(tmp_path: Path) -> None:
    hub_data(SST2)["train"].save_to_disk(str(tmp_path / SST2.key))
    with pytest.raises(Missing, match=r"holds one split alone .* a Dataset, not a DatasetDict"):
        opened(tmp_path, SST2)


def test_a_pointer_of_git_lfs_is_named(tmp_path: Path) -> None:
    for split in ("train", "validation"):
        path = tmp_path / SST2.key / f"{split}-00000-of-00001.parquet"
        path.parent.mkdir(exist_ok=True)
        path.write_text("version https://git-lfs.github.com/spec/v1\noid sha256:66\nsize 146\n")
    with pytest.raises(EnvironmentProblem, match="is a git-lfs pointer, not the file itself"):
        opened(tmp_path, SST2)
