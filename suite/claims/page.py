"""Claims as text for a terminal or a document: Markdown, one table and what is missing."""

from __future__ import annotations

from collections.abc import Sequence
from typing import cast, get_args

from suite.claims.judge import MISSING, VERDICTS
from suite.claims.model import Scale
from suite.claims.results import ClaimResult
from suite.errors import unknown
from suite.markdown import table

SEVERAL = {"holds": "hold", "does not hold": "do not hold"}
"""Verdicts of any number of claims but one."""

HEADER = ("claim", "scale", "says", "verdict", "effect (95 % interval)", "claimed", "seeds")


def checked_scale(scale: str | None) -> Scale | None:
    """The scale, or UsageError with the valid ones."""
    if scale is not None and scale not in get_args(Scale):
        raise unknown("scale", scale, get_args(Scale))
    return cast("Scale | None", scale)


def told(results: Sequence[ClaimResult], paper: str | None = None) -> str:
    """The table of all verdicts, how each was reached, and what is missing to decide the rest."""
    if paper is not None and paper.upper() not in {r.paper for r in results}:
        raise unknown("paper with claims", paper, {r.paper for r in results})
    chosen = [r for r in results if paper is None or r.paper == paper.upper()]
    parts = [counted(chosen), table(HEADER, map(_row, chosen), words=len(HEADER))]
    parts += [_section("How each was decided", [_how(r) for r in chosen if r.verdict != MISSING])]
    parts += [_section("What is missing", _missing(chosen))]
    return "\n\n".join(part for part in parts if part)


def counted(results: Sequence[ClaimResult]) -> str:
    """How many have each verdict, by scale."""
    lines = []
    for scale in dict.fromkeys(r.scale for r in results):
        of = [r.verdict for r in results if r.scale == scale]
        words = ", ".join(_number(of.count(v), v) for v in VERDICTS)
        lines.append(f"{len(of)} claims at {scale} scale: {words}")
    return "\n".join(lines)


def _number(count: int, verdict: str) -> str:
    return f"{count} {verdict if count == 1 else SEVERAL.get(verdict, verdict)}"


def _row(r: ClaimResult) -> list[str]:
    return [r.id, r.scale, r.text, r.verdict, r.shown, r.expected, str(len(r.seeds) or "")]


def _how(r: ClaimResult) -> str:
    here = f" Here: {r.stands_for}." if r.stands_for else ""
    return f"- {r.key}: {r.how}.{here}"


def _missing(results: Sequence[ClaimResult]) -> list[str]:
    """Each need once, with the claims that it would help to decide."""
    needs: dict[str, list[str]] = {}
    for r in results:
        for need in r.needs_missing:
            needs.setdefault(need, []).append(r.key)
    return [f"- {code(need)} ({', '.join(keys)})" for need, keys in needs.items()]


def code(need: str) -> str:
    """A command as code, a sentence as it is."""
    return f"`{need}`" if need.startswith("lowbit ") else need


def _section(title: str, lines: Sequence[str]) -> str:
    return "\n".join([f"{title}:", *lines]) if lines else ""
