"""How an encoder's own users read it, as sentence-transformers writes it beside the weights.

`modules.json` names what follows the encoder, `1_Pooling/config.json` how token vectors become one,
`sentence_bert_config.json` the longest text and the case. An encoder without them is read by its
mean.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from suite.errors import EnvironmentProblem, UsageError

POOLINGS = {
    "cls": ("pooling_mode_cls_token", "cls"),
    "mean": ("pooling_mode_mean_tokens", "mean"),
    "max": ("pooling_mode_max_tokens", "max"),
    "mean_sqrt_len": ("pooling_mode_mean_sqrt_len_tokens", "mean_sqrt_len_tokens"),
    "weighted_mean": ("pooling_mode_weightedmean_tokens", "weightedmean"),
    "last_token": ("pooling_mode_lasttoken", "lasttoken"),
}
"""Our name -> sentence-transformers' switch for it, and its word in `pooling_mode`."""

KNOWN = ("Transformer", "Pooling", "Normalize")
"""Modules that are followed. Any other changes embeddings in a way that is not computed here."""

OWN = "the suite's choice, the encoder says nothing"


@dataclass(frozen=True)
class Reading:
    """pooling: names of POOLINGS, side by side if there are several; normalised: whether the
    encoder's own users get unit length (compared here is the angle, at unit length always);
    max_length: tokens of a text, 0 where nothing is said; lower: texts are lower-cased first;
    said_by: where this stands."""

    pooling: tuple[str, ...] = ("mean",)
    normalised: bool = False
    max_length: int = 0
    lower: bool = False
    said_by: str = OWN

    def describe(self) -> dict[str, Any]:
        """For the protocol, as plain values."""
        return {
            "pooling": "+".join(self.pooling),
            "pooling_by": self.said_by,
            "normalised": self.normalised,
            "lower_cased": self.lower,
        }


def reading_of(source: str | Path) -> Reading:
    """How the encoder of a folder or hub id is to be read.

    Raises UsageError for modules that are not known here, EnvironmentProblem for files that are
    not what sentence-transformers writes.
    """
    modules = _content(source, "modules.json")
    if modules is None:
        return Reading()
    chain = [_module(source, module) for module in _list(source, modules)]
    strange = [kind for kind, _ in chain if kind not in KNOWN]
    if strange:
        raise UsageError(
            f"The encoder {source} has a {strange[0]} among its modules (modules.json), which "
            f"agreement does not compute; only {', '.join(KNOWN)} are followed."
        )
    pooling = [path for kind, path in chain if kind == "Pooling"]
    if len(pooling) != 1:
        raise UsageError(
            f"The encoder {source} has {len(pooling)} Pooling modules in modules.json; agreement "
            "follows one."
        )
    length, lower = _limits(source)
    return Reading(
        pooling=_pooling(source, f"{pooling[0]}/config.json"),
        normalised=any(kind == "Normalize" for kind, _ in chain),
        max_length=length,
        lower=lower,
        said_by=f"{pooling[0]}/config.json",
    )


def _list(source: str | Path, modules: Any) -> list[Any]:
    if not isinstance(modules, list) or not modules:
        raise _not_theirs(source, "modules.json", "a list of modules")
    return modules


def _module(source: str | Path, module: Any) -> tuple[str, str]:
    """Kind and folder of one module."""
    fields = module if isinstance(module, dict) else {}
    kind, path = fields.get("type"), fields.get("path")
    if not isinstance(kind, str) or not isinstance(path, str) or ".." in Path(path).parts:
        raise _not_theirs(source, "modules.json", "modules with a `type` and a `path`")
    return kind.rpartition(".")[2], path


def _pooling(source: str | Path, name: str) -> tuple[str, ...]:
    config = _content(source, name)
    if not isinstance(config, dict):
        raise _not_theirs(source, name, "the settings of a Pooling module")
    word = config.get("pooling_mode")
    words = word if isinstance(word, list) else [word]
    found = tuple(
        ours
        for ours, (switch, theirs) in POOLINGS.items()
        if config.get(switch) is True or theirs in words
    )
    if not found:
        raise UsageError(
            f"{name} of the encoder {source} asks for no pooling that is known here; these are: "
            f"{', '.join(switch for switch, _ in POOLINGS.values())}."
        )
    return found


def _limits(source: str | Path) -> tuple[int, bool]:
    """The longest text in tokens (0: not said), and whether texts are lower-cased."""
    name = "sentence_bert_config.json"
    config = _content(source, name)
    if config is None:
        return 0, False
    length = config.get("max_seq_length") or 0 if isinstance(config, dict) else None
    if not isinstance(length, int) or length < 0:
        raise _not_theirs(source, name, "a whole `max_seq_length`")
    return length, bool(config.get("do_lower_case"))


def _content(source: str | Path, name: str) -> Any:
    """What a JSON file beside the weights holds; None where there is none."""
    path = _path(source, name)
    if path is None:
        return None
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as problem:
        raise EnvironmentProblem(
            f"{name} of the encoder {source} cannot be read ({problem}); copy the folder again."
        ) from problem


def _path(source: str | Path, name: str) -> Path | None:
    folder = Path(source).expanduser()
    if folder.is_dir():
        return folder / name if (folder / name).is_file() else None
    from transformers.utils import cached_file

    quietly: Mapping[str, Any] = {
        "_raise_exceptions_for_gated_repo": False,
        "_raise_exceptions_for_missing_entries": False,
        "_raise_exceptions_for_connection_errors": False,
    }
    try:
        found = cached_file(str(source), name, **quietly)
    except (OSError, ValueError):
        return None  # no such place: loading the model says so, in its own words
    return Path(found) if found else None


def _not_theirs(source: str | Path, name: str, wanted: str) -> EnvironmentProblem:
    return EnvironmentProblem(
        f"{name} of the encoder {source} does not hold {wanted}, as sentence-transformers writes "
        "it; copy the folder again."
    )
