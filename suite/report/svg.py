"""SVG as text: elements whose words are escaped and whose numbers are short.

Colours are classes of the page's style sheet, so that a picture follows light and dark.
"""

from __future__ import annotations

import re

from markupsafe import Markup, escape

_ILLEGAL = re.compile("[^\t\n\r -\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


def clean(text: str) -> str:
    """`text` without the characters that XML cannot hold."""
    return _ILLEGAL.sub("", text)


def short(value: float) -> str:
    """A coordinate with at most two decimals: `12.5`, never `-0`."""
    text = f"{value:.2f}".rstrip("0").rstrip(".")
    return "0" if text == "-0" else text


def el(tag: str, *children: object, **attributes: object) -> Markup:
    """`<tag ...>children</tag>`; what is not Markup is escaped, a None attribute left out.

    `class_` stands for `class`, `text_anchor` for `text-anchor`.
    """
    words = "".join(
        f' {name.rstrip("_").replace("_", "-")}="{_attribute(value)}"'
        for name, value in attributes.items()
        if value is not None
    )
    return Markup(f"<{tag}{words}>{''.join(map(_inside, children))}</{tag}>")


def picture(
    key: str, size: tuple[float, float], title: str, description: str, *children: object
) -> Markup:
    """A whole picture with its name and description for those who cannot see it.

    key: unique in the page. size: width and height in CSS pixels at full size.
    """
    width, height = size
    return el(
        "svg",
        el("title", title, id=f"{key}-title"),
        el("desc", description, id=f"{key}-desc"),
        *children,
        viewBox=f"0 0 {short(width)} {short(height)}",
        role="img",
        aria_labelledby=f"{key}-title",
        aria_describedby=f"{key}-desc",
        class_="picture",
    )


def line(x1: float, y1: float, x2: float, y2: float, kind: str) -> Markup:
    """A straight line of one class."""
    return el("line", x1=x1, y1=y1, x2=x2, y2=y2, class_=kind)


def text(x: float, y: float, words: str, kind: str = "tick", anchor: str = "middle") -> Markup:
    """Words at a baseline; anchor: start, middle or end."""
    return el("text", words, x=x, y=y, class_=kind, text_anchor=anchor)


def _attribute(value: object) -> str:
    if isinstance(value, (int, float)):
        return short(float(value))
    return str(escape(clean(str(value))))


def _inside(child: object) -> str:
    return str(child) if isinstance(child, Markup) else str(escape(clean(str(child))))
