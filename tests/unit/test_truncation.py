"""Pairs over the limit are cut as the recipe says: as BERT's first release, or as tokenizers."""

from __future__ import annotations

import random
from typing import Any

import pytest
from text_options import tokenizer

from suite.tasks.encoding import Encoder, cut_pair

WORDS = ["the", "film", "is", "good", "and", "bad", "but", "not", "a", "long", "one", "of", "them"]


def by_hand(first: int, second: int, room: int) -> tuple[int, int]:
    """_truncate_seq_pair, a token a turn."""
    while first + second > room:
        if first > second:
            first -= 1
        else:
            second -= 1
    return first, second


def test_lengths_are_those_of_one_token_a_turn() -> None:
    for first in range(12):
        for second in range(12):
            for room in range(14):
                assert cut_pair(first, second, room) == by_hand(first, second, room)


def pairs(count: int) -> tuple[list[str], list[str]]:
    draw = random.Random(0)
    texts = [" ".join(draw.choices(WORDS, k=draw.randint(1, 20))) for _ in range(2 * count)]
    return texts[:count], texts[count:]


def both(encoder: Encoder, texts: tuple[list[str], list[str]]) -> Any:
    found = encoder.encode(*texts)
    return [
        found.ids[a:b].tolist() for a, b in zip(found.starts, found.starts[1:], strict=False)
    ], found


@pytest.mark.parametrize("room", [16, 17])
def test_a_pair_keeps_what_the_rule_leaves_and_its_special_tokens(room: int) -> None:
    texts = pairs(200)
    ours, found = both(Encoder(tokenizer(), room, "max", "token_by_token"), texts)
    theirs, today = both(Encoder(tokenizer(), room, "max"), texts)
    plain = tokenizer()
    special = plain.cls_token_id, plain.sep_token_id
    for one, two, row, was_cut in zip(*texts, ours, found.cut, strict=True):
        a, b = (plain(text, add_special_tokens=False)["input_ids"] for text in (one, two))
        left = by_hand(len(a), len(b), room - 3)
        assert row == [special[0], *a[: left[0]], special[1], *b[: left[1]], special[1]]
        assert was_cut == (left != (len(a), len(b)))
    assert found.cut.tolist() == today.cut.tolist()
    differing = sum(a != b for a, b in zip(ours, theirs, strict=True))
    # Where an odd number of tokens has room, the rules give the last one to other partners.
    assert (differing > 0) == (room == 16)
    short = [i for i, was_cut in enumerate(found.cut) if not was_cut]
    assert all(ours[i] == theirs[i] for i in short)


def test_the_rule_stands_in_the_protocol() -> None:
    assert "truncation" not in Encoder(tokenizer(), 16).describe()
    assert (
        Encoder(tokenizer(), 16, "max", "token_by_token").describe()["truncation"]
        == "token_by_token"
    )
