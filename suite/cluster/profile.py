"""Profiles: what one kind of job asks of the cluster. Data, in slurm/profiles/*.toml."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from suite.cell import validated
from suite.errors import UsageError, unknown
from suite.tomlfile import read_toml

PROFILES = Path(__file__).resolve().parents[2] / "slurm" / "profiles"


class Demands(BaseModel):
    """What differs for the jobs that make soft labels; a field left out is as for the cells."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    partition: str | None = None
    constraint: str | None = None
    gres: str | None = None
    nodes: int | None = Field(default=None, ge=1)
    tasks_per_node: int | None = Field(default=None, ge=1)
    cpus_per_task: int | None = Field(default=None, ge=1)
    mem_gb: float | None = Field(default=None, gt=0)
    time_minutes: int | None = Field(default=None, ge=1)


class Profile(BaseModel):
    """How jobs are asked for. Empty text: the cluster's default.

    gres: generic resources of one node, like `gpu:a100:4`. tasks_per_node: processes of a cell on
    a node, one GPU each. mem_gb: memory of a node. array_parallelism: elements of an array that
    run at once. signal_seconds: how long before the time limit a job is told to save and leave.
    setup: shell lines before Python starts. python: how Python is called (empty: as here).
    max_array, max_submit: smaller limits than the cluster's own (0: the cluster's). max_restarts:
    how often a job goes back into the queue before it counts as failed. extra: further sbatch
    options by name. labels: what differs for jobs that make soft labels. workers: of the local
    queue.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    executor: Literal["slurm", "local"] = "slurm"
    partition: str = ""
    account: str = ""
    constraint: str = ""
    qos: str = ""
    exclude: str = ""
    gres: str = ""
    nodes: int = Field(default=1, ge=1)
    tasks_per_node: int = Field(default=1, ge=1)
    cpus_per_task: int = Field(default=1, ge=1)
    mem_gb: float = Field(default=4.0, gt=0)
    time_minutes: int = Field(default=60, ge=1)
    array_parallelism: int = Field(default=16, ge=1)
    signal_seconds: int = Field(default=120, ge=1)
    setup: tuple[str, ...] = ()
    python: str = ""
    max_array: int = Field(default=0, ge=0)
    max_submit: int = Field(default=0, ge=0)
    max_restarts: int = Field(default=20, ge=0)
    extra: dict[str, str | int | float | bool] = {}
    labels: Demands = Demands()
    workers: int = Field(default=1, ge=1)

    def of(self, resources: str) -> Profile:
        """The profile of one group of jobs: `cells`, or `labels`."""
        if resources != "labels":
            return self
        return self.model_copy(update=self.labels.model_dump(exclude_none=True))


def profiles() -> dict[str, Path]:
    """The profiles that come with the suite, by name."""
    return {path.stem: path for path in sorted(PROFILES.glob("*.toml"))}


def load_profile(name_or_path: str) -> Profile:
    """A profile by its name, or from a TOML file; raises UsageError with what is valid."""
    known = profiles()
    path = known.get(name_or_path)
    if path is None:
        path = Path(name_or_path).expanduser()
        if not name_or_path.endswith(".toml"):
            raise unknown("profile", name_or_path, [*known, "FILE.toml"])
        if not path.is_file():
            raise UsageError(f"There is no profile {path}; registered: {', '.join(known)}.")
    return parse_profile(read_toml(path, "profile"), path.name)


def parse_profile(table: dict[str, Any], name: str) -> Profile:
    """A profile from plain values; raises UsageError on the first bad field."""
    found: Profile = validated(Profile, table, f"profile {name}")
    if found.signal_seconds >= 60 * found.time_minutes:
        raise UsageError(
            f"The profile {name} sends its signal {found.signal_seconds} s before a limit of "
            f"{found.time_minutes} min, so a job could never run; make signal_seconds smaller."
        )
    return found
