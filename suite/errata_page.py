"""Errata as text for a terminal or a document."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from suite.claims.page import code
from suite.errata import Erratum
from suite.errata_effects import Effect
from suite.markdown import table
from suite.reproductions import told as reproduced


def listed(entries: Sequence[Erratum], effects: Mapping[str, Effect]) -> str:
    """A table of all, how many are measured, the commands that would measure more, and third
    parties' reproductions of published numbers."""
    rows = [[e.id, e.paper, e.claimed, e.actual, effects[e.id].text] for e in entries]
    switched = [e for e in entries if e.switches]
    measured = [e for e in entries if effects[e.id].measured]
    counts = (
        f"{len(entries)} errata, {len(switched)} with a switch here, {len(measured)} measured by "
        "these records. `lowbit errata ID` shows one with its evidence and switch."
    )
    parts = [table(("id", "paper", "claimed", "is", "effect"), rows, words=5), counts]
    missing = dict.fromkeys(need for e in entries for need in effects[e.id].needs_missing)
    if missing:
        parts.append("\n".join(["To measure more:", *(f"- {code(need)}" for need in missing)]))
    parts.append(reproduced())
    return "\n\n".join(parts)


def whole(entry: Erratum, effect: Effect) -> str:
    """One erratum with everything that is known of it."""
    lines = [
        f"{entry.id} ({entry.paper})",
        f"claimed:  {entry.claimed}",
        f"is:       {entry.actual}",
        f"evidence: {entry.evidence}",
        *(f"switch:   {switch.words()}" for switch in entry.switches),
        f"effect:   {effect.text}",
        *(f"runs:     {run}" for run in effect.run_ids),
        *(f"needs:    {need}" for need in effect.needs_missing),
    ]
    return "\n".join(lines)
