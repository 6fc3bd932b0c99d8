"""The shipped movie sentences."""

from __future__ import annotations

import hashlib
import re

import numpy as np
import pytest
from text_options import TextOptions, rows

from suite.errors import EnvironmentProblem
from suite.tasks import snippets
from suite.tasks.snippets import DIGESTS, FOLDER, SNIPPETS, SNIPPETS_RATING, checked, read


def test_the_shipped_files_are_the_ones_that_the_origin_names() -> None:
    origin = (FOLDER / "ORIGIN.md").read_text()
    for name, digest in DIGESTS.items():
        assert hashlib.sha256((FOLDER / name).read_bytes()).hexdigest() == digest
        assert f"| {name} | {digest} |" in origin
    assert "MIT" in (FOLDER / "LICENSE").read_text()


def test_all_sentences_of_the_original_are_there() -> None:
    train, dev = read("train.tsv"), read("dev.tsv")
    assert len(train[0]) + len(dev[0]) == 10605 == len(snippets.sentences())
    ratings = np.concatenate([train[1], dev[1]])
    assert (ratings.min(), ratings.max()) == (-3.875, np.float32(3.94117647059))
    assert all(text == text.strip() != "" for text in snippets.sentences())


def test_the_split_is_the_digest_of_the_sentence() -> None:
    for name, held_out in (("train.tsv", False), ("dev.tsv", True)):
        for text in read(name)[0]:
            digest = hashlib.sha256(text.lower().encode()).digest()
            assert (int.from_bytes(digest[:4], "big") % 10 == 0) is held_out


def test_no_sentence_is_on_both_sides() -> None:
    train, dev = ({text.lower() for text in read(name)[0]} for name in ("train.tsv", "dev.tsv"))
    assert not train & dev


def test_a_changed_file_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(DIGESTS, "dev.tsv", "0" * 64)
    with pytest.raises(EnvironmentProblem, match="is not the file that the suite ships"):
        checked("dev.tsv")


def test_classes_are_the_signs_of_the_clear_ratings() -> None:
    data = SNIPPETS.open(TextOptions())
    assert (data.train_size, data.classes, data.limits) == (9083, 2, None)
    texts, ratings = read("dev.tsv")
    clear = [i for i, rating in enumerate(ratings) if abs(rating) >= 0.5]
    assert len(clear) == 989
    assert list(data.splits["validation"].first) == [texts[i] for i in clear]
    assert data.splits["validation"].targets.tolist() == [int(ratings[i] > 0) for i in clear]
    both = np.concatenate([s.targets for s in data.splits.values()])
    assert len(both) == 10072
    assert both.mean() == pytest.approx(0.496, abs=5e-4)


def test_accuracy_of_a_guess_is_its_share_of_right_signs() -> None:
    data = SNIPPETS.open(TextOptions())
    target = data.splits["validation"].targets
    found = data.score(rows(np.ones_like(target), target))
    assert found[SNIPPETS.metric] == pytest.approx(100 * target.mean(), abs=1e-3)


def test_ratings_keep_their_scale_and_order() -> None:
    data = SNIPPETS_RATING.open(TextOptions())
    assert (data.train_size, data.classes, data.limits) == (9565, 1, (-4.0, 4.0))
    target = data.splits["validation"].targets
    assert data.score(rows(2 * target + 1, target))[SNIPPETS_RATING.metric] == 100
    assert data.score(rows(-target, target))[SNIPPETS_RATING.metric] == -100


def test_the_vocabulary_covers_the_sentences() -> None:
    lines = (FOLDER / "vocab.txt").read_text().splitlines()
    assert lines[:5] == ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    assert len(lines) == len(set(lines)) == 4000
    data = SNIPPETS.open(TextOptions())
    assert not (data._train.ids == 1).any()


def test_the_data_is_never_missing() -> None:
    assert SNIPPETS.missing(TextOptions()) is None
    assert SNIPPETS_RATING.missing(TextOptions()) is None


def test_the_making_is_told_command_by_command() -> None:
    made = (FOLDER / "make.md").read_text()
    assert re.search(r"pip download .*vaderSentiment==3\.3\.2", made)
    assert "BertWordPieceTokenizer" in made
