"""What a selection would take: jobs, arrays, hours and memory, and what that rests on."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from suite.cell import Cell
from suite.cluster.batches import batches
from suite.cluster.dependencies import jobs_of
from suite.cluster.forecasts import Forecast, Known, forecast, known
from suite.cluster.profile import Profile
from suite.cluster.slots import visible_gpus
from suite.cluster.slurm import reachable_limits
from suite.cluster.submit import allowed
from suite.cluster.sweep import Job
from suite.errors import LowbitError
from suite.options import Options

if TYPE_CHECKING:
    from rich.console import RenderableType

HOUR = 3600.0
COLUMNS = ("jobs", "of", "hours each", "hours", "GPU-hours", "memory MiB", "rests on")


@dataclass(frozen=True)
class Part:
    """The jobs that differ only in their seed. name: their label without it; cell: one of them;
    why: what to do about an unknown cost."""

    name: str
    cell: Cell
    jobs: int
    cost: Forecast | None
    why: str = ""


@dataclass(frozen=True)
class Plan:
    """cells: how many were selected; finished: how many of them have their record; arrays: calls
    of sbatch; largest: elements of one array."""

    profile: Profile
    cells: int
    finished: int
    jobs: Sequence[Job]
    arrays: int
    largest: int
    parts: Sequence[Part]

    @property
    def processes(self) -> int:
        return self.profile.nodes * self.profile.tasks_per_node

    @property
    def gpus(self) -> int:
        return gpus_of(self.profile)


def plan(cells: Sequence[Cell], options: Options, profile: Profile, probing: bool = False) -> Plan:
    """Plan the cells that have no record yet, with what they need; queues nothing."""
    jobs = jobs_of(cells, options)
    largest = allowed(profile, reachable_limits()).array
    selected = sum(job.role == "cell" for job in jobs)
    return Plan(
        profile=profile,
        cells=len(cells),
        finished=len(cells) - selected,
        jobs=jobs,
        arrays=len(batches(jobs, largest)) if profile.executor == "slurm" else 0,
        largest=largest,
        parts=_parts(jobs, options, profile, probing),
    )


def gpus_of(profile: Profile) -> int:
    """GPUs of one job: those of its generic resources, or one where the local queue has any."""
    if profile.executor == "local":
        return 1 if visible_gpus() else 0
    found = re.findall(r"(?:^|,)gpu(?::[A-Za-z][\w.-]*)?(?::(\d+))?(?=,|$)", profile.gres)
    return profile.nodes * sum(int(count or 1) for count in found)


def _parts(jobs: Sequence[Job], options: Options, profile: Profile, probing: bool) -> list[Part]:
    kinds: dict[str, list[Job]] = {}
    for job in jobs:
        kinds.setdefault(_without_seed(job), []).append(job)
    runs = known(options.results)
    found = [_part(several, runs, options, profile, probing) for several in kinds.values()]
    return sorted(found, key=lambda part: part.cost is None)


def _without_seed(job: Job) -> str:
    """What of a cell decides its cost; soft labels are alike for all cells of a model and task."""
    if job.role == "labels":
        return re.sub(r"/s\d+$", "", job.label)
    fields = json.loads(job.cell)
    fields.pop("seed", None)
    return json.dumps(fields, sort_keys=True)


def _part(
    jobs: Sequence[Job],
    runs: Known,
    options: Options,
    profile: Profile,
    probing: bool,
) -> Part:
    first = jobs[0]
    name, cell = re.sub(r"/s\d+$", "", first.label), Cell.from_json(first.cell)
    if first.role == "labels":
        return Part(name, cell, len(jobs), None, "no record tells what soft labels cost")
    cost = forecast(cell.recipe, runs.like(cell))
    if cost is not None:
        return Part(name, cell, len(jobs), cost)
    if not probing:
        return Part(name, cell, len(jobs), None, "no record of it; --probe measures a few steps")
    return _probed(Part(name, cell, len(jobs), None), options, profile)


def _probed(part: Part, options: Options, profile: Profile) -> Part:
    """The part with the forecast of a probe, or with what kept it from being made."""
    from dataclasses import replace

    from suite.cluster.probe import probe

    try:
        pace = probe(part.cell, options, profile.nodes * profile.tasks_per_node)
    except LowbitError as problem:
        return replace(part, why=str(problem))
    if pace is None:
        return replace(part, why="it does not train, so a few steps tell nothing")
    return replace(part, cost=forecast(part.cell.recipe, [pace]))


def hours(part: Part, processes: int) -> float | None:
    """Hours of one job with so many processes; speed is taken to grow with their number."""
    if part.cost is None:
        return None
    return part.cost.seconds / HOUR * part.cost.processes / processes


def memory(cost: Forecast) -> float:
    """Peak MiB: of a GPU where one was used, else of the process."""
    return cost.memory.get("cuda_allocated", cost.memory.get("cpu_rss", 0.0))


def on_gpu(cost: Forecast) -> bool:
    """Whether the hours are those of a GPU, so that GPU-hours follow from them."""
    return "cuda_allocated" in cost.memory


def render(found: Plan) -> RenderableType:
    from rich.console import Group
    from rich.text import Text

    parts: list[RenderableType] = [Text(_head(found), style="bold")]
    if found.parts:
        parts.append(_table(found))
    return Group(*parts, *(Text(line) for line in _remarks(found)))


def _head(found: Plan) -> str:
    roles = [job.role for job in found.jobs]
    before = f"{roles.count('fp32')} that they need, {roles.count('labels')} sets of soft labels"
    how = f"{found.arrays} call(s) of sbatch, arrays of at most {found.largest}"
    where = how if found.profile.executor == "slurm" else "local queue"
    return (
        f"{found.cells} cell(s), {found.finished} of them finished; {len(roles)} job(s) "
        f"({roles.count('cell')} cell(s), {before}); {where}"
    )


def _table(found: Plan) -> RenderableType:
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, pad_edge=False)
    for name in COLUMNS:
        text = name in ("of", "rests on")
        table.add_column(name, justify="left" if text else "right", overflow="fold")
    for part in found.parts:
        table.add_row(*(Text(value) for value in _values(part, found)))
    return table


def _values(part: Part, found: Plan) -> tuple[str, ...]:
    each = hours(part, found.processes)
    if part.cost is None or each is None:
        return (str(part.jobs), part.name, "unknown", "", "", "", part.why)
    total = each * part.jobs
    gpu = f"{total * found.gpus:.2f}" if found.gpus and on_gpu(part.cost) else ""
    told = part.cost.rests_on
    if part.cost.processes != found.processes:
        told += f", scaled to {found.processes} processes"
    size = f"{memory(part.cost):.0f}"
    return (str(part.jobs), part.name, f"{each:.3f}", f"{total:.2f}", gpu, size, told)


def _remarks(found: Plan) -> Iterator[str]:
    told = [(p, each) for p in found.parts if (each := hours(p, found.processes)) is not None]
    total = sum(each * part.jobs for part, each in told)
    there = sum(each * p.jobs for p, each in told if p.cost and on_gpu(p.cost))
    if told:
        once = found.profile.array_parallelism
        once = found.profile.workers if found.profile.executor == "local" else once
        gpu = f", {there * found.gpus:.1f} GPU-hours" if found.gpus and there else ""
        least = f"with {once} at once at least {total / once:.1f} hours"
        yield f"known: {total:.1f} hours{gpu}; {least}"
        yield "Hours are those of the hardware that each row rests on, not of the profile's."
    unknown = sum(part.jobs for part in found.parts if part.cost is None)
    if unknown:
        yield f"unknown: {unknown} job(s), named so above, are not in the sums"
    yield from _warnings(found, told)


def _warnings(found: Plan, told: Sequence[tuple[Part, float]]) -> Iterator[str]:
    profile = found.profile
    if profile.executor != "slurm":
        return
    for part, each in told:
        starts = math.ceil(each * 60 / max(profile.time_minutes - profile.signal_seconds / 60, 1))
        if starts > 1:
            yield (
                f"{part.name}: longer than the limit of {profile.time_minutes} min; each goes on "
                f"over about {starts} starts"
            )
        assert part.cost is not None
        need = _host_memory(part.cost.memory) * profile.tasks_per_node / 1024
        asked = profile.node_memory_gb
        if asked is not None and need > asked:
            yield f"{part.name}: needs about {need:.1f} GB, the profile asks for {asked:g}"


def _host_memory(found: Mapping[str, float]) -> float:
    return found.get("cpu_rss", 0.0)
