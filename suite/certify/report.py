"""The report of a certification as text."""

from __future__ import annotations

from suite.certify import Report, Result
from suite.listing import aligned

HEADER = ("method", "group", "arrays", "largest error", "tolerance", "verdict")
SHOWN = 20


def render(report: Report) -> str:
    """A row a group, what is out of tolerance by key, what was not replayed and why."""
    lines = [f"Golden values in {report.folder}: {', '.join(report.files)}"]
    lines.append(aligned([HEADER, *map(_row, report.results)]))
    for result in report.results:
        lines += [
            f"  out of tolerance: {c.key} (error {c.error:.3g}, tolerance {c.tolerance:.3g})"
            for c in result.compared
            if not c.ok
        ]
        if result.lacking:
            lines.append(f"  {result.group}: not in the files: {_some(result.lacking)}")
    if report.unrecognised:
        lines.append(f"  not recognised or not compared: {_some(report.unrecognised)}")
    lines.append(_verdict(report))
    return "\n".join(lines)


def _row(result: Result) -> tuple[str, ...]:
    if result.unbuilt:
        return (result.method, result.group, "0", "", "", f"not built yet ({result.unbuilt} keys)")
    if not result.compared:
        return (result.method, result.group, "0", "", "", "nothing compared")
    worst = max(result.compared, key=lambda c: (not c.ok, c.error))
    return (
        result.method,
        result.group,
        str(len(result.compared)),
        f"{worst.error:.2g}",
        f"{max(c.tolerance for c in result.compared):.2g}",
        "ok" if result.ok else f"{sum(not c.ok for c in result.compared)} out of tolerance",
    )


def _some(keys: tuple[str, ...]) -> str:
    shown = ", ".join(keys[:SHOWN])
    return f"{len(keys)} key(s): {shown}{', ...' if len(keys) > SHOWN else ''}"


def _verdict(report: Report) -> str:
    bad = sum(not c.ok for r in report.results for c in r.compared)
    if not report.compared:
        return "nothing was compared"
    return f"{report.compared} arrays compared, {bad or 'none'} out of tolerance"
