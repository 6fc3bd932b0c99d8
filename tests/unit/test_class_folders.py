"""Trees of class folders: names give the outputs, and every file is looked at when they open."""

from __future__ import annotations

import math
import os
import random
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torchvision.transforms.functional as TF
from PIL import Image
from small_deits import one_sentence
from torchvision.transforms import InterpolationMode

from suite.errors import EnvironmentProblem
from suite.tasks import image_headers, spread
from suite.tasks.base import DataOptions
from suite.tasks.class_folders import Split
from suite.tasks.class_names import outputs_of
from suite.tasks.folders import PIL_MODES, FolderData
from suite.tasks.image_headers import check, opened

IMAGENETTE = {
    "n01440764": 0,
    "n02102040": 217,
    "n02979186": 482,
    "n03000684": 491,
    "n03028079": 497,
    "n03394916": 566,
    "n03417042": 569,
    "n03425413": 571,
    "n03445777": 574,
    "n03888257": 701,
}
"""Imagenette's ten synsets and their places among the thousand."""


def picture(path: Path, **options: Any) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (24, 20), (200, 30, 60)).save(path, **options)
    return path


def tree(root: Path, names: list[str]) -> Path:
    for part in ("train", "val"):
        for name in names:
            picture(root / part / name / f"{part}_0.JPEG")
    return root


def opened_tree(root: Path, classes: int = 1000) -> FolderData:
    return FolderData(root, DataOptions(root=root, classes=classes, image_size=16))


def refused(act: Callable[[], Any], words: str) -> str:
    with pytest.raises(EnvironmentProblem, match=words) as caught:
        act()
    assert one_sentence(caught)
    return str(caught.value)


# Names


def test_synsets_stand_for_their_places_among_the_thousand(tmp_path: Path) -> None:
    data = opened_tree(tree(tmp_path, list(IMAGENETTE)))
    assert data.validation_targets.tolist() == list(IMAGENETTE.values())
    assert data.train_targets.tolist() == list(IMAGENETTE.values())
    assert data.outputs == IMAGENETTE
    said = data.transform
    assert (said["classes"], said["class_set"], said["samples"]) == (10, "10 of imagenet-1k", 10)


def test_numbers_are_the_outputs_own_and_not_words(tmp_path: Path) -> None:
    data = opened_tree(tree(tmp_path, [str(number) for number in range(12)]))
    by_file = dict(zip(data.train_names, data.train_targets.tolist(), strict=True))
    assert by_file == {f"{number}/train_0": number for number in range(12)}
    assert data.transform["class_set"] == "12 by number"


def test_the_thousand_synsets_are_imagenet() -> None:
    from timm.data import ImageNetInfo

    found = outputs_of(ImageNetInfo().label_names(), 1000, "here")
    assert found.of == tuple(range(1000))
    assert (found.kind, found.whole, found.in_place) == ("imagenet-1k", True, True)


def test_other_names_need_one_for_every_output() -> None:
    found = outputs_of(["cat", "dog", "fish"], 3, "here")
    assert (found.of, found.kind) == ((0, 1, 2), "3 in order of names")


@pytest.mark.parametrize(
    ("names", "outputs", "words"),
    [
        (["n00000000", "n00000001"], 1000, "2 of the 2 .* no classes of imagenet-1k"),
        (["n01440764", "n01443537", "n09999999"], 1000, "1 of the 3 .*'n09999999'"),
        (["n01440764", "n01443537"], 10, "known for 1000 outputs alone"),
        (["n01440764", "n01443537", "checkpoints"], 1000, "'checkpoints' beside 'n01443537'"),
        (["0", "1", "other"], 1000, "'other' beside '1'"),
        (["1", "01"], 1000, "hold a number twice"),
        ([str(i) for i in range(1, 1001)], 1000, "go up to 1000"),
        (["cat", "dog"], 1000, "2 class folders .* do not say which"),
    ],
)
def test_names_that_do_not_give_the_outputs_are_refused(
    names: list[str], outputs: int, words: str
) -> None:
    refused(lambda: outputs_of(names, outputs, "here"), words)


def test_a_mapping_changes_what_the_data_is(tmp_path: Path) -> None:
    """A record of an earlier version, which took places for outputs, is no record of it."""
    places = opened_tree(tree(tmp_path / "a", ["n01440764", "n01443537"]))
    mapped = opened_tree(tree(tmp_path / "b", ["n01440764", "n02102040"]))
    assert places.digests.keys() == {"train", "validation"}
    assert mapped.digests.keys() == {"train", "validation", "outputs"}


# What lies in a tree


def test_what_is_no_class_does_not_become_one(tmp_path: Path) -> None:
    root = tree(tmp_path, list(IMAGENETTE))
    plain = opened_tree(root)
    for part in ("train", "val"):
        picture(root / part / ".ipynb_checkpoints" / "a.JPEG")
        picture(root / part / "__MACOSX" / "a.JPEG")
        picture(root / part / "stray.JPEG")
        (root / part / "n01440764" / "._train_0.JPEG").write_bytes(b"resource fork")
        (root / part / "n01440764" / "notes.txt").write_text("boxes")
        (root / part / "checkpoints").mkdir()
        (root / part / "checkpoints" / "last.pth").write_bytes(b"weights")
        (root / part / "empty").mkdir()
    found = opened_tree(root)
    assert found.digests == plain.digests
    assert found.validation_targets.tolist() == list(IMAGENETTE.values())


def empty(path: Path) -> None:
    path.write_bytes(b"")


def broken_link(path: Path) -> None:
    path.unlink()
    path.symlink_to(path.with_name("gone.JPEG"))


def folder(path: Path) -> None:
    path.unlink()
    path.mkdir()


def endless(path: Path) -> None:
    path.unlink()
    os.mkfifo(path)


def text(path: Path) -> None:
    path.write_bytes(b"<html>404</html>")


def deep(path: Path) -> None:
    Image.new("I;16", (20, 20), 3000).save(path, format="PNG")


def line(path: Path) -> None:
    """Its short side brought to 256 pixels, it would be millions long."""
    Image.new("RGB", (5000, 2)).save(path)


def postscript(path: Path) -> None:
    """PIL would hand it to Ghostscript."""
    Image.new("RGB", (20, 20)).save(path, format="EPS")


HARM = {
    empty: "is empty",
    broken_link: "a link to nothing",
    folder: "no regular file",
    endless: "no regular file",
    text: "does not decode",
    deep: "more than eight bits",
    line: "5000 x 2 pixels",
    postscript: "does not decode",
}


@pytest.mark.parametrize("harm", HARM)
def test_a_file_that_is_no_image_is_found_when_the_data_opens(
    harm: Callable[[Path], None], tmp_path: Path
) -> None:
    root = tree(tmp_path, ["n01440764", "n01443537"])
    bad = picture(root / "train" / "n01443537" / "bad.JPEG")
    assert len(opened_tree(root).train_names) == 3
    harm(bad)
    assert str(bad) in refused(lambda: opened_tree(root), HARM[harm])


def test_an_image_larger_than_pil_takes_is_found(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = tree(tmp_path, ["n01440764", "n01443537"])
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 100)
    refused(lambda: opened_tree(root), "exceeds limit")


def test_a_crop_without_a_pixel_is_refused(tmp_path: Path) -> None:
    data = opened_tree(tree(tmp_path, ["n01440764"]))
    whole = torch.tensor([[[0.0, 0.0, 1.0, 1.0]]])
    none = torch.tensor([[[0.0, 0.0, 0.001, 1.0]]])
    rows, flips = torch.tensor([0]), torch.zeros(1, 1, dtype=torch.bool)
    assert data.render(rows, whole, flips).shape == (1, 3, 16, 16)
    refused(lambda: data.render(rows, none, flips), "train_0.JPEG has no pixel")


def test_a_class_without_images_or_with_a_broken_folder_is_named(tmp_path: Path) -> None:
    root = tree(tmp_path, ["n01440764", "n01443537"])
    (root / "train" / "n02102040").mkdir()
    refused(lambda: opened_tree(root), "n02102040 holds no image")
    (root / "train" / "n02102040").rmdir()
    (root / "train" / "n02102040").symlink_to(tmp_path / "gone")
    refused(lambda: opened_tree(root), "n02102040 is a link to nothing")


def test_all_wrong_files_are_counted(tmp_path: Path) -> None:
    files = [str(picture(tmp_path / f"{i}.png")) for i in range(5)]
    for path in files[2:4]:
        Path(path).write_bytes(b"no image")
    said = refused(lambda: check(files, "stamp", None), "2 of 5 files are wrong")
    assert files[2] in said


def test_files_are_looked_at_by_several_processes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(image_headers, "ALONE", 2)
    monkeypatch.setattr(image_headers, "BLOCK", 2)
    monkeypatch.setattr(spread, "cores", lambda: 2)
    files = [str(picture(tmp_path / f"{i}.png")) for i in range(5)]
    check(files, "stamp", None)
    Path(files[4]).write_bytes(b"no image")
    assert files[4] in refused(lambda: check(files, "stamp", None), "does not decode")


def test_the_same_files_are_looked_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    root, kept = tree(tmp_path / "data", ["n01440764"]), tmp_path / "results" / "images"
    options = DataOptions(root=root, image_size=16, checked=kept)
    FolderData(root, options)
    assert len(list(kept.iterdir())) == 2
    looked: list[str] = []

    def record(path: str) -> Image.Image:
        looked.append(path)
        return opened(path)

    monkeypatch.setattr(image_headers, "opened", record)
    FolderData(root, options)
    assert not looked
    changed = root / "val" / "n01440764" / "val_0.JPEG"
    os.utime(changed, ns=(1, 1))
    FolderData(root, options)
    assert looked == [str(changed)]


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "TIFF", "BMP", "WEBP", "GIF", "PPM"])
@pytest.mark.filterwarnings("ignore")
def test_damaged_images_are_one_sentence_or_decode(
    kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Cut off anywhere, or with some bytes changed: what decodes all the same is not noticed."""
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 1_000_000)
    root = tree(tmp_path, ["n01440764"])
    path = root / "val" / "n01440764" / "val_0.JPEG"
    Image.effect_noise((24, 20), 60).convert("RGB").save(path, format=kind)
    whole, dice = path.read_bytes(), random.Random(kind)
    decoded = 0
    said: list[str] = []
    for turn in range(60):
        damaged = bytearray(whole[: dice.randrange(1, len(whole))] if turn % 3 == 0 else whole)
        for _ in range(turn % 3 * 3):
            where = dice.randrange(min(len(damaged), 64 if turn % 2 else len(damaged)))
            damaged[where] = dice.randrange(256)
        path.write_bytes(damaged)
        try:
            decoded += len(list(opened_tree(root).validation_batches(batch=1)))
        except EnvironmentProblem as problem:
            said.append(str(problem))
    assert decoded + len(said) == 60
    assert len(said) > 5
    assert all(str(path) in words and "\n" not in words for words in said)


def test_names_that_are_not_utf8_have_a_digest(tmp_path: Path) -> None:
    odd = os.fsencode(tmp_path / "val" / "n01440764") + b"/\xff\xfe.JPEG"
    os.makedirs(os.path.dirname(odd))
    os.link(picture(tmp_path / "one.JPEG"), odd)
    split = Split(tmp_path / "val")
    assert len(split.digest) == 16
    assert len(split.stamp) == 64


# What a recipe says of images


@pytest.mark.parametrize(
    ("how", "crop_pct", "shorter"),
    [("bilinear", 0.875, 256), ("bicubic", 0.875, 256), ("bicubic", 0.9, 248)],
)
def test_images_are_scaled_as_the_recipe_says(
    tmp_path: Path, how: str, crop_pct: float, shorter: int
) -> None:
    """The evaluation is torchvision's Resize and CenterCrop, a training crop PIL's resize."""
    root = tree(tmp_path, ["0", "1"])
    noise = np.random.default_rng(0).integers(0, 256, (300, 400, 3), dtype=np.uint8)
    path = root / "val" / "0" / "val_0.JPEG"
    Image.fromarray(noise).save(path)
    shutil.copy(path, root / "train" / "0" / "train_0.JPEG")
    options = DataOptions(root=root, classes=2, interpolation=how, crop_pct=crop_pct)
    data = FolderData(root, options)
    assert (data.transform["resize"], data.transform["interpolation"]) == (shorter, how)
    image = Image.open(path)
    mode = InterpolationMode(how)
    expected = TF.center_crop(TF.resize(image, shorter, mode), 224)
    mean, std = data.transform["mean"], data.transform["std"]
    wanted = TF.normalize(TF.to_tensor(expected), mean, std)
    assert torch.equal(data.whole("validation", torch.tensor([0]))[0], wanted)
    box = torch.tensor([[[0.1, 0.2, 0.5, 0.6]]])
    crop = data.render(torch.tensor([0]), box, torch.tensor([[False]]))[0]
    part = image.crop((80.0, 30.0, 320.0, 180.0)).resize((224, 224), PIL_MODES[mode])
    torch.testing.assert_close(crop, TF.normalize(TF.to_tensor(part), mean, std), atol=0.05, rtol=0)


@pytest.mark.parametrize(
    ("keep", "world", "wanted"), [(False, 1, 2), (True, 1, 3), (True, 2, 2), (False, 2, 1)]
)
def test_the_last_images_of_a_pass_are_a_batch_where_the_recipe_keeps_them(
    tmp_path: Path, keep: bool, world: int, wanted: int
) -> None:
    """Five images in batches of two: every rank has equally many steps, and together all images."""
    root = tree(tmp_path, ["0", "1", "2", "3", "4"])
    data = FolderData(root, DataOptions(root=root, classes=5, image_size=16, keep_last=keep))
    assert data.steps(2, world) == wanted
    seen: list[int] = []
    for rank in range(world):
        own = list(data.train_batches(epoch=0, seed=0, batch=2, rank=rank, world=world))
        assert len(own) == wanted
        seen += [int(target) for batch in own for target in batch.targets]
    assert len(set(seen)) == (5 if keep else min(5, 2 * wanted * world))
    assert len(seen) == (math.ceil(5 / world) * world if keep else 2 * wanted * world)
