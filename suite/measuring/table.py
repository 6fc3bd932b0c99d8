"""The table of a measurement: memory and time per epoch, ratios to FP32, the authors' beside."""

from __future__ import annotations

from collections.abc import Sequence

from suite import markdown
from suite.measuring.authors import Known, known
from suite.measuring.records import Measurement

KINDS = {
    "cuda_allocated": "peak MiB allocated",
    "cuda_reserved": "peak MiB reserved",
    "cpu_rss": "peak MiB resident",
    "cpu_net": "without libraries",
}


def table(found: Sequence[Measurement]) -> str:
    """Markdown of what was measured together, with notes that say how."""
    kinds = _kinds(found)
    notes: list[str] = []
    rows = [_row(one, kinds, notes) for one in found]
    header = [
        "method",
        "epoch",
        *(cell for kind in kinds for cell in (KINDS[kind], "to FP32")),
        "s/step (min to max)",
        "time per epoch",
        "to FP32 (min to max)",
        "authors' code: memory",
        "time",
    ]
    parts = [markdown.table(header, rows, words=2), _how(found[0], kinds)]
    return "\n\n".join([*parts, *notes])


def _kinds(found: Sequence[Measurement]) -> list[str]:
    """Of the GPU if it was measured there: the process's own memory says little then."""
    have = {kind for one in found for kind in one.memory}
    return [
        kind for kind in KINDS if kind in have and ("cuda" in kind) == ("cuda_allocated" in have)
    ]


def _row(one: Measurement, kinds: Sequence[str], notes: list[str]) -> list[str]:
    if one.lacking:
        return [one.name, one.phase, one.lacking, *[""] * (2 * len(kinds) + 4)]
    memory = [
        text
        for kind in kinds
        for text in (f"{one.memory[kind]:.0f}", _ratio(one.memory.get(f"ratio.{kind}")))
    ]
    t = one.time
    return [
        one.name,
        one.phase,
        *memory,
        f"{_short(t['step_seconds_median'])} ({_span(t, 'step_seconds')})",
        duration(t["epoch_seconds_median"]),
        f"{t['ratio']:.2f} ({t['ratio_min']:.2f} to {t['ratio_max']:.2f})" if "ratio" in t else "",
        *_authors(one, notes),
    ]


def _authors(one: Measurement, notes: list[str]) -> list[str]:
    """Known ratios of memory and time, each with the number of its note, which says on what machine
    it was measured."""
    fitting = [k for k in known() if k.fits(one)]
    memory = [_known(f"{k.memory:.2g}", k, one, notes) for k in fitting if k.memory]
    times = [_known(f"{k.time:.2f}", k, one, notes) for k in fitting if k.time]
    return ["; ".join(memory), "; ".join(times)]


def _known(text: str, known: Known, one: Measurement, notes: list[str]) -> str:
    """In brackets where the ratio is of another model than the measured one."""
    own = known.model == one.cell["model"]
    return f"{text if own else f'({text})'} {_note(known, notes)}"


def _note(one: Known, notes: list[str]) -> str:
    number = next((i for i, note in enumerate(notes, 1) if note.endswith(one.source)), 0)
    if not number:
        number = len(notes) + 1
        notes.append(f"[{number}] {one.source}")
    return f"[{number}]"


def _how(one: Measurement, kinds: Sequence[str]) -> str:
    c = one.conditions
    where = one.provenance.get("device")
    where = f"{one.provenance.get('cpu')}, {c['threads']} threads" if where == "cpu" else where
    size = f" at size {c['size']}" if c["size"] else ""
    words = [
        f"{one.cell['model']}{size}, batch {c['batch']}, on {where}, "
        f"{'compiled' if c['compiled'] else 'eager'}, {c['precision']}; random inputs, targets and "
        "weights, no data loading.",
        f"Time: {c['steps']} training steps a turn, every case in turn, {c['rounds']} turns, "
        f"medians over turns, {c['warm_up_rounds']} unmeasured; an epoch is {c['images']:,} "
        "images.",
        "Memory: peak of the training steps, each case in a process of its own, initial scales "
        "excluded.",
    ]
    if "cpu_rss" in kinds and "cpu_rss_before" in one.memory:
        alone = one.memory["cpu_rss_before"]
        words.append(f"The interpreter and its libraries alone take {alone:.0f} MiB.")
    words.append("An authors' ratio in brackets is of another model.")
    words.append("Epoch: a method's penalty is off in the first and at work in the last.")
    return " ".join(words)


def _ratio(value: float | None) -> str:
    return "" if value is None else f"{value:.2f}"


def _span(time: dict[str, float], name: str) -> str:
    return f"{_short(time[name + '_min'])} to {_short(time[name + '_max'])}"


def _short(seconds: float) -> str:
    return f"{seconds:.3g}"


def duration(seconds: float) -> str:
    """`38 s`, `12.4 min`, `7.3 h`."""
    for size, unit in ((3600, "h"), (60, "min")):
        if seconds >= 2 * size:
            return f"{seconds / size:.1f} {unit}"
    return f"{seconds:.3g} s"
