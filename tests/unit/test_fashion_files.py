"""Fashion-MNIST's packed files: whole, or one sentence."""

from __future__ import annotations

import gzip
import hashlib
import lzma
import os
import random
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest
from small_deits import one_sentence

from suite.errors import EnvironmentProblem, Missing
from suite.tasks import fashion
from suite.tasks.base import DataOptions

NAME = "train-labels-idx1-ubyte"
CONTENT = bytes(8) + random.Random(0).randbytes(400)
PACK: dict[str, Callable[[bytes], bytes]] = {".xz": lzma.compress, ".gz": gzip.compress}


def unpacked(folder: Path) -> bytes:
    return fashion._unpack(folder, NAME, {NAME: hashlib.sha256(CONTENT).hexdigest()})


@pytest.mark.parametrize("ending", PACK)
def test_a_damaged_file_is_one_sentence(ending: str, tmp_path: Path) -> None:
    path, dice, ends = tmp_path / (NAME + ending), random.Random(1), Counter[str]()
    whole = PACK[ending](CONTENT)
    for turn in range(200):
        damaged = bytearray(whole[: dice.randrange(len(whole))] if turn % 4 == 0 else whole)
        for _ in range(turn % 4):
            damaged[dice.randrange(len(damaged))] = dice.randrange(256)
        path.write_bytes(damaged)
        try:
            ends["whole"] += unpacked(tmp_path) == CONTENT
        except EnvironmentProblem as problem:
            ends["one sentence" if "\n" not in str(problem) else "more"] += 1
    assert ends.total() == 200
    assert ends["one sentence"] > 100
    assert not ends["more"]


@pytest.mark.parametrize("ending", PACK)
def test_a_file_that_unpacks_to_more_is_not_read_to_its_end(
    ending: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / (NAME + ending)).write_bytes(PACK[ending](bytes(100_000)))
    monkeypatch.setattr(fashion, "LARGEST", 1000)
    seen: list[int] = []
    monkeypatch.setattr(
        fashion.hashlib, "sha256", lambda content: seen.append(len(content)) or hashlib.md5()
    )
    with pytest.raises(EnvironmentProblem, match="SHA-256 differs") as caught:
        fashion._unpack(tmp_path, NAME, {NAME: ""})
    assert seen == [1001]
    assert one_sentence(caught)


def test_what_is_no_regular_file_is_not_there(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / f"{NAME}.gz")
    (tmp_path / f"{NAME}.xz").symlink_to(tmp_path / "gone")
    with pytest.raises(Missing, match="is not there") as caught:
        unpacked(tmp_path)
    assert one_sentence(caught)


def test_the_variable_may_name_the_home_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "data" / "FashionMNIST" / "raw"
    folder.mkdir(parents=True)
    (folder / "train-images-idx3-ubyte.gz").write_bytes(b"")
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv(fashion.VARIABLE, "~/data")
    assert fashion.FASHION_FULL.missing(DataOptions()) is None
    monkeypatch.setenv(fashion.VARIABLE, "~/other")
    assert fashion.FASHION_FULL.missing(DataOptions()) is not None
