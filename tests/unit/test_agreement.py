"""Agreement of embeddings, and the text file it is measured on."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from text_options import TextOptions, rows, tokenizer

from suite.errors import EnvironmentProblem, LowbitError, Missing, UsageError
from suite.tasks.agreement import AGREEMENT
from suite.tasks.embeddings import (
    Reference,
    agreement,
    cosine,
    neighbours,
    over_draws,
    overlap,
    pooled,
)
from suite.tasks.encoding import Encoder
from suite.tasks.texts import Texts, read_texts

LINES = ["the film is good", "a story", "war", "life and love and music", "a good film"] * 4


def embeddings(count: int = 40, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=(count, 8)).astype(np.float32)


def texts(lines: list[str] = LINES) -> Texts:
    return Texts(lines, Encoder(tokenizer(), 32), source="lines")


def written(folder: Path, content: bytes) -> Path:
    path = folder / "texts.txt"
    path.write_bytes(content)
    return path


def test_pooling_leaves_padding_out_and_gives_unit_length() -> None:
    hidden = torch.tensor([[[3.0, 0.0], [3.0, 8.0], [99.0, 99.0]]])
    found = pooled(hidden, torch.tensor([[1, 1, 0]]))
    assert found.tolist() == [pytest.approx([0.6, 0.8])]


def test_the_same_embeddings_agree_completely_at_any_length() -> None:
    reference = Reference.of(embeddings())
    found = agreement(reference, 3 * embeddings())
    assert found == {"cosine": 1.0, "neighbours": 1.0, "texts": 40}


def test_neighbours_are_the_nearest_by_cosine_without_the_text_itself() -> None:
    angles = np.radians([0.0, 1.0, 3.0, 90.0, 92.0])
    points = np.stack([np.cos(angles), np.sin(angles)], axis=1) * [[1], [9], [2], [5], [1]]
    assert neighbours(points, 2).tolist() == [[1, 2], [0, 2], [0, 1], [2, 4], [2, 3]]


def test_neighbours_equal_those_of_all_pairs_across_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("suite.tasks.embeddings.BLOCK", 7)
    points = embeddings()
    unit = points / np.linalg.norm(points, axis=1, keepdims=True)
    similar = unit @ unit.T
    np.fill_diagonal(similar, -2)
    expected = np.sort(np.argsort(-similar, axis=1)[:, :10], axis=1)
    assert np.array_equal(neighbours(points), expected)


def test_overlap_is_the_share_of_common_neighbours() -> None:
    assert overlap(np.array([[0, 1, 2]]), np.array([[2, 7, 9]])).tolist() == [pytest.approx(1 / 3)]


def test_cosine_equals_the_hand_computed_value() -> None:
    assert cosine(np.array([[1.0, 0.0]]), np.array([[2.0, 2.0]])) == pytest.approx(2**-0.5)


def test_noise_lowers_both_measures() -> None:
    reference = Reference.of(embeddings())
    small, large = (
        agreement(reference, embeddings() + scale * embeddings(seed=1)) for scale in (0.1, 1.0)
    )
    assert 1 > small["cosine"] > large["cosine"] > 0
    assert 1 > small["neighbours"] > large["neighbours"] > 0


def test_embeddings_of_other_texts_or_with_nan_are_refused() -> None:
    with pytest.raises(UsageError, match="same texts"):
        cosine(embeddings(4), embeddings(5))
    with pytest.raises(LowbitError, match="not finite"):
        agreement(Reference.of(embeddings()), np.full((40, 8), np.nan, dtype=np.float32))
    with pytest.raises(UsageError, match="2 texts or more"):
        neighbours(embeddings(1))


def test_draws_are_summed_up_as_median_and_range() -> None:
    draws = [
        {"cosine": c, "neighbours": n, "texts": 9} for c, n in ((0.9, 0.5), (0.7, 0.6), (0.8, 0.1))
    ]
    assert over_draws(draws) == {
        "cosine": 0.8,
        "cosine_low": 0.7,
        "cosine_high": 0.9,
        "neighbours": 0.5,
        "neighbours_low": 0.1,
        "neighbours_high": 0.6,
        "texts": 9,
        "draws": 3,
    }


def test_a_file_is_read_line_by_line_without_blank_lines_and_marks(awkward: Path) -> None:
    path = written(awkward, "\ufeffone\u2028still one\r\n\n  \ntwo é\n".encode())
    assert read_texts(path) == ["one\u2028still one", "two é"]


def test_a_file_that_is_not_utf8_is_refused_with_its_line(tmp_path: Path) -> None:
    with pytest.raises(EnvironmentProblem, match=r"not UTF-8 \(line 2, byte 6\)"):
        read_texts(written(tmp_path, b"good\nb\xe9d\n"))


@pytest.mark.parametrize("content", [b"", b"\n \n\t\n"])
def test_a_file_without_texts_is_refused(tmp_path: Path, content: bytes) -> None:
    with pytest.raises(EnvironmentProblem, match="holds no texts"):
        read_texts(written(tmp_path, content))


def test_a_file_that_is_not_there_is_missing(tmp_path: Path) -> None:
    found = AGREEMENT.missing(TextOptions(texts=tmp_path / "none.txt"))
    assert isinstance(found, Missing)
    assert "--texts FILE" in str(found)
    with pytest.raises(Missing, match="cannot be read"):
        read_texts(tmp_path)


def test_long_texts_are_truncated_and_told_or_refused(tmp_path: Path) -> None:
    path = written(tmp_path, ("short\n" + "film " * 50 + "\nshort again\n").encode())
    opened = AGREEMENT.open(TextOptions(texts=path))
    assert (opened.transform["truncated"], opened.transform["lines"]) == (1, 3)
    with pytest.raises(UsageError, match=r"1 texts of texts.txt are longer than 32 .*is text 2\)"):
        AGREEMENT.open(TextOptions(texts=path, too_long="refuse"))
    with pytest.raises(UsageError, match="valid: truncate, refuse"):
        AGREEMENT.open(TextOptions(texts=path, too_long="ignore"))


def test_without_a_file_the_shipped_sentences_are_taken() -> None:
    opened = AGREEMENT.open(TextOptions())
    assert AGREEMENT.missing(TextOptions()) is None
    assert len(opened) == 10605
    assert opened.transform["texts"] == "snippets"


def test_batches_hold_every_text_once_and_say_where_it_belongs() -> None:
    opened = texts()
    restored = np.empty(len(opened), dtype=object)
    widths = []
    for places, inputs in opened.batches(3):
        widths.append(inputs["input_ids"].shape[1])
        for place, row in zip(places, inputs["input_ids"], strict=True):
            restored[place] = tokenizer().decode(row, skip_special_tokens=True)
    assert restored.tolist() == LINES
    assert widths == sorted(widths)


def test_batches_of_a_sample_hold_only_its_texts() -> None:
    opened = texts()
    chosen = opened.sample(5)
    assert len(set(chosen.tolist())) == 5
    assert (chosen[0], chosen[-1]) == (0, len(LINES) - 1)
    places = np.concatenate([p for p, _ in opened.batches(2, chosen)])
    assert sorted(places.tolist()) == list(range(5))
    assert len(opened.sample(999)) == len(LINES)


def test_validation_batches_keep_the_order_of_the_file() -> None:
    numbers = torch.cat([n for _, n in texts().validation_batches(batch=3, rank=1, world=2)])
    assert numbers.tolist() == list(range(len(LINES)))[1::2]


def test_a_draw_has_its_sizes_and_depends_on_its_seed() -> None:
    opened = texts()
    draws = [opened.calibration_batches(3, 2, seed) for seed in (0, 0, 1)]
    assert [len(batch["input_ids"]) for batch in draws[0]] == [3, 3]
    same = [torch.equal(a["input_ids"], b["input_ids"]) for a, b in zip(*draws[:2], strict=True)]
    assert all(same)
    assert any(
        a["input_ids"].shape != b["input_ids"].shape or (a["input_ids"] != b["input_ids"]).any()
        for a, b in zip(draws[0], draws[2], strict=True)
    )
    padded = opened.calibration_batches(3, 2, 0, pad="max")
    assert {batch["input_ids"].shape[1] for batch in padded} == {32}
    with pytest.raises(UsageError, match="at least 1"):
        opened.calibration_batches(4, 0, 0)


def test_there_is_nothing_to_train_on() -> None:
    assert texts().steps(8, 1) == 0
    with pytest.raises(UsageError, match="no labels"):
        texts().train_batches(epoch=0, seed=0, batch=4)


def test_the_score_is_the_agreement_of_the_embeddings() -> None:
    found = texts().score(rows(embeddings(20, 1), embeddings(20)))
    assert found == agreement(Reference.of(embeddings(20)), embeddings(20, 1))
