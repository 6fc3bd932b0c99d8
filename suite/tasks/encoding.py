"""Texts as token ids: tokenised once, padded when a batch is made."""

from __future__ import annotations

import copy
import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor

from suite.errors import UsageError

Pad = Literal["longest", "max"]
PADS = ("longest", "max")
CHUNK = 4096
"""Texts given to the tokenizer at a time, so that its Python objects stay few."""


@dataclass(frozen=True)
class Examples:
    """Texts or pairs of texts with their targets.

    first, second: the texts, and their partners where the task is about pairs; targets: class
    ids int64 [n], or ratings float32 [n].
    """

    first: Sequence[str]
    second: Sequence[str] | None
    targets: np.ndarray

    def __len__(self) -> int:
        return len(self.first)

    def take(self, rows: np.ndarray) -> Examples:
        """The samples with the numbers `rows`, in that order."""
        second = None if self.second is None else [self.second[i] for i in rows]
        return Examples([self.first[i] for i in rows], second, self.targets[rows])

    def digest(self) -> str:
        """SHA-256 of texts and targets; the same whatever files they were read from."""
        sha = hashlib.sha256()
        second = self.second if self.second is not None else [""] * len(self)
        for one, two, target in zip(self.first, second, self.targets.tolist(), strict=True):
            sha.update(f"{one}\x1f{two}\x1f{target!r}\x1e".encode())
        return sha.hexdigest()


def joined(parts: Sequence[Examples]) -> Examples:
    """All parts one after the other."""
    first = [text for part in parts for text in part.first]
    second = [text for part in parts for text in part.second or ()]
    targets = np.concatenate([part.targets for part in parts])
    return Examples(first, second or None, targets)


@dataclass(frozen=True)
class Encoded:
    """Token ids of many texts, end to end: text i is ids[starts[i]:starts[i + 1]].

    types: segment of each token (0 or 1); cut: one bool a text, whether it was truncated.
    """

    ids: np.ndarray
    types: np.ndarray
    starts: np.ndarray
    cut: np.ndarray

    def __len__(self) -> int:
        return len(self.starts) - 1

    @property
    def lengths(self) -> np.ndarray:
        """Tokens of each text, special ones included."""
        return np.diff(self.starts)


class Encoder:
    """A fast tokenizer with a length limit and a way to pad.

    max_length: tokens a sample may have, special ones included; longer ones are truncated, of a
    pair the longer text first (truncation: `longest_first`, or `token_by_token`). pad: `longest`
    pads to the longest sample of the batch, `max` to max_length. Where the model knows one segment
    (the tokenizer's `one_segment`, set when it was loaded), every token is of it. Raises UsageError
    for a limit beyond what the model takes.
    """

    def __init__(
        self,
        tokenizer: Any,
        max_length: int,
        pad: str = "longest",
        truncation: str = "longest_first",
    ) -> None:
        self.tokenizer = tokenizer
        self.max_length = max_length
        self.pad = _padding(pad)
        self.truncation = truncation
        self.segments = not getattr(tokenizer, "one_segment", False)
        self._check()

    def _check(self) -> None:
        least = self.tokenizer.num_special_tokens_to_add(pair=True) + 2
        most = self.tokenizer.model_max_length
        if not least <= self.max_length <= most:
            raise UsageError(
                f"A length limit of {self.max_length} tokens is not possible with this model; it "
                f"takes {least} to {most}."
            )
        if not self.tokenizer.is_fast or self.tokenizer.pad_token_id is None:
            raise UsageError(
                "The model's tokenizer must be a fast one (tokenizer.json or vocab.txt) with a "
                "padding token; choose another model."
            )

    def encode(self, first: Sequence[str], second: Sequence[str] | None = None) -> Encoded:
        """Tokenise texts or pairs of texts, without padding."""
        if second is not None and self.truncation == "token_by_token":
            return self._token_by_token(first, second)
        ids: list[np.ndarray] = []
        types: list[np.ndarray] = []
        cut: list[bool] = []
        for start in range(0, len(first), CHUNK):
            stop = start + CHUNK
            partner = None if second is None else list(second[start:stop])
            found = self.tokenizer(
                list(first[start:stop]),
                partner,
                truncation=True,
                max_length=self.max_length,
                return_token_type_ids=self.segments,
                return_attention_mask=False,
            )
            rows = [np.asarray(row, dtype=np.int32) for row in found["input_ids"]]
            segments = found["token_type_ids"] if self.segments else map(np.zeros_like, rows)
            ids += rows
            types += [np.asarray(row, dtype=np.int8) for row in segments]
            cut += [bool(encoding.overflowing) for encoding in found.encodings]
        starts = np.cumsum([0] + [len(row) for row in ids])
        return Encoded(_flat(ids, np.int32), _flat(types, np.int8), starts, np.array(cut, bool))

    def _token_by_token(self, first: Sequence[str], second: Sequence[str]) -> Encoded:
        """Pairs cut as BERT's first release does it, then with their special tokens."""
        backend = copy.deepcopy(self.tokenizer.backend_tokenizer)
        backend.no_truncation()
        backend.no_padding()
        room = self.max_length - backend.num_special_tokens_to_add(is_pair=True)
        ids, types, cut = [], [], []
        for texts in zip(first, second, strict=True):
            one, two = (backend.encode(text, add_special_tokens=False) for text in texts)
            lengths = cut_pair(len(one), len(two), room)
            cut.append(lengths != (len(one), len(two)))
            for encoding, length in zip((one, two), lengths, strict=True):
                encoding.truncate(length)
            whole = backend.post_process(one, two)
            ids.append(np.asarray(whole.ids, dtype=np.int32))
            segments = whole.type_ids if self.segments else np.zeros(len(whole.ids))
            types.append(np.asarray(segments, dtype=np.int8))
        starts = np.cumsum([0] + [len(row) for row in ids])
        return Encoded(_flat(ids, np.int32), _flat(types, np.int8), starts, np.array(cut, bool))

    def batch(
        self, encoded: Encoded, rows: np.ndarray, pad: str | None = None
    ) -> dict[str, Tensor]:
        """The samples `rows` as input_ids, attention_mask and token_type_ids, int64 [rows, tokens].

        pad: `longest` or `max` instead of the encoder's own.
        """
        lengths = encoded.lengths[rows]
        longest = int(lengths.max(initial=1))
        width = self.max_length if _padding(pad or self.pad) == "max" else longest
        mask = np.arange(width) < lengths[:, None]
        ids = np.full(mask.shape, self.tokenizer.pad_token_id, dtype=np.int64)
        segment = self.tokenizer.pad_token_type_id if self.segments else 0
        types = np.full(mask.shape, segment, dtype=np.int64)
        for place, row in enumerate(rows):
            span = slice(encoded.starts[row], encoded.starts[row + 1])
            ids[place, : lengths[place]] = encoded.ids[span]
            types[place, : lengths[place]] = encoded.types[span]
        return {
            "input_ids": torch.from_numpy(ids),
            "attention_mask": torch.from_numpy(mask.astype(np.int64)),
            "token_type_ids": torch.from_numpy(types),
        }

    def describe(self) -> dict[str, Any]:
        """What a reader must know of it, as plain values."""
        return {
            "tokenizer": type(self.tokenizer).__name__,
            "vocabulary": len(self.tokenizer),
            "max_length": self.max_length,
            "pad": self.pad,
            **({} if self.segments else {"segments": "none"}),
            **({} if self.truncation == "longest_first" else {"truncation": self.truncation}),
        }


def cut_pair(first: int, second: int, room: int) -> tuple[int, int]:
    """Tokens that are left of two texts in `room`: one is taken from the longer again and again, of
    equal ones from the second (BERT, run_classifier.py: _truncate_seq_pair)."""
    shorter = min(first, second)
    excess = max(0, first + second - room)
    # Down to equal lengths at the longer's cost, then in turn, the second first.
    alone = min(excess, abs(first - second))
    if first > second:
        first -= alone
    else:
        second -= alone
    both = excess - alone
    assert both == 0 or first == second == shorter
    return first - both // 2, second - (both + 1) // 2


def shuffled(count: int, *key: str | int) -> np.ndarray:
    """A permutation of range(count) that depends on `key` alone, not on a generator's state.

    It sorts raw 64-bit draws, since NumPy keeps these, but not `permutation`, across versions.
    """
    digest = hashlib.sha256("/".join(map(str, key)).encode()).digest()
    draws = np.random.PCG64(int.from_bytes(digest[:16], "big")).random_raw(count)
    return np.argsort(draws, kind="stable")


def _padding(pad: str) -> str:
    if pad not in PADS:
        raise UsageError(f"Padding cannot be {pad!r}; valid: {', '.join(PADS)}.")
    return pad


def _flat(rows: list[np.ndarray], dtype: Any) -> np.ndarray:
    return np.concatenate(rows) if rows else np.empty(0, dtype)
