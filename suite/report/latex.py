"""Tables as LaTeX: a float with booktabs' rules, everything escaped, notes under the table.

A fragment needs booktabs and graphicx; `document` puts fragments into a whole document that
needs no more than a small TeX Live. A table that is wider than the line is scaled to it, and
a tall one to what its notes leave of the page.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

from suite.report.model import MARKS, SIGNS, Entry, HeaderCell, Row, Table

PLAIN = {
    "\\": r"\textbackslash{}",
    "{": r"\{",
    "}": r"\}",
    "$": r"\$",
    "&": r"\&",
    "#": r"\#",
    "%": r"\%",
    "_": r"\_",
    "^": r"\textasciicircum{}",
    "~": r"\textasciitilde{}",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    "|": r"\textbar{}",
    # After \\ or a rule, a bracket or star would be taken for an argument.
    "[": "{[}",
    "]": "{]}",
    "*": "{*}",
    # No ligatures: `--all` is an option, not a dash.
    "-": "-{}",
    "`": "{`}",
    "'": "{'}",
    '"': r"\textquotedbl{}",
    "–": "--",
    "×": r"$\times$",
    "∅": r"$\emptyset$",
    "±": r"$\pm$",
    "↑": r"$\uparrow$",
    "↓": r"$\downarrow$",
    "≠": r"$\neq$",
    "≥": r"$\geq$",
    "≤": r"$\leq$",
    "→": r"$\rightarrow$",
    "…": r"\dots{}",
}

LATIN = 0x180
"""Letters below it are in the T1 encoding; what is above is named by its number."""

MINUS = re.compile(r"(?<![A-Za-z0-9])-(?=[0-9.])")


def render(table: Table) -> str:
    """The float of one table; ends with a newline."""
    lines = [
        f"% {table.id}: needs \\usepackage{{booktabs,graphicx}} and the T1 font encoding",
        r"\begin{table}[htbp]",
        r"\centering",
        rf"\caption{{{escape(table.title)}.{_sentence(table.caption)}}}",
        rf"\label{{tab:{table.id}}}\par\medskip",
        *_below(table),
        *([escape(table.refused)] if table.refused else _grid(table)),
        r"\par\smallskip\usebox2",
        r"\end{table}",
    ]
    return "\n".join(lines) + "\n"


def document(names: Iterable[str]) -> str:
    """A document that shows the fragments `<name>.tex` beside it, one a page."""
    pages = [rf"\input{{{name}.tex}}" + "\n" + r"\clearpage" for name in names]
    head = [
        r"\documentclass[a4paper,landscape]{article}",
        r"\usepackage[T1]{fontenc}",
        r"\usepackage[utf8]{inputenc}",
        r"\usepackage{lmodern}",
        r"\usepackage[margin=15mm]{geometry}",
        r"\usepackage{booktabs,graphicx}",
        r"\pagestyle{empty}",
        r"\begin{document}",
    ]
    return "\n".join([*head, *pages, r"\end{document}"]) + "\n"


def escape(text: str) -> str:
    """Text that shows as it is; characters that T1 lacks become their code point."""
    return "".join(_character(c) for c in " ".join(text.split()))


def _character(c: str) -> str:
    if c in PLAIN:
        return PLAIN[c]
    if " " <= c <= "~" or (c.isalpha() and ord(c) < LATIN):
        return c
    return f"(U+{ord(c):04X})"


def _sentence(text: str) -> str:
    return f" {escape(text)}" if text else ""


def _grid(table: Table) -> list[str]:
    words = table.text_columns
    columns = "l" * words + "r" * (table.width - words)
    return [
        r"\sbox0{%",
        rf"\begin{{tabular}}{{@{{}}{columns}@{{}}}}",
        r"\toprule",
        *_header(table.header, words),
        r"\midrule",
        *_body(table),
        r"\bottomrule",
        r"\end{tabular}}%",
        r"\ifdim\wd0>\linewidth\sbox0{\resizebox{\linewidth}{!}{\usebox0}}\fi",
        r"\dimen4=\dimexpr\textheight-\ht2-\dp2-5\baselineskip\relax",
        r"\ifdim\dimen4<.3\textheight\dimen4=.3\textheight\fi",
        r"\ifdim\dimexpr\ht0+\dp0\relax>\dimen4"
        r"\sbox0{\resizebox*{!}{\dimen4}{\usebox0}}\fi",
        r"\usebox0",
    ]


def _header(rows: Sequence[Sequence[HeaderCell]], words: int) -> list[str]:
    lines = []
    for number, row in enumerate(rows, start=1):
        cells = [_title(cell, column >= words) for column, cell in enumerate(row)]
        lines.append(" & ".join(cells) + r" \\")
        if number < len(rows):
            lines += _rules(row)
    return lines


def _title(cell: HeaderCell, number: bool) -> str:
    if cell.span > 1:
        return rf"\multicolumn{{{cell.span}}}{{c}}{{{escape(cell.text)}}}"
    return rf"\multicolumn{{1}}{{c}}{{{escape(cell.text)}}}" if number else escape(cell.text)


def _rules(row: Sequence[HeaderCell]) -> list[str]:
    """A rule under every wide title."""
    found, column = [], 1
    for cell in row:
        if cell.span > 1 and cell.text:
            found.append(rf"\cmidrule(lr){{{column}-{column + cell.span - 1}}}")
        column += cell.span
    return found


def _body(table: Table) -> list[str]:
    lines = []
    for number, (title, rows) in enumerate(table.blocks()):
        if number:
            lines.append(r"\addlinespace")
        if title:
            lines.append(
                rf"\multicolumn{{{table.width}}}{{@{{}}l}}{{\textit{{{escape(title)}}}}} \\"
            )
        lines += [" & ".join(_cells(row)) + r" \\" for row in rows]
    return lines


def _cells(row: Row) -> list[str]:
    label = escape(row.label) + _letters(row.notes)
    return [label, *(escape(word) for word in row.words), *(_entry(one) for one in row.entries)]


def _entry(entry: Entry) -> str:
    """The measured value and the published one, on a second line where both are numbers."""
    measured = _number(entry.text) if entry.text else escape(MARKS.get(entry.mark, ""))
    if entry.best:
        measured = rf"\textbf{{{measured}}}"
    below = _published(entry)
    tail = _sign(entry.verdict) + _letters(entry.notes)
    if not (below and entry.text):
        return " ".join(part for part in (measured, below) if part) + tail
    stack = rf"{measured}\\{{\footnotesize {below}{tail}}}"
    return rf"\begin{{tabular}}[t]{{@{{}}r@{{}}}}{stack}\end{{tabular}}"


def _published(entry: Entry) -> str:
    if entry.published is None:
        return f"({escape(MARKS[entry.published_mark])})" if entry.published_mark else ""
    number = _number(entry.published_text)
    if entry.published_best:
        number = rf"\textbf{{{number}}}"
    return (
        f"({number}, {_number(entry.difference_text)})" if entry.difference_text else f"({number})"
    )


def _number(text: str) -> str:
    """A number with a true minus sign."""
    parts = MINUS.split(text)
    return "$-$".join(escape(part) for part in parts)


def _sign(verdict: str) -> str:
    sign = SIGNS.get(verdict, "")
    return f"~{SIGNED.get(sign) or escape(sign)}" if sign else ""


SIGNED = {"~": r"$\sim$", "=": "$=$"}
"""Signs whose plain form would sit too high or too thin."""


def _letters(letters: Iterable[str]) -> str:
    text = ",".join(letters)
    return rf"\textsuperscript{{{text}}}" if text else ""


def _below(table: Table) -> list[str]:
    """Legend, notes and footer in small print, as wide as the line, in a box: the table gets what
    they leave of the page."""
    signs = "; ".join(
        f"{SIGNED.get(sign) or escape(sign)} {escape(meaning)}" for sign, meaning in table.legend
    )
    own = [f"{_letters([n.letter])}~{escape(n.text)}" for n in table.notes if n.letter]
    general = [escape(note.text) for note in table.notes if not note.letter]
    lines = [signs and signs + ".", " ".join(own), " ".join(general)]
    lines = [line for line in lines if line] + [escape(line) for line in table.footer]
    body = [line + r"\par" for line in lines]
    return [
        r"\sbox2{%",
        r"\begin{minipage}{\linewidth}\footnotesize\raggedright",
        *body,
        r"\end{minipage}}%",
    ]
