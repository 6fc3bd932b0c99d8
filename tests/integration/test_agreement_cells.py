"""Agreement of someone's encoder and texts with FP32, and what cannot be asked."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.numpy import load_file
from transformers import BertModel

from suite.cell import make_cell
from suite.recipes import recipe
from suite.results import Record, Store
from tests.integration.conftest import Command, complaint
from tests.integration.text_cells import (
    WIDTH,
    finished,
    write_encoder,
)

SENTENCES = [
    "the film is good",
    "a story of war and love",
    "this movie was bad, and long",
    "life",
    "the music is what makes it worth seeing",
    "nobody could like it",
    "it has a heart \u2028 and a mind",
    "funny, warm and sad",
    "two hours of nothing",
    "one of the best this year",
    "the people in it are real",
    "not good, not bad",
]


@pytest.fixture(scope="module")
def encoder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a tiny BERT and its tokenizer."""
    return write_encoder(tmp_path_factory.mktemp("models") / "someone's encoder")


# Agreement on anyone's encoder and texts


def written(folder: Path, content: bytes | None = None) -> Path:
    path = folder / "some texts.txt"
    path.write_bytes("\n".join(SENTENCES).encode() if content is None else content)
    return path


def agreement_words(encoder: Path, texts: Path, results: Path) -> tuple[str, ...]:
    places = ("--model", str(encoder), "--texts", str(texts), "--results", str(results))
    return ("run", "--task", "agreement", *places, "--threads=1", "--texts-per-batch=4")


def test_agreement_of_someones_encoder_from_the_command_line(
    encoder: Path, awkward: Path, run: Command
) -> None:
    results = awkward / "results"
    words = agreement_words(encoder, written(awkward), results)
    peg = ("--method", "peg", "--groups", "4", "--permute", "shared", "--draws", "2")
    done = run(*words, *peg, "--batches", "2")
    assert done.returncode == 0, done.stderr
    records = list(Store(results).records())
    assert [r.cell.get("seed", 0) for r in records] == [0, 1]
    for record in records:
        complete_agreement(record)
        assert record.cell["settings"] == {"groups": 4, "permute": "shared"}
        assert record.protocol["calibration"] == "2 x 4 texts"
        assert f"{record.metrics['cosine']:.4f}" in done.stdout
    assert records[0].metrics != records[1].metrics
    (kept,) = (results / "embeddings").glob("*.safetensors")
    assert load_file(kept)["embeddings"].shape == (len(SENTENCES), WIDTH)
    again = run(*words, *peg, "--batches", "2")
    assert again.stdout.count("(stored run") == 2
    # Embeddings with other bytes than were written are made again, not compared with.
    content = kept.read_bytes()
    kept.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    assert run(*words, *peg, "--batches", "2", "--fresh").returncode == 0
    assert kept.read_bytes() == content
    fresh = list(Store(results).records())[2:]
    assert [r.metrics for r in fresh] == [r.metrics for r in records]


def complete_agreement(record: Record) -> None:
    assert record.status == "done"
    assert 0 < record.metrics["cosine"] < 1
    assert 0 < record.metrics["neighbours"] <= 1
    assert record.metrics["texts"] == record.metrics["samples"] == len(SENTENCES)
    assert record.audit["ok"]
    assert record.diagnosis["damage"][""] > 0
    assert record.protocol["evaluation"]["texts"] == "some texts.txt"
    assert len(record.provenance["data"]["texts"]) == 64


def agreement(encoder: Path, texts: Path, results: Path, method: str, **fields: Any) -> Record:
    cell = make_cell(
        method=method,
        model=str(encoder),
        task="agreement",
        variant="released",
        recipe=recipe("agreement", calibration_images=len(SENTENCES)),
        **fields,
    )
    return finished(cell, results, texts=texts)


def test_agreement_is_complete_where_nothing_is_quantized(encoder: Path, tmp_path: Path) -> None:
    texts = written(tmp_path)
    same = agreement(encoder, texts, tmp_path / "r", "minmax_ptq", w_bits=32, a_bits=32)
    assert same.metrics["cosine"] == 1
    assert same.metrics["neighbours"] == 1
    fine = agreement(encoder, texts, tmp_path / "r", "minmax_ptq", w_bits=16, a_bits=16)
    assert 0.9999 < fine.metrics["cosine"] <= 1
    rough = agreement(encoder, texts, tmp_path / "r", "minmax_ptq", w_bits=4, a_bits=4)
    assert rough.metrics["cosine"] < fine.metrics["cosine"]


def test_groups_and_wide_places_repair_what_outliers_damage(encoder: Path, tmp_path: Path) -> None:
    """The encoder has one dimension that is far larger than the others at h and y."""
    texts = written(tmp_path)
    bits = {"w_bits": 32, "a_bits": 8}
    naive = agreement(encoder, texts, tmp_path / "r", "minmax_ptq", **bits)
    peg = agreement(encoder, texts, tmp_path / "r", "peg", settings={"groups": 12}, **bits)
    mixed = agreement(encoder, texts, tmp_path / "r", "mixed_precision", **bits)
    left = agreement(
        encoder, texts, tmp_path / "r", "minmax_ptq", settings={"leave_out": "h,y"}, **bits
    )
    for repaired in (peg, mixed, left):
        assert repaired.metrics["cosine"] > naive.metrics["cosine"]
        assert repaired.diagnosis["damage"][""] < 0.6 * naive.diagnosis["damage"][""]
    causes = sorted(naive.diagnosis["damage"], key=naive.diagnosis["damage"].__getitem__)
    assert set(causes[:2]) == {"h", "y"}
    assert naive.diagnosis["places"]["h1"]["largest_dimension"] == 7
    assert naive.diagnosis["places"]["h1"]["largest_to_median"] > 10
    assert list(naive.diagnosis["places"]["h1"]["by_dimension"]) == ["7"]


BAD_TEXTS = {
    "missing": "There is no file",
    "latin-1": "is not UTF-8 (line 2, byte 6)",
    "empty": "holds no texts",
    "blank": "holds no texts",
    "one": "2 or more",
}
CONTENT = {"latin-1": b"good\nb\xe9d\n", "empty": b"", "blank": b"\n \n", "one": b"alone\n"}


@pytest.mark.parametrize("harm", BAD_TEXTS)
def test_texts_that_cannot_be_are_answered_with_one_sentence(
    harm: str,
    encoder: Path,
    tmp_path: Path,
    run: Command,
) -> None:
    texts = tmp_path / "none.txt" if harm == "missing" else written(tmp_path, CONTENT[harm])
    words = agreement_words(encoder, texts, tmp_path / "r")
    assert BAD_TEXTS[harm] in complaint(run(*words), 3)
    assert not list(tmp_path.rglob("*.npy"))


@pytest.mark.parametrize("harm", ["no weights", "no config", "no tokenizer", "no folder", "nan"])
def test_a_folder_that_holds_no_encoder_is_answered_with_one_sentence(
    harm: str,
    encoder: Path,
    tmp_path: Path,
    run: Command,
) -> None:
    folder = tmp_path / "a copy"
    shutil.copytree(encoder, folder)
    if harm == "no folder":
        shutil.rmtree(folder)
    elif harm == "nan":
        model = BertModel.from_pretrained(folder)
        model.encoder.layer[1].output.dense.weight.data[0, 0] = torch.nan
        model.save_pretrained(folder)
    else:
        pattern = {"no weights": "model.*", "no config": "config.json", "no tokenizer": "*token*"}
        for path in folder.glob(pattern[harm]):
            path.unlink()
    expected = {
        "no weights": "cannot be loaded",
        "no config": "has no config.json",
        "no tokenizer": "holds no tokenizer",
        "no folder": "There is no folder",
        "nan": "hold NaN or infinity in bert.encoder.layer.1.output.dense.weight",
    }
    words = agreement_words(folder, written(tmp_path), tmp_path / "r")
    assert expected[harm] in complaint(run(*words), 3)


@pytest.mark.parametrize(
    ("more", "expected"),
    [
        (("--groups=5",), "5 groups do not divide an embedding of width 24; these do: 1, 2, 3, 4"),
        (("--groups=48",), "48 groups do not divide"),
        (("--at=h,s",), "the place s0 has no embedding axis"),
        (("--at=h,x9",), "Unknown place 'x9'"),
        (("--places=x=17",), "bits from 2 to 16 or fp32"),
        (("--permute=shuffled",), "'none', 'own' or 'shared'"),
        (("--batches=0",), "calibration_batches"),
        (("--texts-per-batch=0",), "calibration_images"),
        (("--draws=0",), "give 1 to 10000"),
        (("--recipe=max_length=999",), "it takes 5 to 128"),
        (("--method=range_qat",), "No cell fits"),
        (("--method=peg", "--bits=20"), "it can do 2, 3"),
    ],
)
def test_words_that_cannot_be_are_answered_with_one_sentence(
    more: tuple[str, ...],
    expected: str,
    encoder: Path,
    tmp_path: Path,
    run: Command,
) -> None:
    words = (*agreement_words(encoder, written(tmp_path), tmp_path / "r"), *more)
    assert expected in complaint(run(*words), 2)
    assert not list(tmp_path.rglob("*.json"))


def test_an_encoder_is_read_as_its_own_users_read_it(
    encoder: Path, tmp_path: Path, run: Command
) -> None:
    """The first token's vector and the length that its folder asks for, not the mean of 64 tokens;
    and a record of the mean does not answer for it."""
    folder, results = tmp_path / "cls", tmp_path / "results"
    shutil.copytree(encoder, folder)
    words = agreement_words(folder, written(tmp_path), results)
    bits = ("--method", "minmax_ptq", "--bits", "4")
    assert run(*words, *bits).returncode == 0
    chain = [("", "Transformer"), ("1_Pooling", "Pooling")]
    modules = [
        {"path": path, "type": f"sentence_transformers.models.{kind}"} for path, kind in chain
    ]
    (folder / "modules.json").write_text(json.dumps(modules))
    (folder / "1_Pooling").mkdir()
    (folder / "1_Pooling" / "config.json").write_text('{"pooling_mode_cls_token": true}')
    (folder / "sentence_bert_config.json").write_text('{"max_seq_length": 7}')
    assert run(*words, *bits).returncode == 0
    first, second = Store(results).records()
    assert first.protocol["evaluation"]["pooling"] == "mean"
    read = second.protocol["evaluation"]
    assert (read["pooling"], read["pooling_by"]) == ("cls", "1_Pooling/config.json")
    assert (read["max_length"], read["truncated"] > 0) == (7, True)
    assert second.metrics["cosine"] != first.metrics["cosine"]
    assert run(*words, *bits, "--recipe", "max_length=12").returncode == 0
    *_, third = Store(results).records()
    assert third.protocol["evaluation"]["max_length"] == 12
