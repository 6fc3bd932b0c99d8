"""Tables as HTML: a page of its own for each, without scripts."""

from __future__ import annotations

from html import escape

from suite.report.model import Table

STYLE = """
body { font: 15px/1.45 system-ui, sans-serif; margin: 1.5rem; color-scheme: light dark; }
table { border-collapse: collapse; border-block: 2px solid; }
th, td { padding: .25rem .6rem; vertical-align: top; text-align: left; }
thead tr:last-child { border-bottom: 1px solid; }
th[scope=colgroup] { text-align: center; border-bottom: 1px solid; }
.number { text-align: right; font-variant-numeric: tabular-nums; white-space: nowrap; }
thead tr:last-child th:not(.word) { text-align: right; }
tbody th { font-weight: normal; }
h1, h2, h3 { font-size: 1.3rem; }
sup { line-height: 0; }
sup + sup::before { content: ", "; }
.group th { font-style: italic; font-weight: normal; padding-top: .7rem; }
.best { font-weight: bold; }
.under { display: block; font-size: .85em; opacity: .8; }
.unseen { position: absolute; width: 1px; height: 1px; overflow: hidden; clip-path: inset(50%); }
.scroll { overflow-x: auto; }
.legend span { margin-right: 1rem; }
.notes { list-style: none; padding: 0; }
.quiet, .legend, .notes { font-size: .85em; }
.caution { border-left: 4px solid #c40; padding-left: .6rem; }
""".strip()


def render(table: Table) -> str:
    """A whole page with one table, its notes and where its numbers come from."""
    from suite.report.templating import table_html

    lines = [
        "<!DOCTYPE html>",
        '<html lang="en">',
        "<head>",
        '<meta charset="utf-8">',
        '<meta name="viewport" content="width=device-width, initial-scale=1">',
        f"<title>{escape(table.title)}</title>",
        f"<style>\n{STYLE}\n</style>",
        "</head>",
        "<body>",
        table_html(table).strip(),
        "</body>",
        "</html>",
    ]
    return "\n".join(lines) + "\n"
