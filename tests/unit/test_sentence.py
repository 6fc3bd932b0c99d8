"""An encoder's embeddings are read as sentence-transformers' files beside it say."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from torch.nn.functional import normalize

from suite.errors import EnvironmentProblem, UsageError
from suite.models.sentence import OWN, Reading, reading_of
from suite.tasks.embeddings import POOLERS, pooled

KIND = "sentence_transformers.models."


def write(folder: Path, name: str, content: Any) -> None:
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(content if isinstance(content, str) else json.dumps(content))


def encoder(folder: Path, *kinds: str, **pooling: Any) -> Path:
    chain = [
        {"idx": i, "name": str(i), "path": f"{i}_{kind}" if i else "", "type": KIND + kind}
        for i, kind in enumerate(("Transformer", *kinds))
    ]
    write(folder, "modules.json", chain)
    write(folder, "1_Pooling/config.json", {"word_embedding_dimension": 4, **pooling})
    return folder


def test_an_encoder_that_says_nothing_is_read_by_its_mean(tmp_path: Path) -> None:
    assert reading_of(tmp_path) == Reading()
    assert Reading().describe()["pooling_by"] == OWN


def test_pooling_length_and_case_are_followed(tmp_path: Path) -> None:
    encoder(tmp_path, "Pooling", "Normalize", pooling_mode_cls_token=True)
    write(tmp_path, "sentence_bert_config.json", {"max_seq_length": 32, "do_lower_case": True})
    found = reading_of(tmp_path)
    assert found == Reading(("cls",), True, 32, True, "1_Pooling/config.json")


@pytest.mark.parametrize(
    ("pooling", "wanted"),
    [
        ({"pooling_mode_mean_tokens": True, "pooling_mode_cls_token": False}, ("mean",)),
        ({"pooling_mode_max_tokens": True, "pooling_mode_mean_tokens": True}, ("mean", "max")),
        ({"pooling_mode_lasttoken": True}, ("last_token",)),
        ({"pooling_mode": "weightedmean"}, ("weighted_mean",)),
        ({"pooling_mode": ["cls", "max"]}, ("cls", "max")),
    ],
)
def test_every_pooling_is_known_by_its_switch_and_its_word(
    tmp_path: Path, pooling: dict[str, Any], wanted: tuple[str, ...]
) -> None:
    assert reading_of(encoder(tmp_path, "Pooling", **pooling)).pooling == wanted


@pytest.mark.parametrize(
    ("kinds", "words"),
    [
        (("Pooling", "Dense"), "has a Dense among its modules"),
        (("Normalize",), "has 0 Pooling modules"),
        (("Pooling", "Pooling"), "has 2 Pooling modules"),
    ],
)
def test_what_is_not_computed_is_refused(
    tmp_path: Path, kinds: tuple[str, ...], words: str
) -> None:
    with pytest.raises(UsageError, match=words):
        reading_of(encoder(tmp_path, *kinds, pooling_mode_mean_tokens=True))


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("modules.json", "[]"),
        ("modules.json", "{"),
        ("modules.json", [3]),
        ("modules.json", [{"type": KIND + "Pooling", "path": "../../etc"}]),
        ("1_Pooling/config.json", "[1]"),
        ("1_Pooling/config.json", "\udcff".encode("utf-8", "surrogateescape").decode("latin-1")),
        ("sentence_bert_config.json", {"max_seq_length": "long"}),
        ("sentence_bert_config.json", {"max_seq_length": -1}),
    ],
)
def test_a_damaged_file_is_named(tmp_path: Path, name: str, content: Any) -> None:
    encoder(tmp_path, "Pooling", pooling_mode_mean_tokens=True)
    write(tmp_path, name, content)
    with pytest.raises(EnvironmentProblem, match=name):
        reading_of(tmp_path)


def test_a_pooling_that_nobody_knows_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="asks for no pooling that is known here"):
        reading_of(encoder(tmp_path, "Pooling", pooling_mode="attention"))


HIDDEN = torch.tensor([[[1.0, 2.0], [3.0, -1.0], [9.0, 9.0]], [[2.0, 0.0], [4.0, 4.0], [0.0, 8.0]]])
MASK = torch.tensor([[1, 1, 0], [1, 1, 1]])
EXPECTED = {
    "cls": [[1.0, 2.0], [2.0, 0.0]],
    "mean": [[2.0, 0.5], [2.0, 4.0]],
    "max": [[3.0, 2.0], [4.0, 8.0]],
    "mean_sqrt_len": [[4 / 2**0.5, 1 / 2**0.5], [6 / 3**0.5, 12 / 3**0.5]],
    "weighted_mean": [[7 / 3, 0.0], [10 / 6, 32 / 6]],
    "last_token": [[3.0, -1.0], [0.0, 8.0]],
}


@pytest.mark.parametrize("name", POOLERS)
def test_every_pooling_by_hand(name: str) -> None:
    expected = normalize(torch.tensor(EXPECTED[name]), dim=-1)
    torch.testing.assert_close(pooled(HIDDEN, MASK, (name,)), expected)


def test_several_poolings_stand_side_by_side() -> None:
    both = torch.tensor([[1.0, 2.0, 2.0, 0.5], [2.0, 0.0, 2.0, 4.0]])
    torch.testing.assert_close(pooled(HIDDEN, MASK, ("cls", "mean")), normalize(both, dim=-1))
