"""What the data and the models of published numbers are (tables/published/originals.toml)."""

from __future__ import annotations

from functools import cache

from pydantic import BaseModel, ConfigDict, Field

from suite.cell import validated
from suite.names import FOLDER
from suite.tomlfile import read_toml


class Data(BaseModel):
    """A task's data. samples, training: of the validation and the training split; classes,
    class_set: of images, as a record's evaluation has them."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    samples: int
    training: int
    classes: int | None = None
    class_set: str = ""
    source: str


class Built(BaseModel):
    """A model, as suite.models.architecture tells it of the one that was built."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    kind: str = Field(alias="class")
    depth: int
    width: int
    heads: int
    parameters: int
    source: str


class Originals(BaseModel):
    """task, model: by registered name."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    task: dict[str, Data]
    model: dict[str, Built]


@cache
def originals() -> Originals:
    """The whole file; raises UsageError that names it where it cannot be read."""
    path = FOLDER / "originals.toml"
    found: Originals = validated(Originals, read_toml(path, "originals"), path.name)
    return found
