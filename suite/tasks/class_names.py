"""Which output of a model a class folder is: by its name, never by its place alone."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache

from suite.errors import EnvironmentProblem

SYNSET = re.compile(r"n\d{8}")
NUMBER = re.compile(r"\d{1,9}", re.ASCII)

LISTS = {1000: "imagenet-1k"}
"""timm's name of the list of synsets that a model's outputs follow, by the number of these."""


@dataclass(frozen=True)
class Outputs:
    """The output of every class folder, in the folders' order, and what that rests on.

    kind: `imagenet-1k`, or `10 of imagenet-1k`, for synsets; `12 by number`; `1000 in order of
    names`.
    """

    of: tuple[int, ...]
    kind: str

    @property
    def in_place(self) -> bool:
        """Whether every folder's output is its place among the folders."""
        return self.of == tuple(range(len(self.of)))

    @property
    def whole(self) -> bool:
        """Whether these are all classes of a published list."""
        return self.kind in LISTS.values()


def outputs_of(names: Sequence[str], outputs: int, where: object) -> Outputs:
    """The outputs that folders stand for, for a model of `outputs` outputs.

    Synsets are looked up in the list that the model's outputs follow, numbers are the outputs'
    own, counted from 0, and other names stand for outputs in their order, if there is one for
    each. Raises EnvironmentProblem where names say something else, or nothing.
    """
    kinds = {_kind(name) for name in names}
    if len(kinds) > 1:
        odd = sorted(names, key=lambda name: (_kinds(names).count(_kind(name)), name))
        raise EnvironmentProblem(
            f"The class folders of {where} are named in different ways ({odd[0]!r} beside "
            f"{odd[-1]!r}); move out what is no class, and name all others by synset or by number."
        )
    return _BY[kinds.pop()](list(names), outputs, where)


def _kind(name: str) -> str:
    if SYNSET.fullmatch(name):
        return "synset"
    return "number" if NUMBER.fullmatch(name) else "word"


def _kinds(names: Sequence[str]) -> list[str]:
    return [_kind(name) for name in names]


def _synsets(names: list[str], outputs: int, where: object) -> Outputs:
    if outputs not in LISTS:
        raise EnvironmentProblem(
            f"The class folders of {where} are named by synsets, and which of a model's {outputs} "
            f"outputs these are is known for {', '.join(map(str, LISTS))} outputs alone; choose a "
            "model of ImageNet-1K, or name the folders by output number from 0."
        )
    known = _list(LISTS[outputs])
    strange = [name for name in names if name not in known]
    if strange:
        raise EnvironmentProblem(
            f"{len(strange)} of the {len(names)} class folders of {where} are no classes of "
            f"{LISTS[outputs]}, whose classes the model's outputs are ({_some(strange)}); move "
            "them out, or name folders by output number from 0."
        )
    share = "" if len(names) == outputs else f"{len(names)} of "
    return Outputs(tuple(known[name] for name in names), f"{share}{LISTS[outputs]}")


def _numbers(names: list[str], outputs: int, where: object) -> Outputs:
    found = [int(name) for name in names]
    if len(set(found)) < len(found) or max(found) >= outputs:
        twice = len(set(found)) < len(found)
        what = "hold a number twice" if twice else f"go up to {max(found)}"
        raise EnvironmentProblem(
            f"The class folders of {where} {what}, but each must be one of the model's {outputs} "
            f"outputs, 0 to {outputs - 1}; rename them."
        )
    return Outputs(tuple(found), f"{len(names)} by number")


def _words(names: list[str], outputs: int, where: object) -> Outputs:
    if len(names) != outputs:
        raise EnvironmentProblem(
            f"{where} has {len(names)} class folders ({_some(names)}) and the model {outputs} "
            "outputs, and such names do not say which of them these are; name the folders by "
            "synset (n01440764) or by output number from 0."
        )
    return Outputs(tuple(range(len(names))), f"{len(names)} in order of names")


_BY = {"synset": _synsets, "number": _numbers, "word": _words}


@cache
def _list(name: str) -> dict[str, int]:
    from timm.data import ImageNetInfo

    return {synset: number for number, synset in enumerate(ImageNetInfo(name).label_names())}


def _some(names: Sequence[str]) -> str:
    return ", ".join(map(repr, names[:4])) + (", ..." if len(names) > 4 else "")
