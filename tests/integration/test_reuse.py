"""A stored record answers only what was asked of the same files."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import BertModel

from suite.models.catalog import DEIT_TINY
from suite.models.checkpoint import save_weights
from suite.results import Record, Store
from tests.integration.conftest import Command
from tests.integration.text_cells import write_encoder

LINES = ["the film is good", "it has a heart and a mind", "life", "nobody could like it"]
METHOD = ("--task", "agreement", "--method", "minmax_ptq", "--threads=1", "--texts-per-batch=2")


class Asked:
    """One agreement cell, asked for again and again in one results folder."""

    def __init__(self, folder: Path, run: Command) -> None:
        self.encoder = write_encoder(folder / "encoder")
        self.texts = folder / "texts.txt"
        self.texts.write_text("\n".join(LINES))
        self.results = folder / "results"
        self._run = run

    def __call__(self, *words: str) -> bool:
        """Run it; whether it was answered from the store."""
        known = {record.run_id for record in self.records}
        where = ("--texts", str(self.texts), "--results", str(self.results))
        done = self._run("run", *METHOD, *where, *(words or ("--model", str(self.encoder))))
        assert done.returncode == 0, done.stderr
        told = "(stored run" in done.stdout
        assert told == ({record.run_id for record in self.records} == known)
        return told

    @property
    def records(self) -> list[Record]:
        return list(Store(self.results).records())


@pytest.fixture
def asked(tmp_path: Path, run: Command) -> Asked:
    return Asked(tmp_path, run)


def test_other_texts_are_another_result(asked: Asked) -> None:
    assert [asked(), asked()] == [False, True]
    asked.texts.write_text("\n".join([*LINES, "a story of war and love"]))
    assert [asked(), asked()] == [False, True]
    assert [record.metrics["texts"] for record in asked.records] == [4, 5]


def test_an_encoder_that_was_trained_on_in_its_folder_is_another_model(asked: Asked) -> None:
    assert [asked(), asked()] == [False, True]
    model = BertModel.from_pretrained(asked.encoder)
    with torch.no_grad():
        model.embeddings.word_embeddings.weight.mul_(1.5)
    model.save_pretrained(asked.encoder)
    assert [asked(), asked()] == [False, True]
    first, second = asked.records
    assert first.metrics["cosine"] != second.metrics["cosine"]


def test_a_folder_of_weights_answers_again_until_it_changes(asked: Asked, tmp_path: Path) -> None:
    weights = tmp_path / "weights"
    shutil.copytree(asked.encoder, weights)
    words = ("--model", str(asked.encoder), "--weights", str(weights))
    assert [asked(*words), asked(*words)] == [False, True]
    state = load_file(weights / "model.safetensors")
    state["embeddings.word_embeddings.weight"] *= 1.1
    save_file(state, weights / "model.safetensors", metadata={"format": "pt"})
    assert [asked(*words), asked(*words)] == [False, True]


def test_another_folder_of_images_is_another_result(
    tree: Path, tmp_path: Path, run: Command
) -> None:
    save_weights(tmp_path / "deit.safetensors", DEIT_TINY.build(seed=3).state_dict())
    other = tmp_path / "other"
    shutil.copytree(tree, other)
    next((other / "val").rglob("*.JPEG")).unlink()
    words = ("run", "--task", "imagenet", "--method", "fp32", "--model", "deit_tiny", "--no-gate")
    where = (f"--weights={tmp_path / 'deit.safetensors'}", f"--results={tmp_path / 'results'}")
    for data, known in ((tree, False), (tree, True), (other, False)):
        done = run(*words, *where, "--threads=1", "--data", str(data))
        assert done.returncode == 0, done.stderr
        assert ("stored run" in done.stdout) is known
    for data, known in ((other, True), (tree, False), (tmp_path / "not here", True)):
        done = run(*words, *where, "--threads=1", LOWBIT_IMAGENET=str(data))
        assert ("stored run" in done.stdout) is known, done.stderr
    left = run(*words, *where, "--threads=1", "--data", str(tmp_path / "nowhere"))
    assert left.returncode == 3, left.stdout
    samples = [record.metrics["samples"] for record in Store(tmp_path / "results").records()]
    assert samples == [9, 8, 9]
