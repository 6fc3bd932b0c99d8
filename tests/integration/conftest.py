"""Cells small enough to run in seconds, and the commands that run them."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from suite.cell import Cell, make_cell
from suite.cli import main
from suite.options import Options
from suite.progress import Reporter
from suite.recipes import recipe
from suite.runner import obtain
from suite.tasks import fashion
from tests.integration import fewer_images

Command = Callable[..., subprocess.CompletedProcess[str]]

BRIEF = (
    "--task=fashion",
    "--recipe=fp32_recipe=fashion-smoke",
    "--recipe=max_steps=3",
    "--recipe=epochs=2",
    "--recipe=crops=1",
    "--recipe=label_crops=2",
    "--no-gate",
    "--threads=1",
)
"""Options that let any quantized embedded cell end within seconds."""

SYNSETS = ("n01440764", "n01443537", "n01484850")
"""ImageNet's first three classes: the model's outputs 0, 1 and 2."""

ENVIRONMENT = {"OMP_NUM_THREADS": "1", "PYTHONUNBUFFERED": "1"}


def lowbit(*words: str) -> list[str]:
    """The command line as another process runs it."""
    return [sys.executable, "-c", "from suite.cli import main; main()", *words]


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Command:
    """Run `lowbit` to its end and return what it printed; in this process, where the libraries
    are loaded already."""

    def command(*words: str, **environment: str) -> subprocess.CompletedProcess[str]:
        capsys.readouterr()
        with monkeypatch.context() as changed:
            for name, value in environment.items():
                changed.setenv(name, value)
            changed.setattr(sys, "argv", ["lowbit", *words])
            with pytest.raises(SystemExit) as left:
                main()
        out, err = capsys.readouterr()
        return subprocess.CompletedProcess(words, int(left.value.code or 0), out, err)

    return command


@pytest.fixture
def shell() -> Command:
    """The same in a process of its own, as a user starts it."""

    def command(*words: str, **environment: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            lowbit(*words),
            capture_output=True,
            text=True,
            timeout=300,
            env={**os.environ, **ENVIRONMENT, **environment},
        )

    return command


def complaint(done: subprocess.CompletedProcess[str], code: int) -> str:
    """The one line that `lowbit` said about input that cannot be, with its exit code."""
    assert done.returncode == code, done.stderr
    kinds = ("lowbit:", "FAILED", "SKIPPED")
    lines = [line for line in done.stderr.splitlines() if line.startswith(kinds)]
    assert len(lines) == 1, done.stderr
    assert "Traceback" not in done.stderr
    return lines[0]


@pytest.fixture
def fewer(monkeypatch: pytest.MonkeyPatch) -> None:
    """Fewer test images in this process; tests.integration.fewer_images has it for others."""
    monkeypatch.setattr(fashion, "_pair", fewer_images.pair)


@pytest.fixture(scope="session")
def smoke(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A results folder with the FP32 cell that every brief cell starts from."""
    folder = tmp_path_factory.mktemp("smoke")
    cell = recipe_cell("fashion-smoke")
    obtain(cell, Options(results=folder, threads=1), Reporter(quiet=True))
    return folder


def recipe_cell(name: str, **changes: Any) -> Cell:
    """The embedded FP32 cell of a recipe."""
    return make_cell(
        method="fp32", model="deit_pico", task="fashion", recipe=recipe(name, **changes)
    )


@pytest.fixture
def results(smoke: Path, tmp_path: Path) -> Path:
    """A fresh results folder in which that FP32 cell is done."""
    shutil.copytree(smoke, tmp_path / "results")
    return tmp_path / "results"


@pytest.fixture(scope="session")
def tree(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An ImageNet-like tree of real JPEGs: Fashion-MNIST images of three classes, enlarged."""
    from suite.tasks.base import DataOptions
    from suite.tasks.fashion import FASHION

    data = FASHION.open(DataOptions(image_size=28, classes=10))
    root = tmp_path_factory.mktemp("data") / "imagenet"
    for split, targets, each in (
        ("train", data.train_targets, 6),
        ("validation", data.validation_targets, 3),
    ):
        for label in range(3):
            folder = root / {"validation": "val"}.get(split, split) / SYNSETS[label]
            folder.mkdir(parents=True)
            for number, row in enumerate(torch.nonzero(targets == label).flatten()[:each]):
                pixels = data.whole(split, row[None])[0, 0]
                grey = ((pixels - pixels.min()) / (pixels.max() - pixels.min()) * 255).byte()
                image = Image.fromarray(np.asarray(grey)).resize((96 + 8 * number, 80))
                image.convert("RGB").save(folder / f"{folder.name}_{number}.JPEG")
    return root
