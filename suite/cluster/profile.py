"""Profiles: what one kind of job asks of the cluster. Data, in slurm/profiles/*.toml."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from suite.cell import validated
from suite.errors import UsageError, unknown
from suite.places import place, present
from suite.tomlfile import read_toml

PROFILES = place("slurm", "profiles")


USUAL_GB = 4.0
"""Memory of a node where a profile names none."""

MEMORY = ("mem", "mem-per-cpu", "mem-per-gpu")
"""sbatch's options for memory, of which a script may have one."""

SHORT = {
    **{"p": "partition", "A": "account", "C": "constraint", "q": "qos", "x": "exclude"},
    **{"N": "nodes", "n": "ntasks", "c": "cpus-per-task", "t": "time", "J": "job-name"},
    **{"o": "output", "e": "error", "d": "dependency", "a": "array", "D": "chdir"},
    **{"M": "clusters", "G": "gpus", "w": "nodelist"},
}
"""sbatch's short options."""

WRITTEN = {
    **{name: name for name in ("partition", "account", "constraint", "qos", "exclude", "gres")},
    **{"nodes": "nodes", "ntasks-per-node": "tasks_per_node", "cpus-per-task": "cpus_per_task"},
    **{"time": "time_minutes", "signal": "signal_seconds", "clusters": "clusters"},
    **dict.fromkeys(("ntasks", "gpus", "gpus-per-node"), "tasks_per_node and gres"),
    **dict.fromkeys(("array", "job-name", "output", "error", "open-mode", "dependency"), ""),
    **dict.fromkeys(("requeue", "no-requeue", "chdir", "cluster", "wrap", "parsable"), ""),
}
"""Options that the suite writes or relies on -> the profile's field for it ("": none)."""


def option(name: str) -> str:
    """sbatch's long name of an option, however it is spelt: `-p`, `Mem_Per_CPU`, `--mem`."""
    bare = name.strip().lstrip("-")
    return SHORT.get(bare, bare.lower().replace("_", "-"))


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
    a node, one GPU each. mem_gb: memory of a node; mem_per_cpu_gb: of a core, on sites that want
    it so (scripts have one of the two; 4 GB a node where neither is named). clusters: which of a
    site's SLURM clusters, for sbatch and every later question. array_parallelism: elements of an
    array that run at once. signal_seconds: how long before the time limit a job is told to save
    and leave. setup: shell lines before Python starts. python: how Python is called (empty: as
    here). max_array, max_submit: smaller limits than the cluster's own (0: the cluster's).
    max_restarts: how often a job goes back into the queue before it counts as failed. extra: more
    of sbatch's options by name. labels: what differs for jobs that make soft labels. workers: of
    the local queue.
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
    mem_gb: float | None = Field(default=None, gt=0)
    mem_per_cpu_gb: float | None = Field(default=None, gt=0)
    clusters: str = ""
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
        own = self.labels.model_dump(exclude_none=True)
        if "mem_gb" in own:
            own["mem_per_cpu_gb"] = None
        return self.model_copy(update=own)

    @property
    def node_memory_gb(self) -> float | None:
        """What a job may use on a node; None where `extra` asks for memory in words of its own."""
        if self.mem_per_cpu_gb is not None:
            return self.mem_per_cpu_gb * self.cpus_per_task * self.tasks_per_node
        own = {option(name) for name in self.extra} & set(MEMORY)
        return None if own and self.mem_gb is None else self.mem_gb or USUAL_GB


def profiles() -> dict[str, Path]:
    """The profiles that come with the suite, by name."""
    return {path.stem: path for path in sorted(present(PROFILES).glob("*.toml"))}


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
    _check_lines(found, name)
    _check_extra(found, name)
    if found.signal_seconds >= 60 * found.time_minutes:
        raise UsageError(
            f"The profile {name} sends its signal {found.signal_seconds} s before a limit of "
            f"{found.time_minutes} min, so a job could never run; make signal_seconds smaller."
        )
    return found


def _check_lines(found: Profile, name: str) -> None:
    """A value with a line break would be a line of the script by itself."""
    for field, value in found.model_dump().items():
        for text in _texts(value):
            if any(ord(character) < 32 or ord(character) == 127 for character in text):
                raise UsageError(
                    f"The profile {name} has a line break or control character in {field} "
                    f"({text!r}); give one line{' a list entry' if field == 'setup' else ''}."
                )


def _texts(value: Any) -> Iterator[str]:
    """Every text within a field's value, names of options included."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        for key, inner in value.items():
            yield from (key, *_texts(inner))
    elif isinstance(value, (list, tuple)):
        for inner in value:
            yield from _texts(inner)


def _check_extra(found: Profile, name: str) -> None:
    """Raise UsageError for an option that the script has already, in any spelling."""
    known: dict[str, str] = {}
    for spelt in found.extra:
        long = option(spelt)
        if long in known:
            raise UsageError(
                f"The profile {name} gives {long!r} twice in extra, as {known[long]!r} and "
                f"{spelt!r}; keep one."
            )
        known[long] = spelt
        if long in WRITTEN:
            way = f"set its field {WRITTEN[long]}" if WRITTEN[long] else "leave it out"
            raise UsageError(
                f"The profile {name} has {spelt!r} in extra, an option that the suite writes "
                f"itself; {way}."
            )
    asked = [field for field in ("mem_gb", "mem_per_cpu_gb") if getattr(found, field) is not None]
    asked += [f"{known[m]} (extra)" for m in MEMORY if m in known]
    if len(asked) > 1:
        raise UsageError(
            f"The profile {name} asks for memory by {' and '.join(asked)}, of which SLURM takes "
            "one; keep one."
        )
