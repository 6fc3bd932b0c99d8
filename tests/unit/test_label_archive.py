"""The authors' soft labels: read as their generator writes them, and refused where they are not."""

from __future__ import annotations

import random
import shutil
import zipfile
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

import numpy as np
import pytest
import torch
from small_deits import one_sentence

from suite.errors import EnvironmentProblem, Missing
from suite.tasks import label_archive, label_digest, spread
from suite.tasks.images import ImageData
from suite.tasks.label_archive import export_authors, import_authors
from suite.tasks.label_file import Labels, read
from suite.tasks.soft_labels import Chosen, SoftLabels, Writer

CROPS, K, CLASSES = 6, 5, 1000


@dataclass
class Images:
    """What labels need of a folder of images."""

    count: int
    classes: int = CLASSES
    root_name: str = "imagenet"
    digests: dict[str, str] = field(default_factory=lambda: {"train": "0123456789abcdef"})

    @property
    def train_size(self) -> int:
        return self.count

    @property
    def train_names(self) -> list[str]:
        return [f"n0144076{i % 3}/image_{i}" for i in range(self.count)]


def images(count: int) -> ImageData:
    return cast(ImageData, Images(count))


def drawn(seed: int) -> Labels:
    """Labels of one image; ids above 256, where bfloat16 would lose them."""
    dice = np.random.default_rng(seed)
    corner = dice.uniform(0, 0.5, (CROPS, 2)).astype(np.float32)
    boxes = np.concatenate([corner, dice.uniform(0.1, 0.5, (CROPS, 2)).astype(np.float32)], axis=1)
    ids = np.stack([dice.choice(CLASSES, K, replace=False) for _ in range(CROPS)]).astype(np.int16)
    probs = -np.sort(-dice.dirichlet(np.ones(K + 1), CROPS)[:, :K], axis=1).astype(np.float32)
    return Labels(boxes, dice.random(CROPS) < 0.5, ids, probs)


def output(labels: Labels) -> np.ndarray:
    return np.stack([labels.ids.astype(np.float32), labels.probs], axis=1)


def theirs(labels: Labels) -> Any:
    return [labels.boxes, labels.flips, torch.from_numpy(output(labels))]


def halves(labels: Labels) -> Any:
    """As with --use_fp16."""
    return [
        labels.boxes.astype(np.float16),
        labels.flips,
        output(labels).astype(np.float16),
    ]


def all_halves(labels: Labels) -> Any:
    return [part.astype(np.float16) for part in halves(labels)]


def plain_lists(labels: Labels) -> Any:
    return labels.boxes.tolist(), labels.flips.tolist(), torch.from_numpy(output(labels))


def lists_of_tensors(labels: Labels) -> Any:
    parts = (labels.boxes, labels.flips, output(labels))
    return tuple([torch.tensor(row) for row in part] for part in parts)


@pytest.mark.parametrize("form", [theirs, halves, all_halves, plain_lists, lists_of_tensors])
def test_every_form_gives_the_same_labels(form: Callable[[Labels], Any], tmp_path: Path) -> None:
    labels = drawn(1)
    torch.save(form(labels), tmp_path / "a.tar")
    found = read(tmp_path / "a.tar", CLASSES)
    near = 1e-3 if form in (halves, all_halves) else 0
    assert np.array_equal(found.ids, labels.ids)
    assert np.array_equal(found.flips, labels.flips)
    np.testing.assert_allclose(found.boxes, labels.boxes, atol=near)
    np.testing.assert_allclose(found.probs, labels.probs, atol=near)
    kinds = [getattr(found, name).dtype for name in ("boxes", "flips", "ids", "probs")]
    assert kinds == [np.float32, np.bool_, np.int16, np.float32]


def test_files_pickled_under_numpy_1_are_read(tmp_path: Path) -> None:
    torch.save(theirs(drawn(1)), tmp_path / "new.tar")
    with (
        zipfile.ZipFile(tmp_path / "new.tar") as new,
        zipfile.ZipFile(tmp_path / "old.tar", "w") as old,
    ):
        for entry in new.namelist():
            content = new.read(entry)
            assert entry != "new/data.pkl" or b"numpy._core." in content
            old.writestr(entry, content.replace(b"numpy._core.", b"numpy.core."))
    assert np.array_equal(read(tmp_path / "old.tar", CLASSES).ids, drawn(1).ids)


def changed(**parts: Any) -> Any:
    """The authors' form with other parts."""
    content = dict(zip(("boxes", "flips", "output"), theirs(drawn(1)), strict=True))
    return list({**content, **parts}.values())


def label(row: int, value: float) -> torch.Tensor:
    """Labels of which one id (row 0) or one probability (row 1) is `value`."""
    found = torch.from_numpy(output(drawn(1)))
    found[2, row, 1] = value
    return found


def box(place: int, value: float) -> np.ndarray:
    found = drawn(1).boxes.copy()
    found[3, place] = value
    return found


def twice() -> torch.Tensor:
    found = torch.from_numpy(output(drawn(1)))
    found[0, 0, 1] = found[0, 0, 0]
    return found


WRONG: list[tuple[Any, str]] = [
    (changed(output=label(1, float("nan"))), "labels hold NaN"),
    (changed(output=label(0, float("nan"))), "labels hold NaN"),
    (changed(output=label(1, -0.5)), "from 0 to 1"),
    (changed(output=label(1, 1.5)), "from 0 to 1"),
    (changed(output=label(1, 0.999)), "sum of at most 1"),
    (changed(output=label(0, 1000)), "whole numbers from 0 to 999"),
    (changed(output=label(0, -1)), "whole numbers from 0 to 999"),
    (changed(output=label(0, 2.5)), "whole numbers from 0 to 999"),
    (changed(output=twice()), "a class is there twice"),
    (changed(boxes=box(0, float("inf"))), "crop boxes hold NaN or infinity"),
    (changed(boxes=box(0, 0.95)), "leave the image"),
    (changed(boxes=box(2, 0)), "leave the image"),
    (changed(boxes=drawn(1).boxes * 224), "leave the image"),
    (changed(boxes=drawn(1).boxes[:, :3]), r"boxes \(6, 3\)"),
    (changed(boxes=drawn(1).boxes[:4]), r"boxes \(4, 4\), flips \(6,\)"),
    (changed(flips=drawn(1).flips[:4]), r"flips \(4,\)"),
    (changed(flips=np.full(CROPS, 0.5, np.float32)), "neither true nor false"),
    (changed(output=torch.ones(CROPS, 1000)), r"labels \(6, 1000\)"),
    (changed(output=torch.ones(CROPS, 3, K)), r"labels \(6, 3, 5\)"),
    (changed(output=torch.ones(CROPS, 2, 0)), r"labels \(6, 2, 0\)"),
    (changed(output=torch.ones(CROPS, 2, K, dtype=torch.complex64)), "no array of real numbers"),
    (changed(output=torch.zeros(1).expand(CROPS, 2, 10**9)), "not dense"),
    (changed(output=None), "NoneType is no array"),
    (changed(boxes=[["a"] * 4] * CROPS), "str is no number"),
    (changed(boxes=[[0, 0, 1], [0, 0, 1, 1]]), "no arrays of numbers"),
    (changed(flips=np.array(["x"] * CROPS, dtype=object)), "more than arrays"),
    (changed(boxes=print), "more than arrays"),
    ([drawn(1).boxes, drawn(1).flips], "no three arrays"),
    ({"boxes": 1}, "no three arrays"),
    (torch.ones(CROPS), "no three arrays"),
]


@pytest.mark.parametrize(("content", "words"), WRONG)
def test_what_is_no_label_is_refused_in_one_sentence(
    content: Any, words: str, tmp_path: Path
) -> None:
    path = tmp_path / "a.tar"
    torch.save(content, path)
    with pytest.raises(EnvironmentProblem, match=words) as caught:
        read(path, CLASSES)
    assert str(path) in str(caught.value)
    assert one_sentence(caught)


def test_half_precision_ids_are_exact_up_to_2048_classes(tmp_path: Path) -> None:
    torch.save(halves(drawn(1)), tmp_path / "a.tar")
    with pytest.raises(EnvironmentProblem, match="cannot tell 21841 classes apart"):
        read(tmp_path / "a.tar", 21841)


def test_lists_that_repeat_their_entries_are_not_unrolled(tmp_path: Path) -> None:
    row: Any = [0.0, 0.0, 1.0, 1.0]
    for _ in range(9):
        row = [row] * 10
    torch.save(changed(boxes=row), tmp_path / "a.tar")
    with pytest.raises(EnvironmentProblem, match="repeat their entries"):
        read(tmp_path / "a.tar", CLASSES)


@pytest.mark.filterwarnings("ignore")
def test_damaged_files_are_one_sentence_each(tmp_path: Path) -> None:
    """Cut off, or with some bytes changed; a changed number passes if it could be a label."""
    path, dice, ends = tmp_path / "a.tar", random.Random(0), Counter[str]()
    for form in (theirs, halves, plain_lists):
        torch.save(form(drawn(1)), path)
        whole = path.read_bytes()
        for turn in range(100):
            damaged = bytearray(whole[: dice.randrange(len(whole))] if turn % 4 == 0 else whole)
            for _ in range(turn % 4 * 2):
                damaged[dice.randrange(len(damaged))] = dice.randrange(256)
            path.write_bytes(damaged)
            try:
                read(path, CLASSES)
            except EnvironmentProblem as problem:
                ends["one sentence" if "\n" not in str(problem) else "more"] += 1
            else:
                ends["read"] += 1
    assert ends.total() == 300
    assert ends["one sentence"] > 75
    assert not ends["more"]


# An archive


def archive(root: Path, count: int) -> Path:
    for seed, name in enumerate(images(count).train_names):  # type: ignore[attr-defined]
        path = root / "train" / f"{name}.tar"
        path.parent.mkdir(parents=True, exist_ok=True)
        torch.save(theirs(drawn(seed)), path)
    return root


def imported(folder: Path, out: Path, count: int, **more: Any) -> SoftLabels:
    data = images(count)
    return import_authors(folder, data, out, 4, {"data": data.digests["train"]}, **more)


def test_an_archive_becomes_arrays(tmp_path: Path) -> None:
    seen: list[tuple[int, int]] = []
    labels = imported(
        archive(tmp_path / "fkd", 7), tmp_path / "labels", 7, on_progress=lambda *x: seen.append(x)
    )
    assert labels.crops == 4
    assert labels.meta["crops"] == 4
    for row in range(7):
        assert np.array_equal(labels.of(row).ids.numpy(), drawn(row).ids[:4])
        assert np.array_equal(labels.of(row).boxes.numpy(), drawn(row).boxes[:4])
    assert seen[-1] == (7, 7)
    assert sorted(path.name for path in (tmp_path / "labels").iterdir()) == [
        *("boxes.npy", "digest.json", "flips.npy", "ids.npy", "meta.json", "probs.npy"),
    ]


def test_several_processes_write_the_same_arrays(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = archive(tmp_path / "fkd", 7)
    imported(folder, tmp_path / "alone", 7)
    monkeypatch.setattr(spread, "cores", lambda: 2)
    monkeypatch.setattr(label_archive, "BLOCK", 2)
    imported(folder, tmp_path / "together", 7)
    for name in ("boxes", "flips", "ids", "probs"):
        one, other = (tmp_path / place / f"{name}.npy" for place in ("alone", "together"))
        assert one.read_bytes() == other.read_bytes()


def test_an_import_goes_on_where_it_was_ended(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, out = archive(tmp_path / "fkd", 9), tmp_path / "labels"
    monkeypatch.setattr(label_archive, "BLOCK", 2)
    monkeypatch.setattr(spread, "cores", lambda: 1)
    taken: list[str] = []

    def until(path: Any, classes: int, last: int = 6) -> Labels:
        if len(taken) == last:
            raise KeyboardInterrupt
        taken.append(str(path))
        return read(path, classes)

    monkeypatch.setattr(label_archive, "read", until)
    with pytest.raises(KeyboardInterrupt):
        imported(folder, out, 9)
    assert not out.exists()
    (partial,) = tmp_path.glob(".labels.*")
    with (partial / "done.2").open("a") as note:
        note.write("6")  # the half of a line that a kill leaves; image 6 is not there
    taken.clear()
    monkeypatch.setattr(label_archive, "read", lambda p, c: until(p, c, last=99))
    labels = imported(folder, out, 9)
    # The first file tells the arrays' shape, and was read for that before; two blocks were whole.
    assert len(taken) == 1 + 9 - 2 * 2
    assert all(np.array_equal(labels.of(i).ids.numpy(), drawn(i).ids[:4]) for i in range(9))
    assert not list(tmp_path.glob(".labels.*"))


def test_a_file_that_lacks_or_differs_is_named(tmp_path: Path) -> None:
    folder = archive(tmp_path / "fkd", 7)
    path = folder / "train" / f"{images(7).train_names[5]}.tar"  # type: ignore[attr-defined]
    few = drawn(5)
    torch.save([few.boxes[:2], few.flips[:2], torch.from_numpy(output(few)[:2])], path)
    with pytest.raises(EnvironmentProblem, match="hold 2 crops of 5 classes") as caught:
        imported(folder, tmp_path / "labels", 7)
    assert str(path) in str(caught.value)
    assert one_sentence(caught)
    path.unlink()
    with pytest.raises(Missing, match="lacks") as caught:
        imported(folder, tmp_path / "labels", 7)
    assert str(path) in str(caught.value)


def test_images_of_one_name_are_refused(tmp_path: Path) -> None:
    """`a.JPEG` and `a.png`, or `a.1.JPEG` and `a.2.JPEG`, whose names end at the first dot."""

    class Twins(Images):
        @property
        def train_names(self) -> list[str]:
            return ["n01440760/image_0", "n01440761/image_1", "n01440761/image_1"]

    folder = archive(tmp_path / "fkd", 3)
    with pytest.raises(EnvironmentProblem, match=r"1 names .* several files") as caught:
        import_authors(folder, cast(ImageData, Twins(3)), tmp_path / "labels", 4, {})
    assert one_sentence(caught)


def test_what_is_exported_is_the_authors_form(tmp_path: Path) -> None:
    labels = imported(archive(tmp_path / "fkd", 3), tmp_path / "labels", 3)
    export_authors(labels, images(3), tmp_path / "out")
    name = images(3).train_names[1]  # type: ignore[attr-defined]
    path = tmp_path / "out" / "imagenet" / "train" / f"{name}.tar"
    content = torch.load(path, weights_only=False)
    assert isinstance(content, list)
    assert [content[0].dtype, content[1].dtype] == [np.float32, np.bool_]
    assert content[2].shape == (4, 2, 5)
    assert np.array_equal(read(path, CLASSES).ids, drawn(1).ids[:4])


# Stored labels


def test_a_teacher_that_gives_no_numbers_is_refused(tmp_path: Path) -> None:
    writer = Writer(tmp_path / "labels", 2, CROPS, K, CLASSES)
    good = drawn(1)
    tensors = [torch.from_numpy(x) for x in (good.boxes, good.flips, good.ids, good.probs)]
    writer.put(0, Chosen(*tensors))
    tensors[3] = torch.full_like(tensors[3], torch.nan)
    with pytest.raises(EnvironmentProblem, match=r"teacher's soft labels .* NaN"):
        writer.put(1, Chosen(*tensors))


@pytest.mark.parametrize(
    ("harm", "words"),
    [
        (lambda a: np.save(a / "probs.npy", np.full((3, 4, 5), np.nan, np.float32)), "NaN"),
        (lambda a: np.save(a / "ids.npy", np.full((3, 4, 5), 1000, np.int16)), "from 0 to 999"),
        (lambda a: np.save(a / "ids.npy", np.zeros((3, 4, 5), np.float32)), "ids of float32"),
        (lambda a: np.save(a / "flips.npy", np.zeros((3, 4, 5), np.bool_)), "flips of bool"),
        (lambda a: np.save(a / "boxes.npy", np.zeros(3, np.float32)), "not their layout"),
        (lambda a: np.save(a / "boxes.npy", np.array([{}])), "cannot be read"),
        (lambda a: (a / "probs.npy").write_bytes(b""), "cannot be read"),
        (lambda a: (a / "probs.npy").write_bytes(b"\x93NUMPY\x01\x00\xff"), "cannot be read"),
        (lambda a: (a / "meta.json").write_text("[1]"), "no meta data"),
        (lambda a: (a / "meta.json").write_text("{"), "cannot be read"),
    ],
)
def test_stored_labels_that_were_damaged_are_refused(
    harm: Callable[[Path], Any], words: str, tmp_path: Path
) -> None:
    """Of an earlier version, without a digest: what can be seen in the values is."""
    imported(archive(tmp_path / "fkd", 3), tmp_path / "labels", 3)
    (tmp_path / "labels" / "digest.json").unlink()
    harm(tmp_path / "labels")
    with pytest.raises(EnvironmentProblem, match=words) as caught:
        SoftLabels(tmp_path / "labels", images(3)).take(torch.arange(3), 2, (0,))
    assert "delete that folder" in str(caught.value)
    assert one_sentence(caught)


@pytest.mark.parametrize("name", ["boxes", "flips", "ids", "probs"])
def test_labels_with_another_bit_than_was_written_are_refused(name: str, tmp_path: Path) -> None:
    labels = imported(archive(tmp_path / "fkd", 3), tmp_path / "labels", 3)
    assert len(labels.digest) == 64
    path = tmp_path / "labels" / f"{name}.npy"
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)
    with pytest.raises(EnvironmentProblem, match="not those that were made") as caught:
        SoftLabels(tmp_path / "labels", images(3))
    assert one_sentence(caught)


def test_labels_that_were_copied_are_read_once_more(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = imported(archive(tmp_path / "fkd", 3), tmp_path / "labels", 3)
    shutil.copytree(tmp_path / "labels", tmp_path / "copy", copy_function=shutil.copyfile)
    assert SoftLabels(tmp_path / "copy", images(3)).digest == first.digest
    monkeypatch.setattr(label_digest, "_digest", lambda _: pytest.fail("they were read again"))
    for name in ("labels", "copy"):
        assert SoftLabels(tmp_path / name, images(3)).digest == first.digest


def test_many_processes_find_the_same_digest(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    imported(archive(tmp_path / "fkd", 7), tmp_path / "labels", 7)
    monkeypatch.setattr(label_digest, "ROWS", 2)
    alone = label_digest._digest(tmp_path / "labels")
    monkeypatch.setattr(label_digest, "LARGE", 0)
    monkeypatch.setattr(spread, "cores", lambda: 2)
    assert label_digest._digest(tmp_path / "labels") == alone
