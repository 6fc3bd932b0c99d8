"""Names of places in the page: unique, and safe whatever they are made of."""

from __future__ import annotations

import hashlib
import re

_PLAIN = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")


def anchor(text: str) -> str:
    """`text` itself where it can be part of an id, else a digest of it."""
    return text if _PLAIN.fullmatch(text) else digest(text)


def digest(text: str) -> str:
    """Ten hex digits."""
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:10]
