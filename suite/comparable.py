"""Whether a measured number may stand beside a published one, or why not: the one place that says.

A record is compared by what it holds, never by the names of its task and model. What one side does
not say is a difference, too (docs/architecture.md, When a number is compared).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from suite.cell import Cell
from suite.names import names
from suite.originals import Built, Data, originals
from suite.protocols import differences
from suite.published import Published, candidates
from suite.reservations import Of, reservations
from suite.results import Record
from suite.run_facts import Row, RunFacts, facts_of

SETTINGS = "recipe."
"""Beginning of the metrics that are a setting of the recipe and no measurement."""

COSTS = ("time.", "memory.", "measure.")
"""Beginnings of the metrics that depend on the machine."""

ALIKE = 0.001
"""Share by which numbers of parameters may differ: that of a text model's outputs."""

IMAGE = ("resize", "crop", "interpolation")
"""What an image's evaluation must say on both sides."""


def why_not(
    published: Published | None,
    source: Record | Row | RunFacts,
    metric: str = "",
    needed: Of | None = None,
) -> list[str]:
    """Why a run is not comparable with a published number, a phrase each; empty if it is: what
    is wrong with the run itself, and in what it is unlike.

    metric: of the run, as a table names it. needed: gives the record of a run id.
    """
    facts = source if isinstance(source, RunFacts) else facts_of(source)
    embedded = facts.cell.task in names()["embedded"]
    own = [] if embedded or metric.startswith(SETTINGS) else reservations(facts, needed)
    return list(dict.fromkeys([*own, *unlike(published, facts, metric)]))


def unlike(published: Published | None, facts: RunFacts, metric: str = "") -> list[str]:
    """In what a run is about something else than a published number, whatever its own faults."""
    embedded = names()["embedded"].get(facts.cell.task)
    if embedded:
        return [embedded]
    if metric.startswith(SETTINGS):
        return []
    found = [] if facts.timed else departures(facts)
    if published is not None:
        found += differences(published.protocol, facts.fields, _needed_fields(facts, metric))
    return found


@dataclass(frozen=True)
class Beside:
    """The published main metric that may stand beside a run; why: phrases that say why it may
    not, empty where it may. caveats: what cannot be checked, of one that may."""

    value: Published | None
    why: tuple[str, ...] = ()
    caveats: tuple[str, ...] = ()

    @property
    def sentence(self) -> str:
        """Which published value the run is comparable with, or why with none."""
        found = self.value
        if found is None:
            return "no published value is known for it"
        number = f"{found.value:.2f} % ({found.model}, {found.paper}, {found.confidence} source)"
        if self.why:
            return f"not comparable with the published {number}: {'; '.join(self.why)}"
        return "; ".join([f"published: {number}", *self.caveats])


def beside(source: Record | Row, needed: Of | None = None) -> Beside:
    """The published number of a run's configuration: the first that it is comparable with, or
    the first of all with the reasons."""
    facts = facts_of(source)
    found = candidates(facts.cell)
    own = () if facts.cell.task in names()["embedded"] else overrides(facts.cell)
    for value in found:
        if not own and not why_not(value, facts, needed=needed):
            return Beside(value, caveats=tuple(caveats(facts)))
    if not found:
        return Beside(None)
    return Beside(found[0], (*why_not(found[0], facts, needed=needed), *own))


def caveats(source: Record | Row | RunFacts) -> list[str]:
    """What cannot be checked of a run that is comparable, since nobody publishes it."""
    facts = source if isinstance(source, RunFacts) else facts_of(source)
    found = ["no digest of the paper's data is published"]
    if facts.cell.recipe.start in ("fp32", "pretrained", "quantized"):
        found.append("nor of the weights that it started from")
    return [", ".join(found)]


def departures(source: Record | Row | RunFacts) -> list[str]:
    """In what a run is not about the data, model and training that its names stand for."""
    facts = source if isinstance(source, RunFacts) else facts_of(source)
    data = originals().task.get(facts.cell.task)
    model = originals().model.get(facts.cell.model)
    return [
        *(_of_data(facts, data) if data else [f"what {facts.cell.task} has is not known"]),
        *(_of_model(facts, model) if model else [_unknown_model(facts.cell)]),
        *_of_training(facts, data),
    ]


def _of_data(facts: RunFacts, data: Data) -> Iterator[str]:
    """Classes and samples; a digest, so that the record says at all which files it read."""
    evaluation = facts.evaluation
    if not evaluation:
        yield "its evaluation is not recorded"
    if data.class_set:
        yield from _unlike("classes", data.classes, evaluation.get("classes"))
        yield from _unlike("class set", data.class_set, evaluation.get("class_set"))
    rows = evaluation.get("rows")
    if isinstance(rows, dict):
        training = rows.get("train")
        yield from _unlike("training samples", data.training, training)
    yield from _unlike("samples", data.samples, facts.metrics.get("samples"))
    if not facts.data:
        yield "its data has no digest"


def _of_model(facts: RunFacts, model: Built) -> Iterator[str]:
    """The architecture that was built, against the one that the model's name stands for."""
    own = facts.architecture
    if not own:
        yield "its architecture is not recorded"
        return
    for name, value in (
        ("class", model.kind),
        ("depth", model.depth),
        ("width", model.width),
        ("heads", model.heads),
    ):
        yield from _unlike(name, value, own.get(name))
    count = own.get("parameters")
    if not isinstance(count, int) or abs(count - model.parameters) > ALIKE * model.parameters:
        yield from _unlike("parameters", model.parameters, count)


def _unknown_model(cell: Cell) -> str:
    return f"the architecture that {cell.model} stands for is not known"


def _of_training(facts: RunFacts, data: Data | None) -> Iterator[str]:
    """What was done of the training that the recipe names."""
    recipe = facts.cell.recipe
    if recipe.max_steps:
        yield f"passes cut after {recipe.max_steps} steps"
    if not recipe.epochs:
        return
    images = facts.trained.get("images")
    if not isinstance(images, int):
        yield "its passes are not recorded"
    elif data and images < data.training - recipe.batch_size:
        yield f"trained on {images:,} of {data.training:,} samples a pass"


def _unlike(what: str, wanted: Any, found: Any) -> Iterator[str]:
    if found is None:
        yield f"{what}: {_number(wanted)} there, not recorded here"
    elif found != wanted:
        yield f"{what}: {_number(wanted)} there, {_number(found)} here"


def _number(value: Any) -> str:
    whole = isinstance(value, int | float) and float(value).is_integer()
    return f"{int(value):,}" if whole else str(value)


def _needed_fields(facts: RunFacts, metric: str) -> list[str]:
    """The fields that both sides must know: how it was evaluated and trained, and for what
    depends on it the machine."""
    if facts.timed:
        return ["hardware"]
    data = originals().task.get(facts.cell.task)
    images = data is not None and bool(data.class_set)
    # Without any training the weights are all that a full-precision number is about.
    alone = facts.cell.method == "fp32" and not facts.cell.recipe.epochs
    found = ["start.source" if alone else "recipe.epochs"]
    found += [f"protocol.evaluation.{name}" for name in IMAGE] if images else ["recipe.max_length"]
    return found + (["hardware"] if metric.startswith(COSTS) else [])


def overrides(cell: Cell) -> list[str]:
    """In what a cell's variant, settings and recipe are not the ones that the grid has first."""
    from suite.grid import entries
    from suite.recipes import recipe

    meant = [
        entry
        for entry in entries()
        if (entry.method, entry.task) == (cell.method, cell.task)
        and (cell.model in entry.models or entry.any_model)
    ]
    if not meant:
        return []
    found, first = [], meant[0].variants[0]
    if cell.variant != first:
        found.append(f"variant: {first or 'none'} in the grid, {cell.variant or 'none'} here")
    sets = [entry.settings for entry in meant]
    usual = sets[0] if all(one == sets[0] for one in sets) else {}
    if cell.settings != usual:
        found.append(f"settings: {_settings(usual)} in the grid, {_settings(cell.settings)} here")
    own = cell.recipe.model_dump(mode="json")
    known = [recipe(entry.recipe).model_dump(mode="json") for entry in meant]
    near = min(known, key=lambda one: sum(own[name] != one[name] for name in own))
    return found + [
        f"recipe.{name}: {_shown(near[name])} in the grid, {_shown(own[name])} here"
        for name in own
        if own[name] != near[name]
    ]


def _settings(settings: Mapping[str, Any]) -> str:
    return ", ".join(f"{name}={value}" for name, value in sorted(settings.items())) or "none"


def _shown(value: Any) -> str:
    return f"{value:g}" if isinstance(value, float) else str(value)
