"""Names of methods, models and tasks, and the lazy way from a name to the object."""

from __future__ import annotations

import importlib
import os
import pkgutil
from importlib.metadata import entry_points
from typing import Any, Generic, TypeVar

from suite.errors import LowbitError, unknown

T = TypeVar("T")


class Collision(LowbitError):
    """Two providers claim one name."""


class Registry(Generic[T]):
    """A mapping from a name to an object that is imported when first asked for.

    Entries are objects or `"module:attribute"` strings. Third parties add theirs through the
    entry-point group `group`. A second provider of a name is an error, never a replacement.
    """

    def __init__(self, kind: str, group: str) -> None:
        self.kind = kind
        self.group = group
        self._entries: dict[str, T | str] = {}
        self._discovered = False

    def add(self, name: str, entry: T | str) -> None:
        """Register `entry` under `name`; raises Collision if the name is taken."""
        if name in self._entries:
            raise Collision(
                f"The {self.kind} name {name!r} is claimed twice: by {self._entries[name]!r} "
                f"and by {entry!r}; rename one of them."
            )
        self._entries[name] = entry

    def add_modules(self, package: str, attribute: str) -> None:
        """Register every module of `package` as `package.module:attribute`, importing none."""
        paths = importlib.import_module(package).__path__
        for module in pkgutil.iter_modules(paths):
            if not module.name.startswith("_"):
                self.add(module.name, f"{package}.{module.name}:{attribute}")

    def names(self) -> list[str]:
        """All registered names, sorted."""
        self._discover()
        return sorted(self._entries)

    def check(self, name: str) -> str:
        """Return `name`, or raise UsageError with a suggestion; imports nothing."""
        self._discover()
        if name not in self._entries:
            raise unknown(self.kind, name, self._entries)
        return name

    def get(self, name: str) -> T:
        """Return the object registered as `name`, importing it if need be."""
        entry = self._entries[self.check(name)]
        if isinstance(entry, str):
            entry = self._load(name, entry)
            self._entries[name] = entry
        return entry

    def _load(self, name: str, target: str) -> Any:
        module, _, attribute = target.partition(":")
        try:
            return getattr(importlib.import_module(module), attribute)
        except (ImportError, AttributeError) as problem:
            raise LowbitError(
                f"The {self.kind} {name!r} cannot be imported from {target!r} ({problem}); mend or "
                "uninstall the package that provides it."
            ) from problem

    def _discover(self) -> None:
        if self._discovered:
            return
        for point in entry_points(group=self.group):
            if self._entries.get(point.name) != point.value:
                self.add(point.name, point.value)
        self._discovered = True


METHODS: Registry[Any] = Registry("method", "lowbit.methods")
METHODS.add_modules("baselines", "METHOD")
METHODS.add_modules("methods", "METHOD")

MODELS: Registry[Any] = Registry("model", "lowbit.models")
for _name in ("bert_base", "bert_large", "roberta_base", "mobilebert", "minilm", "bert_pico"):
    MODELS.add(_name, f"suite.models.text_catalog:{_name.upper()}")
for _name in ("deit_tiny", "deit_small", "deit_base", "deit_pico"):
    MODELS.add(_name, f"suite.models.catalog:{_name.upper()}")
for _name in ("deit_tiny_distilled", "deit_small_distilled", "deit_pico_distilled"):
    MODELS.add(_name, f"suite.models.catalog:{_name.upper()}")

TASKS: Registry[Any] = Registry("task", "lowbit.tasks")
TASKS.add("fashion", "suite.tasks.fashion:FASHION")
TASKS.add("fashion-full", "suite.tasks.fashion:FASHION_FULL")
TASKS.add("imagenet", "suite.tasks.imagenet:IMAGENET")
for _name in ("cola", "sst2", "mrpc", "stsb", "qqp", "mnli", "qnli", "rte"):
    TASKS.add(f"glue-{_name}", f"suite.tasks.glue:{_name.upper()}")
TASKS.add("snippets", "suite.tasks.snippets:SNIPPETS")
TASKS.add("snippets-rating", "suite.tasks.snippets:SNIPPETS_RATING")
TASKS.add("agreement", "suite.tasks.agreement:AGREEMENT")


def model_spec(name: str) -> Any:
    """The model registered as `name`, or the text model in the folder or at the hub id `name`."""
    if not outside(name):
        return MODELS.get(name)
    from suite.models.text_catalog import spec_of

    return spec_of(name)


def outside(name: str) -> bool:
    """Whether a model's name is a folder or a hub id (`owner/name`) and not a registered one."""
    return "/" in name or os.sep in name
